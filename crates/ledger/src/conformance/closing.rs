//! Closing: claims and the refund exclude each other, and the refund is written once.

use std::sync::Arc;

use rules::{CampaignId, Fen, Split, Tranche, WinLimit};

use super::bench::{Bench, Rain, claim_among_others, fen, once};
use crate::{CampaignPatch, Change, ClaimResult, Ledger, TopUpRefused, WaveState};

/// The refund is the budget of all tranches without the claims; waves never issued included.
pub async fn the_refund_is_what_is_left(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 3, WinLimit::ONE).await;
    let split = Split::Equal { amount: fen(7) };
    let tranche = Tranche {
        number: 0,
        packets: 5,
        split,
    };
    let id = rain.campaign.id;
    let topped = rain.ledger.top_up(id, tranche, once("t", 1)).await;
    topped.unwrap().unwrap();
    rain.open_wave(1, 4).await;
    let win = rain.win("ann", 1).await;
    let refund = rain.ledger.close_campaign(id).await.unwrap().unwrap();
    assert_eq!(refund.packets, 14);
    assert_eq!(refund.amount.units(), 1_000 + 35 - win.amount.units());
    let report = rain.balanced().await;
    assert_eq!(
        (report.unclaimed, report.refunded),
        (Fen::ZERO, refund.amount)
    );
    assert_eq!(report.packets.refunded, 14);
    let totals = rain.ledger.totals(rain.campaign.no).await.unwrap();
    assert_eq!(totals.refunded, refund.amount);
    assert_eq!(totals.refunded_packets, 14);
}

/// Closing again gives the refund that is there.
pub async fn a_close_is_repeated_without_effect(bench: Bench) {
    let mut rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    let first = ledger.close_campaign(id).await.unwrap().unwrap();
    rain.read_again().await;
    let version = rain.campaign.version;
    assert_eq!(rain.campaign.closed_at, Some(first.refunded_at));
    bench.clock.turn(10);
    assert_eq!(ledger.close_campaign(id).await.unwrap(), Some(first));
    rain.read_again().await;
    assert_eq!(rain.campaign.version, version);
    assert!(rain.balanced().await.balanced);
    let nobody = CampaignId(uuid::Uuid::from_u128(u128::MAX));
    assert_eq!(ledger.close_campaign(nobody).await.unwrap(), None);
}

/// Whatever the interleaving, claims and refund are the budget, and nothing is won afterwards.
pub async fn claims_and_close_exclude_each_other(bench: Bench) {
    for round in 0..6_u32 {
        let rain = Arc::new(Rain::open(&bench, 200, WinLimit::ONE).await);
        let mut claimers = Vec::new();
        for slot in 0..8_u8 {
            let rain = rain.clone();
            claimers.push(tokio::spawn(async move {
                let (mut won, mut closed) = (Fen::ZERO, false);
                for n in 0..25 {
                    let index = u32::from(slot) * 25 + n + 1;
                    let ask = rain.ask(&format!("user {index}"), 1, index);
                    match &claim_among_others(&*rain.ledger, slot, &[ask]).await[0] {
                        ClaimResult::Won(win) => {
                            assert!(!closed, "won after the close was seen");
                            won = won.checked_add(win.amount).unwrap();
                        }
                        ClaimResult::Closed => closed = true,
                        other => panic!("{other:?}"),
                    }
                }
                won
            }));
        }
        let closer = rain.clone();
        let close = tokio::spawn(async move {
            for _ in 0..round * 40 {
                tokio::task::yield_now().await;
            }
            closer.ledger.close_campaign(closer.campaign.id).await
        });
        let refund = close.await.unwrap().unwrap().unwrap();
        let mut claimed = Fen::ZERO;
        for claimer in claimers {
            claimed = claimed.checked_add(claimer.await.unwrap()).unwrap();
        }
        let whole = claimed.checked_add(refund.amount);
        assert_eq!(whole, Some(fen(20_000)), "round {round}");
        let report = rain.balanced().await;
        assert_eq!((report.claimed, report.refunded), (claimed, refund.amount));
    }
}

/// Whoever closes a campaign because its end has come is told no where that was put off, and
/// where an audit has halted it.
pub async fn an_end_that_was_put_off_closes_nothing(bench: Bench) {
    let mut rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    assert_eq!(ledger.close_ended_campaign(id).await.unwrap(), None);
    end_now(&*ledger, id).await;
    ledger.halt_campaign(id, "a difference").await.unwrap();
    assert_eq!(ledger.close_ended_campaign(id).await.unwrap(), None);
    rain.read_again().await;
    assert_eq!(rain.campaign.closed_at, None);
    // A person may close it all the same; whoever comes after that finds the refund.
    let refund = ledger.close_campaign(id).await.unwrap();
    assert_eq!(ledger.close_ended_campaign(id).await.unwrap(), refund);

    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    end_now(&*ledger, id).await;
    let refund = ledger.close_ended_campaign(id).await.unwrap();
    assert_eq!(refund.map(|refund| refund.packets), Some(8));
}

async fn end_now(ledger: &dyn Ledger, id: CampaignId) {
    let patch = CampaignPatch {
        ends_at: Some(ledger.now()),
        ..CampaignPatch::default()
    };
    let changed = ledger.patch_campaign(id, patch).await;
    assert_eq!(changed.unwrap(), Change::Done);
}

/// A closed campaign takes no change of any kind.
pub async fn a_closed_campaign_changes_no_more(bench: Bench) {
    let mut rain = Rain::plan(&bench, 8, 2, WinLimit::ONE).await;
    let (ledger, id) = (rain.ledger.clone(), rain.campaign.id);
    ledger.pause_campaign(id).await.unwrap();
    ledger.close_campaign(id).await.unwrap();
    let title = CampaignPatch {
        title: Some("another".into()),
        ..CampaignPatch::default()
    };
    assert_eq!(
        ledger.patch_campaign(id, title).await.unwrap(),
        Change::Ended
    );
    assert_eq!(ledger.pause_campaign(id).await.unwrap(), Change::Ended);
    assert_eq!(ledger.resume_campaign(id).await.unwrap(), Change::Ended);
    let tranche = rain.campaign.tranches[0].clone();
    let topped = ledger.top_up(id, tranche, once("t", 1)).await.unwrap();
    assert_eq!(topped, Err(TopUpRefused::Ended));
    rain.open_wave(1, 4).await;
    assert_eq!(rain.campaign.waves[0].state, WaveState::Planned);
    let results = rain.claim(&[rain.ask("ann", 1, 1)]).await;
    assert_eq!(results, [ClaimResult::Closed]);
    rain.balanced().await;
}
