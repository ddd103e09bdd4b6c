//! Packets in and out, leases that end, and who waits.

use std::sync::Arc;

use ledger::CampaignNo;
use rules::CampaignId;
use uuid::Uuid;

use super::*;

const LONG: Duration = Duration::from_secs(25);

fn key(first_index: u32) -> BundleKey {
    BundleKey {
        campaign: CampaignNo(1),
        wave: 1,
        first_index,
        packets: 4,
    }
}

fn bundle(first_index: u32) -> Bundle {
    let amounts = (0..4).map(|n| Fen::new(u64::from(first_index + n)).expect("small"));
    Bundle {
        campaign: CampaignId(Uuid::nil()),
        wave: 1,
        first_index,
        amounts: amounts.collect(),
        tiers: None,
    }
}

fn add(stock: &Stock, first_index: u32, claimed: &[u32]) -> Added {
    let receipt = Receipt(first_index.to_string());
    stock.add(
        key(first_index),
        bundle(first_index),
        receipt,
        claimed,
        Instant::now() + LONG,
    )
}

#[tokio::test(start_paused = true)]
async fn unclaimed_packets_are_served_once_with_their_amounts() {
    let stock = Stock::default();
    assert_eq!(add(&stock, 5, &[6]), Added::New);
    let copy = add(&stock, 5, &[6]);
    assert_eq!(copy, Added::Copy, "or packets would be in flight twice");
    let taken: Vec<_> = std::iter::from_fn(|| stock.take()).collect();
    let indices: Vec<u32> = taken.iter().map(|held| held.packet.index).collect();
    assert_eq!(indices, [5, 7, 8]);
    assert!(
        taken
            .iter()
            .all(|held| held.amount.units() == u64::from(held.packet.index))
    );
    assert!(stock.is_empty());

    stock.put_back(&taken[1]);
    let again = stock.take().expect("it is free again");
    assert_eq!(again.packet.index, 7);
    for held in [&taken[0], &again, &taken[2]] {
        assert!(stock.sweep(LONG).is_empty(), "packets are in flight");
        stock.claimed(held);
    }
    let leaving = stock.sweep(LONG);
    assert!(leaving.len() == 1 && leaving[0].finished);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_near_its_lease_s_end_is_served_no_more() {
    let stock = Stock::default();
    add(&stock, 1, &[]);
    let taken = stock.take().expect("four are free");
    tokio::time::advance(LONG).await;
    assert_eq!(add(&stock, 1, &[]), Added::Later, "one is in flight");
    assert!(stock.take().is_none());
    assert!(stock.is_empty(), "or grabs would look again and again");
    assert!(stock.sweep(LONG).is_empty(), "one is in flight");
    stock.put_back(&taken);
    assert!(stock.take().is_none(), "somebody else may have it by now");
    let leaving = stock.sweep(LONG);
    assert!(
        leaving.len() == 1 && !leaving[0].finished,
        "the other packets are not claimed"
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_stock_is_given_back() {
    let stock = Stock::default();
    add(&stock, 1, &[]);
    let idle = Duration::from_secs(2);
    assert!(stock.sweep(idle).is_empty(), "it has just arrived");
    tokio::time::advance(idle).await;
    let leaving = stock.sweep(idle);
    assert!(leaving.len() == 1 && !leaving[0].finished);
    assert!(stock.take().is_none());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_an_arrival_or_after_a_while() {
    let stock = Arc::new(Stock::default());
    assert!(
        !stock.wait(&mut Patience::default(), || false).await,
        "nothing came"
    );
    let waits = tokio::spawn({
        let stock = stock.clone();
        async move { stock.wait(&mut Patience::default(), || false).await }
    });
    tokio::task::yield_now().await;
    assert!(stock.has_waiting());
    add(&stock, 1, &[]);
    assert!(waits.await.expect("no panic"));
    assert!(!stock.has_waiting());
}
