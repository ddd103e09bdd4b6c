//! The books afterwards: what users were told against what the server kept.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use super::{
    load::{Closing, Load, Rain, Told},
    random::Random,
};
use crate::{
    client::Answer,
    sample::{number, text},
    until::Wait,
};

/// How many users win the rest at once.
const SETTLERS: u64 = 16;

/// Wins what is left of every campaign, sees it sold out, and checks the books.
pub(crate) async fn settle_and_check(load: &Arc<Load>, rains: &[Arc<Rain>]) {
    for rain in rains {
        let settlers: Vec<_> = (0..SETTLERS)
            .map(|worker| tokio::spawn(settle(load.clone(), rain.clone(), worker)))
            .collect();
        for settler in settlers {
            settler
                .await
                .expect("a simulated user found the contract broken");
        }
        check(load, rain).await;
        let audit = load.client.audit(&rain.id).await;
        assert_eq!(
            number(&audit["packets"]["unclaimed"]),
            0,
            "sold out, yet packets are left: {audit}"
        );
        assert_eq!(
            number(&audit["packets"]["total"]),
            rain.packets.load(Ordering::Relaxed),
            "a top-up was lost or doubled"
        );
    }
}

/// New users, until nothing is left. A stranded packet makes this wait for ever on
/// `not_this_time`, so that is bounded.
async fn settle(load: Arc<Load>, rain: Arc<Rain>, worker: u64) {
    let mut random = Random::new(worker);
    let mut misses = 0;
    let mut wait = Wait::begin("the next wave opens");
    for n in 0.. {
        let user = format!("settle-{worker}-{n}");
        match load.tap(&rain, &user, random.uuid(), 1).await {
            Answer::Won { .. } => {
                misses = 0;
                wait = Wait::begin("the next wave opens");
            }
            Answer::Missed(reason) if reason == "sold_out" => return,
            Answer::Missed(reason) if reason == "between_waves" => {
                wait.again().await;
            }
            Answer::Missed(reason) if reason == "not_this_time" => {
                misses += 1;
                assert!(
                    misses < 500,
                    "{}: packets are left that nobody can win",
                    rain.id
                );
            }
            other => panic!("{user}: {other:?}"),
        }
    }
}

/// What every user was told is what the server kept, packet by packet; nobody is over the
/// limit; the audit balances; the counters of wins are exact.
pub(crate) async fn check(load: &Load, rain: &Rain) {
    let winners = load.client.winners(&rain.id).await;
    let mut kept = HashMap::new();
    let mut wins_of: HashMap<String, usize> = HashMap::new();
    for winner in &winners {
        let told = Told {
            user: text(&winner["user"]),
            amount: number(&winner["amount"]),
        };
        *wins_of.entry(told.user.clone()).or_default() += 1;
        let before = kept.insert(text(&winner["packet"]), told);
        assert!(before.is_none(), "claimed twice: {winner}");
    }
    let told = rain.told.lock().expect("no user panicked in here").clone();
    for (packet, told) in &told {
        assert_eq!(
            kept.get(packet),
            Some(told),
            "{}: {packet} was answered as won",
            rain.id
        );
    }
    for (packet, kept) in &kept {
        // Every tap was asked until it was decided, so every win has been told.
        assert!(
            told.contains_key(packet),
            "{}: {packet} of {kept:?} was never answered",
            rain.id
        );
    }
    if let Some(wins_max) = rain.wins_max {
        let over: Vec<_> = wins_of
            .iter()
            .filter(|(_, wins)| **wins > wins_max)
            .collect();
        assert!(over.is_empty(), "over the limit of {wins_max}: {over:?}");
    }
    let audit = load.client.audit(&rain.id).await;
    assert_eq!(number(&audit["packets"]["claimed"]), winners.len() as u64);
    let sum: u64 = kept.values().map(|told| told.amount).sum();
    assert_eq!(number(&audit["claimed"]), sum);
    let live = load
        .client
        .read(&format!("/monitor/api/campaigns/{}/live", rain.id))
        .await;
    assert_eq!(
        number(&live["by_outcome"]["won"]),
        winners.len() as u64,
        "wins are counted exactly: {live}"
    );
}

/// The same for a campaign that was closed in the rain: refunded once, and nothing since.
pub(crate) async fn check_closed(load: &Load, closing: &Closing) {
    check(load, &closing.rain).await;
    let audit = load.client.audit(&closing.rain.id).await;
    assert_eq!(number(&audit["unclaimed"]), 0, "{audit}");
    assert_eq!(number(&audit["packets"]["unclaimed"]), 0, "{audit}");
    let claimed = number(&audit["packets"]["claimed"]);
    assert_eq!(
        number(&audit["packets"]["refunded"]),
        400 - claimed,
        "{audit}"
    );
    let path = format!("/monitor/api/campaigns/{}/close", closing.rain.id);
    let again = load.post(&path, None, &serde_json::json!({})).await;
    for answer in &closing.answers {
        assert_eq!(
            answer["refunded"], again["refunded"],
            "another refund: {answer} and {again}"
        );
    }
}
