//! What only a ledger promises that several processes share: more than one handle of the same
//! books. [`ledger_conformance_shared!`](crate::ledger_conformance_shared) makes the tests.

use std::sync::Arc;

use rules::{Outcome, Tally, Timestamp, WinLimit};

use super::bench::{Bench, Rain, all_wins, new_campaign, once, user, won};
use crate::{CampaignNo, Change, ClaimResult, Counts, Gap, Ledger, NodeId, Once, Seen};

/// A fresh ledger, and the same as another process has it open, under the same clock.
pub struct Shared {
    /// The ledger and its clock.
    pub bench: Bench,
    /// The other process's handle of it.
    pub other: Arc<dyn Ledger>,
}

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(u64::MAX);

async fn gaps(ledger: &dyn Ledger) -> Vec<Gap> {
    let far = Timestamp::from_micros(i64::MAX);
    ledger.gaps(Timestamp::from_micros(0), far).await.unwrap()
}

async fn save(ledger: &dyn Ledger, node: NodeId, wins: u64) -> Timestamp {
    let upto = ledger.now();
    ledger.save_counts(node, upto, &counts(wins)).await.unwrap();
    upto
}

fn counts(wins: u64) -> Vec<Counts> {
    let mut tally = Tally::default();
    tally.outcomes[Outcome::Won.slot()] = wins;
    vec![Counts {
        campaign: CampaignNo(1),
        second: 100,
        tally,
    }]
}

async fn counted(ledger: &dyn Ledger) -> u64 {
    let (from, to) = (Timestamp::from_micros(0), Timestamp::from_micros(i64::MAX));
    let counts = ledger.counts(CampaignNo(1), from, to, 1).await.unwrap();
    counts
        .iter()
        .map(|c| c.tally.outcomes[Outcome::Won.slot()])
        .sum()
}

/// A node that begins makes no gap of another that lives, however often either saves.
pub async fn living_nodes_leave_no_gap(shared: Shared) {
    let (one, two) = (&*shared.bench.ledger, &*shared.other);
    one.begin_epoch(ONE).await.unwrap();
    save(one, ONE, 1).await;
    shared.bench.clock.turn(6);
    two.begin_epoch(TWO).await.unwrap();
    save(two, TWO, 1).await;
    assert_eq!(gaps(one).await, []);
    save(one, ONE, 1).await;
    shared.bench.clock.turn(6);
    assert_eq!(gaps(two).await, []);
    one.end_epoch(ONE).await.unwrap();
    save(two, TWO, 1).await;
    shared.bench.clock.turn(6);
    assert_eq!(gaps(two).await, [], "it ended properly");
    assert_eq!(counted(one).await, 4);
}

/// A node that has died is noticed by whoever saves or asks; its gap does not grow afterwards.
pub async fn a_lost_node_is_noticed(shared: Shared) {
    let (one, two) = (&*shared.bench.ledger, &*shared.other);
    one.begin_epoch(ONE).await.unwrap();
    two.begin_epoch(TWO).await.unwrap();
    let upto = save(one, ONE, 1).await;
    shared.bench.clock.turn(30);
    save(two, TWO, 1).await;
    let noticed = gaps(two).await;
    assert_eq!(noticed.len(), 1);
    assert_eq!(noticed[0].from, upto);
    assert!(noticed[0].to > upto.plus_seconds(10));
    shared.bench.clock.turn(5);
    save(two, TWO, 1).await;
    assert_eq!(gaps(two).await, noticed, "noticed once");
    // Nobody saves any more: who asks notices.
    shared.bench.clock.turn(30);
    assert_eq!(gaps(one).await.len(), 2);
    two.begin_epoch(NodeId(3)).await.unwrap();
    let both = gaps(one).await;
    assert_eq!((both.len(), both[0]), (2, noticed[0]));
}

/// A node that was only slow goes on counting and has no gap; what it repeats is known as a
/// repeat although it was taken for dead.
pub async fn a_slow_node_counts_on(shared: Shared) {
    let (one, two) = (&*shared.bench.ledger, &*shared.other);
    one.begin_epoch(ONE).await.unwrap();
    let upto = save(one, ONE, 3).await;
    shared.bench.clock.turn(60);
    two.begin_epoch(TWO).await.unwrap();
    save(two, TWO, 10).await;
    assert_eq!(gaps(two).await.len(), 1);
    one.save_counts(ONE, upto, &counts(3)).await.unwrap();
    assert_eq!(counted(two).await, 13, "a repeat adds nothing");
    save(one, ONE, 5).await;
    assert_eq!(gaps(two).await, []);
    assert_eq!(counted(two).await, 18);
}

/// What one process does the other sees, and neither undoes nor doubles it.
pub async fn processes_see_one_another(shared: Shared) {
    let mut rain = Rain::plan(&shared.bench, 8, 2, WinLimit::ONE).await;
    let (id, no) = (rain.campaign.id, rain.campaign.no);
    let other = &*shared.other;
    assert_eq!(other.pause_campaign(id).await.unwrap(), Change::Done);
    let again = rain.ledger.pause_campaign(id).await.unwrap();
    assert_eq!(again, Change::Unchanged);
    assert_eq!(other.resume_campaign(id).await.unwrap(), Change::Done);
    rain.open_wave(1, 4).await;
    let seen = other.campaigns_since(0).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].waves, rain.campaign.waves);
    let win = rain.win("ann", 1).await;
    let asks = [
        rain.ask("bob", 1, 1),
        rain.ask("ann", 1, 2),
        rain.ask("eve", 1, 3),
    ];
    let results = other.claim(0, &asks).await.unwrap().results;
    assert_eq!(results[0], ClaimResult::PacketTaken);
    assert_eq!(results[1], ClaimResult::AtLimit(win.clone()));
    let eves = won(&results[2]);
    let wins = all_wins(&*rain.ledger, no).await;
    assert_eq!(wins, [(user("ann"), win), (user("eve"), eves)]);
    let refund = other.close_campaign(id).await.unwrap();
    assert_eq!(rain.ledger.close_campaign(id).await.unwrap(), refund);
    rain.balanced().await;
}

/// Processes that claim through one slot at once, some asks in vain: each is told the places its
/// own wins took, which follow one another without a gap, and behind a place are its claims.
pub async fn a_batch_tells_which_places_it_took(shared: Shared) {
    let rain = Rain::open(&shared.bench, 64, WinLimit::ONE).await;
    let no = rain.campaign.no;
    let mut tasks = Vec::new();
    for n in 0..8_u32 {
        let ledgers = [&shared.bench.ledger, &shared.other];
        let ledger = ledgers[n as usize % 2].clone();
        // Every second packet is asked for twice, by users who ask once.
        let asks: Vec<_> = (1..=8)
            .map(|index| rain.ask(&format!("user {n} {index}"), 1, index + n * 4))
            .collect();
        tasks.push(tokio::spawn(async move {
            ledger.claim(2, &asks).await.unwrap()
        }));
    }
    let mut places = Vec::new();
    for task in tasks {
        let claimed = task.await.unwrap();
        let wins = claimed.results.iter();
        let wins: Vec<_> = wins
            .filter(|result| matches!(result, ClaimResult::Won(_)))
            .map(|result| won(result).packet)
            .collect();
        match &claimed.took[..] {
            [] => assert!(wins.is_empty()),
            [(campaign, took)] => {
                assert_eq!(*campaign, no);
                assert_eq!(took.end - took.start, wins.len() as u64);
                places.push((took.clone(), wins));
            }
            more => panic!("one campaign, and {more:?}"),
        }
    }
    places.sort_by_key(|(took, _)| took.start);
    let mut before = Seen::default();
    let (all, seen) = rain.ledger.wins_after(no, &before).await.unwrap();
    assert_eq!(seen.claims(), all.len() as u64);
    for (took, wins) in places {
        assert_eq!(took.start, before.0[2], "no gap");
        let (after, _) = shared.other.wins_after(no, &before).await.unwrap();
        for packet in wins {
            assert!(after.iter().any(|(_, win)| win.packet == packet));
        }
        before.0[2] = took.end;
    }
    assert_eq!(before, seen, "none is anybody else's");
}

/// One key used in two processes at once makes one campaign.
pub async fn one_key_in_two_processes(shared: Shared) {
    let ledgers = [shared.bench.ledger.clone(), shared.other.clone()];
    for round in 0..8 {
        let key = format!("key {round}");
        let calls = ledgers.clone().map(|ledger| {
            let new = new_campaign(ledger.now(), 10, 3, 1_000, WinLimit::ONE);
            let once = once(&key, 1);
            tokio::spawn(async move { ledger.create_campaign(new, Some(once)).await.unwrap() })
        });
        let mut done = 0;
        for call in calls {
            match call.await.unwrap() {
                Once::Done(_) => done += 1,
                Once::Repeated(_) => {}
                Once::KeyReused => panic!("both bodies were the same"),
            }
        }
        assert_eq!(done, 1);
    }
    assert_eq!(shared.other.campaigns(None, 99).await.unwrap().len(), 8);
}

/// Makes a test of each promise; `$fresh` is an async function that gives a
/// [`Shared`](crate::conformance::shared::Shared) with an empty ledger.
#[macro_export]
macro_rules! ledger_conformance_shared {
    ($fresh:path) => {
        mod shared {
            $crate::ledger_conformance_shared! { @ $fresh; living_nodes_leave_no_gap,
                a_lost_node_is_noticed, a_slow_node_counts_on, a_batch_tells_which_places_it_took,
                processes_see_one_another,
                one_key_in_two_processes }
        }
    };
    (@ $fresh:path; $($promise:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            $crate::conformance::shared::$promise($fresh().await).await;
        })+
    };
}
