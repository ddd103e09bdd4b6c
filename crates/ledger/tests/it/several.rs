//! Claims of several processes on one database: two handles with connections of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ledger::{
    ClaimAsk, ClaimResult, Ledger,
    conformance::bench::{Rain, all_wins, claim_among_others, limit, won},
};
use rules::{PacketId, Per, Timestamp, UserId, WinLimit};

use crate::{
    on_servers::on_servers,
    servers::{Backend, Database, open},
};

on_servers! {
    each_packet_is_given_once,
    claims_and_close_exclude_each_other,
    an_ordinal_that_another_took_is_followed_by_the_next,
    a_win_that_was_answered_is_seen_by_the_other,
}

/// Numbers that depend on nothing but the seed, which a failure prints with its message.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        // Marsaglia's xorshift: good enough to mix, and the same everywhere.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(end)).unwrap()
    }
}

/// Two handles and a campaign of `packets`.
async fn rain(
    database: &Database,
    packets: u32,
    win_limit: WinLimit,
) -> (Arc<Rain>, [Arc<dyn Ledger>; 2]) {
    let bench = database.bench().await;
    let other = open(&database.url(), &bench.clock).await;
    let rain = Rain::open(&bench, packets, win_limit).await;
    (Arc::new(rain), [bench.ledger, Arc::new(other)])
}

/// Claims `batches` of random users and packets through `slot`; the wins.
async fn claim_at_random(
    ledger: Arc<dyn Ledger>,
    rain: Arc<Rain>,
    slot: u8,
    (users, packets, batches): (u32, u32, u32),
) -> Vec<(UserId, PacketId, Timestamp)> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (u64::from(slot) << 32 | 1));
    let mut wins = Vec::new();
    for _ in 0..batches {
        let asks: Vec<ClaimAsk> = (0..20)
            .map(|_| {
                let name = format!("user {}", numbers.below(users));
                rain.ask(&name, 1, numbers.below(packets) + 1)
            })
            .collect();
        let results = claim_among_others(&*ledger, slot, &asks).await;
        for (ask, result) in asks.iter().zip(results) {
            match result {
                ClaimResult::Won(win) => {
                    assert_eq!(win.packet, ask.packet);
                    wins.push((ask.user.clone(), win.packet, win.claimed_at));
                }
                ClaimResult::AtLimit(_) | ClaimResult::PacketTaken | ClaimResult::Closed => {}
                // On a machine so busy that a batch has waited in vain for a row.
                ClaimResult::Failed => {}
                other => panic!("slot {slot}: {other:?}"),
            }
        }
    }
    wins
}

/// Many fight for the same packets and users through both handles: each packet is given once,
/// nobody has more than the limit, and what was answered is what is in the books.
async fn each_packet_is_given_once(backend: Backend) {
    const LIMIT: u32 = 2;
    let database = backend.new_database();
    let (rain, handles) = rain(&database, 150, limit(LIMIT, Per::Campaign)).await;
    let mut tasks = Vec::new();
    for slot in 0..8_u8 {
        let ledger = handles[usize::from(slot) % 2].clone();
        let size = (60, 150, 12);
        tasks.push(tokio::spawn(claim_at_random(
            ledger,
            rain.clone(),
            slot,
            size,
        )));
    }
    let (mut answered, mut of_user) = (BTreeSet::new(), BTreeMap::<UserId, u32>::new());
    for task in tasks {
        for (user, packet, at) in task.await.unwrap() {
            *of_user.entry(user.clone()).or_default() += 1;
            assert!(answered.insert((packet, user, at)), "{packet} twice");
        }
    }
    assert!(of_user.values().all(|&wins| wins <= LIMIT), "{of_user:?}");
    let booked = all_wins(&*handles[1], rain.campaign.no).await;
    let booked: BTreeSet<_> = booked
        .into_iter()
        .map(|(user, win)| (win.packet, user, win.claimed_at))
        .collect();
    assert_eq!(answered, booked);
    let packets: BTreeSet<_> = booked.iter().map(|(packet, ..)| packet).collect();
    assert_eq!(packets.len(), booked.len(), "a packet has one winner");
    rain.balanced().await;
}

/// A close through one handle while both claim: what is answered as won is in the books, the
/// refund is the rest to the fen, and nothing is won afterwards.
async fn claims_and_close_exclude_each_other(backend: Backend) {
    let database = backend.new_database();
    let (rain, handles) = rain(&database, 400, WinLimit::ONE).await;
    let mut tasks = Vec::new();
    for slot in 0..6_u8 {
        let ledger = handles[usize::from(slot) % 2].clone();
        let size = (400, 400, 10);
        tasks.push(tokio::spawn(claim_at_random(
            ledger,
            rain.clone(),
            slot,
            size,
        )));
    }
    while handles[0].totals(rain.campaign.no).await.unwrap().claims < 40 {
        tokio::task::yield_now().await;
    }
    let refund = handles[1].close_campaign(rain.campaign.id).await.unwrap();
    let refund = refund.unwrap();
    let mut answered = 0;
    for task in tasks {
        answered += task.await.unwrap().len() as u64;
    }
    let report = rain.balanced().await;
    assert_eq!(report.packets.claimed, answered);
    assert_eq!(refund.packets, 400 - answered);
    let late = rain.ask("late", 1, 1);
    let results = handles[0].claim(9, &[late]).await.unwrap().results;
    assert_eq!(results, [ClaimResult::Closed]);
}

/// Where several wins are possible, the lowest free ordinal is chosen before the insert; when
/// another process takes it in between, the next one is tried.
async fn an_ordinal_that_another_took_is_followed_by_the_next(backend: Backend) {
    let database = backend.new_database();
    let (rain, handles) = rain(&database, 64, limit(32, Per::Campaign)).await;
    let mut tasks = Vec::new();
    for slot in 0..16_u8 {
        let (ledger, rain) = (handles[usize::from(slot) % 2].clone(), rain.clone());
        tasks.push(tokio::spawn(async move {
            let asks: Vec<_> = (0..3)
                .map(|n| rain.ask("ann", 1, u32::from(slot) * 3 + n + 1))
                .collect();
            claim_among_others(&*ledger, slot, &asks).await
        }));
    }
    let mut ordinals = Vec::new();
    for task in tasks {
        for result in task.await.unwrap() {
            match result {
                ClaimResult::Won(win) => ordinals.push(win.ordinal),
                ClaimResult::AtLimit(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    ordinals.sort_unstable();
    let all: Vec<u32> = (1..=32).collect();
    assert_eq!(ordinals, all);
    rain.balanced().await;
}

/// Whoever is told of a win through one handle finds it through the other, while others claim.
async fn a_win_that_was_answered_is_seen_by_the_other(backend: Backend) {
    let database = backend.new_database();
    let (rain, handles) = rain(&database, 8, WinLimit::ONE).await;
    let mut tasks = Vec::new();
    for (slot, index) in (0..8_u8).zip(1..) {
        let (rain, handles) = (rain.clone(), handles.clone());
        tasks.push(tokio::spawn(async move {
            let ask = rain.ask(&format!("user {slot}"), 1, index);
            let claimed = handles[0].claim(slot, std::slice::from_ref(&ask)).await;
            let win = won(&claimed.unwrap().results[0]);
            let looked = handles[1].look(rain.campaign.no, &[ask.user]).await;
            assert_eq!(looked.unwrap()[0], [win]);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}
