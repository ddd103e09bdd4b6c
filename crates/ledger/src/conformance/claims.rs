//! Claims that go well, that come too late, and that many make at once.

use std::sync::Arc;

use rules::{Fen, Per, WinLimit};

use super::bench::{Bench, Rain, all_wins, claim_among_others, fen, limit, user, won};
use crate::ClaimResult;

/// What was won is read back the same by every way of reading.
pub async fn a_claim_is_read_back_everywhere(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let (ledger, no) = (&rain.ledger, rain.campaign.no);
    let ask = rain.ask("ann", 1, 3);
    let win = won(&rain.claim(std::slice::from_ref(&ask)).await[0]);
    assert_eq!((win.packet, win.amount), (ask.packet, ask.amount));
    assert_eq!((win.period, win.ordinal, win.grab_id), (0, 1, None));
    assert!(win.claimed_at >= ask.asked_at);
    let ann = user("ann");
    assert_eq!(all_wins(&**ledger, no).await, [(ann.clone(), win.clone())]);
    assert_eq!(ledger.wins(no, &ann).await.unwrap()[0].win, win);
    let looked = ledger.look(no, &[user("bob"), ann]).await.unwrap();
    assert_eq!(looked, [vec![], vec![win.clone()]]);
    assert!(ledger.has_claim(no, ask.id).await.unwrap());
    let totals = ledger.totals(no).await.unwrap();
    assert_eq!((totals.claims, totals.claimed), (1, win.amount));
    assert_eq!(rain.balanced().await.packets.claimed, 1);
}

/// One batch may hold asks for several campaigns; the books of each stay its own.
pub async fn batches_may_hold_several_campaigns(bench: Bench) {
    let one = Rain::open(&bench, 8, WinLimit::ONE).await;
    let two = Rain::open(&bench, 8, limit(2, Per::Campaign)).await;
    let asks = [
        two.ask("ann", 1, 1),
        one.ask("ann", 1, 1),
        two.ask("bob", 1, 2),
        two.ask("ann", 1, 3),
    ];
    let results = one.claim(&asks).await;
    assert!(results.iter().all(|r| matches!(r, ClaimResult::Won(_))));
    assert_eq!(one.balanced().await.packets.claimed, 1);
    assert_eq!(two.balanced().await.packets.claimed, 3);
}

/// The same ask again, its answer lost, is the same win, and is counted once.
pub async fn a_repeated_claim_is_the_same_win(bench: Bench) {
    for win_limit in [WinLimit::ONE, limit(3, Per::Campaign)] {
        let rain = Rain::open(&bench, 8, win_limit).await;
        let ask = rain.ask("ann", 1, 1);
        let first = won(&rain.claim(std::slice::from_ref(&ask)).await[0]);
        let again = rain.claim(&[ask, rain.ask("bob", 1, 2)]).await;
        let (ClaimResult::Won(repeated) | ClaimResult::SameGrab(repeated)) = &again[0] else {
            panic!("not the same win, but {:?}", again[0]);
        };
        assert_eq!(*repeated, first);
        won(&again[1]);
        assert_eq!(rain.balanced().await.packets.claimed, 2);
    }
}

/// An ask over 3 seconds old is dropped under the lock: its user was told otherwise long ago.
pub async fn late_asks_are_dropped(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let late = rain.ask("ann", 1, 1);
    // Far past it: time that has gone by since the clock was made is taken off.
    bench.clock.turn(60);
    let results = rain.claim(&[late, rain.ask("bob", 1, 2)]).await;
    assert_eq!(results[0], ClaimResult::TooLate);
    won(&results[1]);
    assert_eq!(rain.balanced().await.packets.claimed, 1);
}

/// However many batches come at once through however many slots, each packet goes to one user.
pub async fn many_batches_at_once_give_each_packet_once(bench: Bench) {
    const PACKETS: u32 = 60;
    let rain = Arc::new(Rain::open(&bench, PACKETS, WinLimit::ONE).await);
    let mut tasks = Vec::new();
    for slot in 0..8_u8 {
        let rain = rain.clone();
        tasks.push(tokio::spawn(async move {
            let mut won = Vec::new();
            for batch in 0..6 {
                let ask = |n: u32| {
                    let index = (u32::from(slot) * 7 + batch * 10 + n) % PACKETS + 1;
                    rain.ask(&format!("user {}", (batch * 20 + n) % 90), 1, index)
                };
                let asks: Vec<_> = (0..20).map(ask).collect();
                let results = claim_among_others(&*rain.ledger, slot * 2, &asks).await;
                won.extend(results.into_iter().filter_map(|result| match result {
                    ClaimResult::Won(win) => Some(win),
                    _ => None,
                }));
            }
            won
        }));
    }
    let mut wins = Vec::new();
    for task in tasks {
        wins.extend(task.await.unwrap());
    }
    let answered = wins.len();
    wins.sort_by_key(|win| win.packet);
    wins.dedup_by_key(|win| win.packet);
    assert_eq!(wins.len(), answered, "a packet was won twice");
    let report = rain.balanced().await;
    assert_eq!(report.packets.claimed, answered as u64);
    let sum = Fen::checked_sum(wins.iter().map(|win| win.amount));
    assert_eq!(sum, Some(report.claimed));
    let (winners, no) = (all_wins(&*rain.ledger, rain.campaign.no).await, PACKETS);
    assert!(winners.len() as u32 <= no);
}

/// A campaign whose audit found a difference gives nothing more; the first reason stays.
pub async fn a_halted_campaign_gives_nothing(bench: Bench) {
    let mut rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let other = Rain::open(&bench, 8, WinLimit::ONE).await;
    let id = rain.campaign.id;
    let version = rain.campaign.version;
    rain.ledger.halt_campaign(id, "a difference").await.unwrap();
    rain.ledger.halt_campaign(id, "another").await.unwrap();
    let asks = [rain.ask("ann", 1, 1), other.ask("ann", 1, 1)];
    let results = rain.claim(&asks).await;
    assert_eq!(results[0], ClaimResult::Halted);
    won(&results[1]);
    rain.read_again().await;
    assert_eq!(rain.campaign.halted.as_deref(), Some("a difference"));
    assert!(rain.campaign.version > version);
}

/// A row that the database refuses fails alone, wherever it stands in the batch.
pub async fn a_bad_row_fails_alone(bench: Bench) {
    let rain = Rain::open(&bench, 400, WinLimit::ONE).await;
    let mut asks: Vec<_> = (1..=300)
        .map(|index| rain.ask(&format!("user {index}"), 1, index))
        .collect();
    for bad in [7, 255, 299] {
        // No packet is empty: every schema refuses such a claim.
        asks[bad].amount = Fen::ZERO;
    }
    let results = rain.claim(&asks).await;
    for (place, result) in results.iter().enumerate() {
        if [7, 255, 299].contains(&place) {
            assert_eq!(*result, ClaimResult::Failed, "row {place}");
        } else {
            won(result);
        }
    }
    assert_eq!(rain.balanced().await.packets.claimed, 297);
}

/// Claims that together exceed the campaign's money are given nothing of it, and its claims are
/// stopped, loudly; other campaigns of the same batch do not suffer.
pub async fn what_the_campaign_has_not_is_not_given(bench: Bench) {
    let mut rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let other = Rain::open(&bench, 8, WinLimit::ONE).await;
    let mut greedy = rain.ask("ann", 1, 1);
    greedy.amount = fen(8 * 100 + 1);
    let asks = [
        other.ask("ann", 1, 1),
        greedy,
        rain.ask("bob", 1, 2),
        other.ask("bob", 1, 2),
    ];
    let results = rain.claim(&asks).await;
    won(&results[0]);
    assert_eq!(results[1..3], [ClaimResult::Failed, ClaimResult::Failed]);
    won(&results[3]);
    let refused = rain.claim(&[rain.ask("bob", 1, 2)]).await;
    assert_eq!(refused, [ClaimResult::Halted]);
    rain.read_again().await;
    assert!(rain.campaign.halted.is_some());
    assert_eq!(rain.balanced().await.packets.claimed, 0);
    other.win("eve", 3).await;
    assert_eq!(other.balanced().await.packets.claimed, 3);
}
