//! Claims that stand in each other's way, by every key.

use rules::{Per, WinLimit};

use super::bench::{Bench, Rain, limit, won};
use crate::ClaimResult;

/// A packet has one winner; another user is told that it is taken.
pub async fn a_taken_packet_goes_to_nobody_else(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    rain.win("ann", 1).await;
    let results = rain.claim(&[rain.ask("bob", 1, 1)]).await;
    assert_eq!(results, [ClaimResult::PacketTaken]);
    won(&rain.claim(&[rain.ask("bob", 1, 2)]).await[0]);
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}

/// A user at the limit is given the win that is there, and the packet stays free.
pub async fn a_user_wins_once(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let win = rain.win("ann", 1).await;
    let results = rain.claim(&[rain.ask("ann", 1, 2)]).await;
    assert_eq!(results, [ClaimResult::AtLimit(win)]);
    won(&rain.claim(&[rain.ask("bob", 1, 2)]).await[0]);
    // As bytes: another letter is another user.
    won(&rain.claim(&[rain.ask("Ann", 1, 3)]).await[0]);
    assert_eq!(rain.balanced().await.packets.claimed, 3);
}

/// With packet and user both taken, the packet is what is told: the user may try the next one.
pub async fn the_packet_is_judged_before_the_user(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    rain.win("ann", 1).await;
    rain.win("bob", 2).await;
    let results = rain.claim(&[rain.ask("ann", 1, 2)]).await;
    assert_eq!(results, [ClaimResult::PacketTaken]);
    rain.balanced().await;
}

/// The asks of one user in one batch are decided one after the other.
pub async fn one_user_twice_in_a_batch(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let results = rain
        .claim(&[
            rain.ask("ann", 1, 1),
            rain.ask("bob", 1, 2),
            rain.ask("ann", 1, 3),
        ])
        .await;
    let win = won(&results[0]);
    won(&results[1]);
    assert_eq!(results[2], ClaimResult::AtLimit(win));
    // The first finds its packet taken, so that the second is the user's first win.
    let results = rain
        .claim(&[rain.ask("eve", 1, 1), rain.ask("eve", 1, 4)])
        .await;
    assert_eq!(results[0], ClaimResult::PacketTaken);
    assert_eq!(won(&results[1]).ordinal, 1);
    assert_eq!(rain.balanced().await.packets.claimed, 3);
}

/// Two users want one packet in one batch: one has it.
pub async fn one_packet_twice_in_a_batch(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let results = rain
        .claim(&[rain.ask("bob", 1, 1), rain.ask("ann", 1, 1)])
        .await;
    let taken = results.iter().filter(|r| **r == ClaimResult::PacketTaken);
    assert_eq!(taken.count(), 1);
    assert_eq!(rain.balanced().await.packets.claimed, 1);
}

/// Conflicts in a large batch leave all other asks won.
pub async fn one_row_in_the_way_spoils_no_other(bench: Bench) {
    let rain = Rain::open(&bench, 500, WinLimit::ONE).await;
    let early = rain.win("user 5", 400).await;
    rain.win("somebody", 77).await;
    let asks: Vec<_> = (1..=330)
        .map(|index| rain.ask(&format!("user {index}"), 1, index))
        .collect();
    let results = rain.claim(&asks).await;
    for (ask, result) in asks.iter().zip(&results) {
        match ask.packet.index {
            5 => assert_eq!(*result, ClaimResult::AtLimit(early.clone())),
            77 => assert_eq!(*result, ClaimResult::PacketTaken),
            _ => assert_eq!(won(result).packet, ask.packet),
        }
    }
    assert_eq!(rain.balanced().await.packets.claimed, 330);
}

/// Where the limit is three, a user wins three times, whether in one batch or in several.
pub async fn several_wins_are_counted_to_the_limit(bench: Bench) {
    let rain = Rain::open(&bench, 20, limit(3, Per::Campaign)).await;
    let asks: Vec<_> = (1..=5).map(|index| rain.ask("ann", 1, index)).collect();
    let results = rain.claim(&asks).await;
    let ordinals: Vec<_> = results[..3].iter().map(|r| won(r).ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3]);
    for result in &results[3..] {
        assert_eq!(*result, ClaimResult::AtLimit(won(&results[2])));
    }
    assert_eq!(rain.win("bob", 6).await.ordinal, 1);
    assert_eq!(rain.win("bob", 7).await.ordinal, 2);
    let third = rain.win("bob", 8).await;
    assert_eq!(third.ordinal, 3);
    let over = rain.claim(&[rain.ask("bob", 1, 9)]).await;
    assert_eq!(over, [ClaimResult::AtLimit(third)]);
    assert_eq!(rain.balanced().await.packets.claimed, 6);
}

/// One tap wins one packet, even for another packet, and after the limit is reached.
pub async fn the_same_tap_is_the_same_win(bench: Bench) {
    let rain = Rain::open(&bench, 20, limit(2, Per::Campaign)).await;
    let first = rain.ask("ann", 1, 1);
    let win = won(&rain.claim(std::slice::from_ref(&first)).await[0]);
    assert_eq!(win.grab_id, first.grab_id);
    let mut again = rain.ask("ann", 1, 2);
    again.grab_id = first.grab_id;
    let results = rain.claim(std::slice::from_ref(&again)).await;
    assert_eq!(results, [ClaimResult::SameGrab(win.clone())]);
    rain.win("ann", 3).await;
    again.asked_at = rain.ledger.now();
    assert_eq!(rain.claim(&[again]).await, [ClaimResult::SameGrab(win)]);
    // A tap belongs to its user: another's may have the same id.
    let mut other = rain.ask("bob", 1, 4);
    other.grab_id = first.grab_id;
    won(&rain.claim(&[other]).await[0]);
    // The same tap twice in one batch.
    let one = rain.ask("eve", 1, 5);
    let mut two = rain.ask("eve", 1, 6);
    two.grab_id = one.grab_id;
    let results = rain.claim(&[one, two]).await;
    assert_eq!(results[1], ClaimResult::SameGrab(won(&results[0])));
    assert_eq!(rain.balanced().await.packets.claimed, 4);
}

/// With a limit per seconds, a user wins again in the next period, by ledger time.
pub async fn periods_of_seconds_begin_anew(bench: Bench) {
    let rain = Rain::open(&bench, 20, limit(1, Per::Seconds(60))).await;
    let first = rain.win("ann", 1).await;
    assert_eq!(first.period, 0);
    let results = rain.claim(&[rain.ask("ann", 1, 2)]).await;
    assert_eq!(results, [ClaimResult::AtLimit(first)]);
    bench.clock.turn(60);
    let second = rain.win("ann", 2).await;
    assert_eq!((second.period, second.ordinal), (1, 1));
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}

/// With a limit per wave, an opening begins a period, whichever wave the packet is of.
pub async fn a_period_begins_with_each_opening(bench: Bench) {
    let mut rain = Rain::plan(&bench, 10, 2, limit(1, Per::Wave)).await;
    rain.open_wave(1, 4).await;
    let first = rain.win("ann", 1).await;
    let results = rain.claim(&[rain.ask("ann", 1, 2)]).await;
    assert_eq!(results, [ClaimResult::AtLimit(first.clone())]);
    rain.open_wave(2, 4).await;
    let second = rain.win("ann", 2).await;
    assert_eq!(second.period, first.period + 1);
    assert_eq!(rain.balanced().await.packets.claimed, 2);
}
