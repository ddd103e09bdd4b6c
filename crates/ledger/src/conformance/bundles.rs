//! Bundles: held, given back, stranded.

use rules::WinLimit;

use super::bench::{Bench, Rain, lead};
use crate::{BundleKey, NodeId};

/// Of delays and holds, and of what the clock is turned by past their ends, a few seconds are
/// nothing: ledger time goes on by itself while a slow machine works.
const FIRST_DELAY_SECONDS: i64 = 60;
const FIRST_DELAY_MS: i64 = FIRST_DELAY_SECONDS * 1_000;
const NODE: NodeId = NodeId(u64::MAX - 1);

fn bundle(rain: &Rain, first_index: u32, packets: u32) -> BundleKey {
    BundleKey {
        campaign: rain.campaign.no,
        wave: 1,
        first_index,
        packets,
    }
}

async fn stranded(rain: &Rain, regardless: bool) -> Vec<u32> {
    let no = rain.campaign.no;
    let stranded = rain.ledger.stranded(no, FIRST_DELAY_MS, regardless, 100);
    let bundles = stranded.await.unwrap();
    for found in &bundles {
        let size = if found.first_index == 9 { 2 } else { 4 };
        assert_eq!((found.campaign, found.wave, found.packets), (no, 1, size));
    }
    bundles.iter().map(|found| found.first_index).collect()
}

/// Whoever holds a bundle learns which of its packets are claimed.
pub async fn a_hold_tells_what_is_claimed(bench: Bench) {
    let rain = Rain::open(&bench, 10, WinLimit::ONE).await;
    for (name, index) in [("ann", 4), ("bob", 1), ("eve", 9), ("joe", 5)] {
        rain.win(name, index).await;
    }
    let until = rain.ledger.now().plus_seconds(30);
    let bundles = [
        bundle(&rain, 9, 2),
        bundle(&rain, 1, 4),
        bundle(&rain, 5, 4),
    ];
    let claimed = rain.ledger.hold(NODE, until, &bundles).await.unwrap();
    assert_eq!(claimed, [vec![9], vec![1, 4], vec![5]]);
    assert!(rain.ledger.hold(NODE, until, &[]).await.unwrap().is_empty());
}

/// A bundle is not sent again while it is held; a hold counts until it ends or is given up.
pub async fn held_bundles_are_not_stranded(bench: Bench) {
    let rain = Rain::open(&bench, 10, WinLimit::ONE).await;
    assert!(stranded(&rain, false).await.is_empty(), "sent just now");
    let until = rain.ledger.now().plus_seconds(300);
    let bundles = [bundle(&rain, 1, 4), bundle(&rain, 5, 4)];
    rain.ledger.hold(NODE, until, &bundles).await.unwrap();
    bench.clock.turn(120);
    assert_eq!(stranded(&rain, false).await, [9]);
    // Only who holds it can give it up.
    rain.ledger.unhold(NodeId(5), &bundles).await.unwrap();
    assert_eq!(stranded(&rain, false).await, [9]);
    rain.ledger.unhold(NODE, &bundles[..1]).await.unwrap();
    assert_eq!(stranded(&rain, false).await, [1, 9]);
    bench.clock.turn(300);
    assert_eq!(stranded(&rain, false).await, [1, 5, 9]);
    let few = rain
        .ledger
        .stranded(rain.campaign.no, FIRST_DELAY_MS, false, 2);
    assert_eq!(few.await.unwrap().len(), 2);
}

/// The delay before the next sending doubles with each, up to 64 times the first.
pub async fn the_delay_doubles(bench: Bench) {
    let rain = Rain::open(&bench, 4, WinLimit::ONE).await;
    let only = [bundle(&rain, 1, 4)];
    for times in [1, 2, 4, 8, 16, 32, 64, 64] {
        let seconds = times * FIRST_DELAY_SECONDS;
        bench.clock.turn(seconds * 3 / 4);
        assert!(
            stranded(&rain, false).await.is_empty(),
            "well before {seconds} s"
        );
        bench.clock.turn(seconds / 2);
        assert_eq!(stranded(&rain, false).await, [1], "well after {seconds} s");
        rain.ledger
            .mark_sent(lead(&*rain.ledger).await, &only)
            .await
            .unwrap();
    }
}

/// A queue that came up empty is refilled at once, whoever holds what.
pub async fn an_empty_queue_is_refilled_regardless(bench: Bench) {
    let rain = Rain::open(&bench, 10, WinLimit::ONE).await;
    let until = rain.ledger.now().plus_seconds(30);
    let held = [bundle(&rain, 1, 4)];
    rain.ledger.hold(NODE, until, &held).await.unwrap();
    rain.ledger
        .mark_sent(lead(&*rain.ledger).await, &held)
        .await
        .unwrap();
    assert!(stranded(&rain, false).await.is_empty());
    assert_eq!(stranded(&rain, true).await, [1, 5, 9]);
    // Waves that are not open have nothing to be sent again.
    let planned = Rain::plan(&bench, 10, 2, WinLimit::ONE).await;
    assert!(stranded(&planned, true).await.is_empty());
    rain.ledger.close_campaign(rain.campaign.id).await.unwrap();
    assert!(stranded(&rain, true).await.is_empty());
}

/// A bundle whose packets are all claimed is never sent again, one with a free packet is.
pub async fn claimed_bundles_are_never_stranded(bench: Bench) {
    let rain = Rain::open(&bench, 10, WinLimit::ONE).await;
    for index in 1..=8 {
        rain.win(&format!("user {index}"), index).await;
    }
    assert_eq!(stranded(&rain, true).await, [9]);
    assert_eq!(stranded(&rain, true).await, [9], "asked again");
    rain.win("ann", 10).await;
    assert_eq!(stranded(&rain, true).await, [9]);
    rain.win("bob", 9).await;
    assert!(stranded(&rain, true).await.is_empty());
}

/// Leased packets are the unclaimed ones of bundles whose hold has not ended.
pub async fn leased_packets_are_counted(bench: Bench) {
    let rain = Rain::open(&bench, 10, WinLimit::ONE).await;
    let leased = async || {
        let totals = rain.ledger.totals(rain.campaign.no).await.unwrap();
        totals.leased_packets
    };
    rain.win("ann", 1).await;
    assert_eq!(leased().await, 0);
    let until = rain.ledger.now().plus_seconds(30);
    let held = [bundle(&rain, 1, 4), bundle(&rain, 9, 2)];
    rain.ledger.hold(NODE, until, &held).await.unwrap();
    assert_eq!(leased().await, 5);
    rain.win("bob", 9).await;
    assert_eq!(leased().await, 4);
    rain.ledger.unhold(NODE, &held[..1]).await.unwrap();
    assert_eq!(leased().await, 1);
    bench.clock.turn(60);
    assert_eq!(leased().await, 0);
}
