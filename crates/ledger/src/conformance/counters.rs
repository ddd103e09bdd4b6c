//! Counters, the gaps of dead nodes, and ledger time.

use rules::{Outcome, Tally, Timestamp};

use super::bench::{Bench, START};
use crate::{CampaignNo, Counts, NodeId};

const CAMPAIGN: CampaignNo = CampaignNo(1);

fn counts(second: i64, outcome: Outcome, count: u64) -> Counts {
    let mut tally = Tally::default();
    tally.outcomes[outcome.slot()] = count;
    tally.latencies[10] = count;
    Counts {
        campaign: CAMPAIGN,
        second,
        tally,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

/// What is saved for one second adds up, over saves and over nodes; other campaigns are apart.
pub async fn counts_add_up(bench: Bench) {
    let ledger = bench.ledger;
    let (one, two) = (NodeId(1), NodeId(u64::MAX));
    let mut other = counts(100, Outcome::Won, 50);
    other.campaign = CampaignNo(2);
    let first = [
        counts(100, Outcome::Won, 3),
        counts(101, Outcome::Repeated, 1),
        other,
    ];
    ledger.save_counts(one, at(102), &first).await.unwrap();
    let more = [counts(100, Outcome::Won, 2)];
    for _repeat in 0..2 {
        // The same save again, after a commit that the node did not hear of, adds nothing.
        ledger.save_counts(one, at(103), &more).await.unwrap();
    }
    let more = [counts(100, Outcome::Unavailable, 7)];
    ledger.save_counts(two, at(103), &more).await.unwrap();
    let read = ledger.counts(CAMPAIGN, at(0), at(1_000), 1).await.unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].second, read[1].second), (100, 101));
    assert_eq!(read[0].tally.outcomes[Outcome::Won.slot()], 5);
    assert_eq!(read[0].tally.outcomes[Outcome::Unavailable.slot()], 7);
    assert_eq!(read[0].tally.latencies[10], 12);
    assert_eq!(read[1].tally.outcomes[Outcome::Repeated.slot()], 1);
}

/// Steps sum their seconds; `from` counts, `to` does not.
pub async fn steps_are_summed(bench: Bench) {
    let ledger = bench.ledger;
    let seconds = [600, 609, 610, 629, 630].map(|s| counts(s, Outcome::Won, 1));
    ledger
        .save_counts(NodeId(1), at(640), &seconds)
        .await
        .unwrap();
    let read = ledger.counts(CAMPAIGN, at(600), at(630), 10).await.unwrap();
    let steps: Vec<_> = read
        .iter()
        .map(|c| (c.second, c.tally.outcomes[Outcome::Won.slot()]))
        .collect();
    assert_eq!(steps, [(600, 2), (610, 1), (620, 1)]);
    let read = ledger.counts(CAMPAIGN, at(609), at(610), 10).await.unwrap();
    assert_eq!(read.len(), 1);
}

/// A node that ended properly leaves no gap, one that died leaves one until another begins.
pub async fn a_dead_node_leaves_a_gap(bench: Bench) {
    let ledger = bench.ledger;
    let everything = (at(0), START.plus_seconds(1_000_000));
    ledger.begin_epoch(NodeId(1)).await.unwrap();
    let upto = ledger.now();
    ledger.save_counts(NodeId(1), upto, &[]).await.unwrap();
    ledger.end_epoch(NodeId(1)).await.unwrap();
    bench.clock.turn(10);
    ledger.begin_epoch(NodeId(2)).await.unwrap();
    assert!(
        ledger
            .gaps(everything.0, everything.1)
            .await
            .unwrap()
            .is_empty()
    );
    let upto = ledger.now();
    ledger.save_counts(NodeId(2), upto, &[]).await.unwrap();
    // Longer than a node that lives can take to save.
    bench.clock.turn(30);
    let back = ledger.now();
    ledger.begin_epoch(NodeId(3)).await.unwrap();
    let gaps = ledger.gaps(everything.0, everything.1).await.unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].from, upto);
    assert!(gaps[0].to >= back && gaps[0].to <= ledger.now());
    let before = ledger.gaps(everything.0, upto).await.unwrap();
    assert!(before.is_empty(), "a gap that begins after the span");
    let within = ledger
        .gaps(upto.plus_seconds(1), upto.plus_seconds(2))
        .await
        .unwrap();
    assert_eq!(within, gaps, "a span within the gap");
}

/// Ledger time follows the wall clock forward, and never goes back with it.
pub async fn time_never_goes_back(bench: Bench) {
    let ledger = bench.ledger;
    let first = ledger.now();
    assert!(first >= START);
    bench.clock.turn(100);
    let later = ledger.now();
    assert!(later >= START.plus_seconds(100));
    bench.clock.turn(-1_000);
    assert!(ledger.now() >= later);
}
