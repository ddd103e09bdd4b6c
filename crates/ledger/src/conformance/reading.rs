//! Reading wins: settled, looked for, listed, redeemed, audited.

use rules::{PacketId, Per, WinLimit};

use super::bench::{Bench, Rain, all_wins, limit, user, won};
use crate::{CampaignNo, Win, WinnersQuery};

/// After a commit of unknown outcome each ask is known: won, or free and never to be won.
pub async fn a_settled_ask_is_won_or_free(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let there = rain.ask("ann", 1, 1);
    let win = won(&rain.claim(std::slice::from_ref(&there)).await[0]);
    // Bob asked for Ann's packet, and never came through.
    let absent = rain.ask("bob", 1, 1);
    let free = rain.ask("eve", 1, 2);
    let settled = rain.ledger.settle(0, &[absent, there.clone(), free]).await;
    assert_eq!(settled.unwrap(), [None, Some(win.clone()), None]);
    rain.ledger.close_campaign(rain.campaign.id).await.unwrap();
    let settled = rain.ledger.settle(0, &[there]).await.unwrap();
    assert_eq!(settled, [Some(win)], "closed or not");
}

/// A look finds the wins of each user, in order of time, and of this campaign only.
pub async fn looks_find_every_win(bench: Bench) {
    let rain = Rain::open(&bench, 20, limit(3, Per::Campaign)).await;
    let other = Rain::open(&bench, 20, limit(3, Per::Campaign)).await;
    let mut anns = Vec::new();
    for index in [5, 3, 4] {
        anns.push(rain.win("ann", index).await);
    }
    other.win("ann", 1).await;
    let bobs = vec![rain.win("bob", 9).await];
    let users = [user("bob"), user("nobody"), user("ann")];
    let looked = rain.ledger.look(rain.campaign.no, &users).await.unwrap();
    assert_eq!(looked, [bobs, vec![], anns]);
    assert!(
        rain.ledger
            .look(rain.campaign.no, &[])
            .await
            .unwrap()
            .is_empty()
    );
}

async fn packets(rain: &Rain, query: WinnersQuery) -> Vec<u32> {
    let winners = rain.ledger.winners(rain.campaign.no, &query).await.unwrap();
    winners.iter().map(|w| w.win.packet.index).collect()
}

/// Winners by packet, without a gap between pages.
pub async fn winners_come_page_by_page(bench: Bench) {
    let mut rain = Rain::plan(&bench, 9, 3, WinLimit::ONE).await;
    for number in 1..=3 {
        rain.open_wave(number, 2).await;
        for index in [3, 1, 2] {
            let ask = rain.ask(&format!("user {number} {index}"), number, index);
            won(&rain.claim(&[ask]).await[0]);
        }
    }
    let mut query = WinnersQuery {
        limit: 2,
        ..WinnersQuery::default()
    };
    let mut all = Vec::new();
    loop {
        let page = rain.ledger.winners(rain.campaign.no, &query).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        query.after = Some(last.win.packet);
        all.extend(page.iter().map(|winner| winner.win.packet));
    }
    assert_eq!(all.len(), 9);
    assert!(all.is_sorted_by(|a, b| a < b));
    let everything = all_wins(&*rain.ledger, rain.campaign.no).await;
    assert_eq!(everything.len(), 9);
    let none = all_wins(&*rain.ledger, CampaignNo(999)).await;
    assert!(none.is_empty());
}

/// Winners are found by a part of their id, signs of the pattern language included, by the
/// packet's exact id, or by the whole id.
pub async fn winners_are_searched(bench: Bench) {
    let rain = Rain::open(&bench, 20, WinLimit::ONE).await;
    for (name, index) in [("ann_1", 1), ("annx1", 2), ("100%", 3), ("back\\slash", 12)] {
        rain.win(name, index).await;
    }
    let search = |text: &str| WinnersQuery {
        search: Some(text.into()),
        limit: 10,
        ..WinnersQuery::default()
    };
    assert_eq!(packets(&rain, search("ann")).await, [1, 2]);
    assert_eq!(packets(&rain, search("n_1")).await, [1]);
    assert_eq!(packets(&rain, search("0%")).await, [3]);
    assert_eq!(packets(&rain, search("k\\s")).await, [12]);
    assert_eq!(packets(&rain, search("1-12")).await, [12]);
    assert!(packets(&rain, search("2-12")).await.is_empty());
    assert!(packets(&rain, search("' OR 1=1 --")).await.is_empty());
    let own = WinnersQuery {
        user: Some(user("annx1")),
        limit: 10,
        ..WinnersQuery::default()
    };
    assert_eq!(packets(&rain, own).await, [2]);
}

/// Case, spaces at the end and accents make another user; a search passes over the case of
/// ASCII letters only where it is told to find a part of an id.
pub async fn ids_are_told_apart_to_the_byte(bench: Bench) {
    let rain = Rain::open(&bench, 20, WinLimit::ONE).await;
    let names = ["Bob", "bob", "bob ", "böb", "BÖB", "bób", "ｂob", "b!o%b"];
    let mut wins = Vec::new();
    for (name, index) in names.into_iter().zip(1..) {
        wins.push(rain.win(name, index).await);
    }
    let users = names.map(user);
    let looked = rain.ledger.look(rain.campaign.no, &users).await.unwrap();
    for ((user, win), looked) in users.iter().zip(&wins).zip(&looked) {
        let found = rain.ledger.wins(rain.campaign.no, user).await.unwrap();
        assert_eq!(found.len(), 1, "{user:?}");
        assert_eq!((&found[0].user, &found[0].win), (user, win));
        assert_eq!(looked[..], std::slice::from_ref(win)[..], "{user:?}");
        let own = WinnersQuery {
            user: Some(user.clone()),
            limit: 10,
            ..WinnersQuery::default()
        };
        assert_eq!(packets(&rain, own).await, [win.packet.index]);
    }
    let search = |text: &str| WinnersQuery {
        search: Some(text.into()),
        limit: 10,
        ..WinnersQuery::default()
    };
    assert_eq!(packets(&rain, search("BOB")).await, [1, 2, 3]);
    assert_eq!(packets(&rain, search("bob ")).await, [3]);
    assert!(packets(&rain, search("böb")).await.contains(&4));
    assert!(packets(&rain, search("BÖB")).await.contains(&5));
    assert_eq!(packets(&rain, search("ó")).await, [6]);
    assert_eq!(packets(&rain, search("!o")).await, [8]);
    let after = WinnersQuery {
        after: Some(PacketId { wave: 1, index: 1 }),
        limit: 1,
        ..search("bob")
    };
    assert_eq!(packets(&rain, after).await, [2]);
}

/// A claimed packet is redeemed once; a repeat gives the first time.
pub async fn a_packet_is_redeemed_once(bench: Bench) {
    let rain = Rain::open(&bench, 8, WinLimit::ONE).await;
    let (ledger, no) = (&rain.ledger, rain.campaign.no);
    let win: Win = rain.win("ann", 2).await;
    let first = ledger.redeem(no, win.packet).await.unwrap().unwrap();
    assert!(!first.repeated);
    let winner = first.winner;
    assert!(winner.redeemed_at.is_some_and(|at| at >= win.claimed_at));
    assert_eq!((winner.user.as_str(), &winner.win), ("ann", &win));
    bench.clock.turn(100);
    let again = ledger.redeem(no, win.packet).await.unwrap().unwrap();
    assert!(again.repeated);
    assert_eq!(again.winner, winner);
    assert_eq!(ledger.wins(no, &user("ann")).await.unwrap(), [winner]);
    let unclaimed = PacketId { wave: 1, index: 3 };
    assert_eq!(ledger.redeem(no, unclaimed).await.unwrap(), None);
}

/// The histogram of amounts counts every claim, ascending by amount.
pub async fn amounts_are_counted(bench: Bench) {
    let rain = Rain::open(&bench, 30, WinLimit::ONE).await;
    for index in 1..=30 {
        rain.win(&format!("user {index}"), index).await;
    }
    let amounts = rain.ledger.amounts_claimed(rain.campaign.no).await.unwrap();
    assert!(amounts.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(amounts.iter().map(|(_, count)| count).sum::<u64>(), 30);
    let sum: u64 = amounts
        .iter()
        .map(|(amount, count)| amount.units() * count)
        .sum();
    assert_eq!(sum, 3_000);
}

/// The audit balances before the first claim, in the middle, when sold out and after the close.
pub async fn the_audit_finds_the_books_balanced(bench: Bench) {
    let mut rain = Rain::plan(&bench, 12, 2, limit(2, Per::Wave)).await;
    let empty = rain.balanced().await;
    assert_eq!(
        (empty.unclaimed, empty.packets.unclaimed),
        (empty.budget, 12)
    );
    rain.open_wave(1, 2).await;
    rain.win("ann", 1).await;
    rain.win("ann", 2).await;
    let middle = rain.balanced().await;
    assert_eq!((middle.packets.claimed, middle.packets.unclaimed), (2, 10));
    rain.open_wave(2, 2).await;
    for index in 1..=6 {
        let ask = rain.ask(&format!("user {index}"), 2, index);
        won(&rain.claim(&[ask]).await[0]);
    }
    for index in 3..=6 {
        rain.win(&format!("other {index}"), index).await;
    }
    let sold_out = rain.balanced().await;
    assert_eq!(
        (sold_out.claimed, sold_out.packets.unclaimed),
        (sold_out.budget, 0)
    );
    rain.ledger.close_campaign(rain.campaign.id).await.unwrap();
    assert_eq!(rain.balanced().await.packets.refunded, 0);
    let nobody = rules::CampaignId(uuid::Uuid::from_u128(u128::MAX));
    assert!(rain.ledger.audit_snapshot(nobody).await.unwrap().is_none());
}
