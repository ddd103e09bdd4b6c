//! Leads: one at a time, taken over after the lease, and worth nothing once another has it.

use std::{collections::HashSet, time::Duration};

use rules::WinLimit;

use super::bench::{Bench, Rain};
use crate::{BundleKey, Lead, Ledger, LedgerError, NodeId, WaveState};

const LEASE: Duration = Duration::from_secs(100);
const ANN: NodeId = NodeId(7);
/// Fills all 64 bits, so that a column that takes fewer shows.
const BOB: NodeId = NodeId(u64::MAX);

async fn lead(ledger: &dyn Ledger, node: NodeId) -> Option<Lead> {
    ledger.lead(node, LEASE).await.unwrap()
}

/// While one leads no other does; the one who leads may go on, under the same epoch.
pub async fn one_leads_at_a_time(bench: Bench) {
    let ledger = &*bench.ledger;
    let now = ledger.now();
    let first = lead(ledger, ANN).await.unwrap();
    assert!(first.until >= now.plus_seconds(100));
    assert_eq!(lead(ledger, BOB).await, None);
    bench.clock.turn(50);
    let renewed = lead(ledger, ANN).await.unwrap();
    assert_eq!(renewed.epoch, first.epoch);
    assert!(renewed.until >= first.until.plus_seconds(30));
    bench.clock.turn(70);
    assert_eq!(lead(ledger, BOB).await, None, "the renewal counts");
}

/// After the lease another takes over, under a higher epoch; the one before has lost it.
pub async fn another_takes_over_after_the_lease(bench: Bench) {
    let ledger = &*bench.ledger;
    let first = lead(ledger, ANN).await.unwrap();
    bench.clock.turn(150);
    let second = lead(ledger, BOB).await.unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(lead(ledger, ANN).await, None);
    bench.clock.turn(150);
    let third = lead(ledger, ANN).await.unwrap();
    assert!(third.epoch > second.epoch, "a lead that comes back is new");
    bench.clock.turn(150);
    let late = lead(ledger, ANN).await.unwrap();
    assert_eq!(late.epoch, third.epoch, "late, but nobody came between");
}

/// Who steps down need not be waited for; who was deposed can end nobody else's lead.
pub async fn a_lead_can_be_given_up(bench: Bench) {
    let ledger = &*bench.ledger;
    let first = lead(ledger, ANN).await.unwrap();
    ledger.step_down(first).await.unwrap();
    let second = lead(ledger, BOB).await.unwrap();
    assert!(second.epoch > first.epoch);
    ledger.step_down(first).await.unwrap();
    assert_eq!(lead(ledger, ANN).await, None, "it was not Ann's to give up");
}

/// Of many who want to lead at the same time, one does.
pub async fn one_of_many_leads(bench: Bench) {
    let mut epochs = HashSet::new();
    for _round in 0..5 {
        let wanting = (1..=8).map(|node| {
            let ledger = bench.ledger.clone();
            tokio::spawn(async move { ledger.lead(NodeId(node), LEASE).await.unwrap() })
        });
        let wanting: Vec<_> = wanting.collect();
        let mut leads = Vec::new();
        for wants in wanting {
            leads.extend(wants.await.unwrap());
        }
        assert_eq!(leads.len(), 1, "{leads:?}");
        assert!(epochs.insert(leads[0].epoch), "an epoch is given once");
        bench.ledger.step_down(leads[0]).await.unwrap();
    }
}

/// A leader that another has followed can neither begin nor open a wave, nor note a sending.
pub async fn a_deposed_leader_writes_nothing(bench: Bench) {
    let mut rain = Rain::plan(&bench, 8, 2, WinLimit::ONE).await;
    let (ledger, no) = (bench.ledger.clone(), rain.campaign.no);
    let old = lead(&*ledger, ANN).await.unwrap();
    let mut wave = rain.campaign.waves[0].clone();
    (wave.bundle_size, wave.algorithm, wave.digest) = (4, 1, Some([7; 32]));
    ledger.begin_wave(old, no, &wave).await.unwrap();
    bench.clock.turn(150);
    let new = lead(&*ledger, BOB).await.unwrap();
    rain.read_again().await;
    let before = rain.campaign.clone();

    let refused = ledger.open_wave(old, no, 1).await;
    assert!(matches!(refused, Err(LedgerError::Deposed)), "{refused:?}");
    wave.number = 2;
    let refused = ledger.begin_wave(old, no, &wave).await;
    assert!(matches!(refused, Err(LedgerError::Deposed)), "{refused:?}");
    rain.read_again().await;
    assert_eq!(rain.campaign.waves, before.waves);
    assert_eq!(rain.campaign.version, before.version);

    assert!(ledger.open_wave(new, no, 1).await.unwrap());
    rain.read_again().await;
    assert_eq!(rain.campaign.waves[0].state, WaveState::Open);
    bench.clock.turn(30);
    let bundle = BundleKey {
        campaign: no,
        wave: 1,
        first_index: 1,
        packets: 4,
    };
    let refused = ledger.mark_sent(old, &[bundle]).await;
    assert!(matches!(refused, Err(LedgerError::Deposed)), "{refused:?}");
    let stranded = ledger.stranded(no, 2_000, false, 10).await.unwrap();
    assert_eq!(stranded, [bundle], "the refused sending is not noted");
    ledger.mark_sent(new, &[bundle]).await.unwrap();
    let stranded = ledger.stranded(no, 2_000, false, 10).await.unwrap();
    assert!(stranded.is_empty());
}
