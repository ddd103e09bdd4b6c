//! Simulated users of a cluster. Unlike those of one process they may find another replica at
//! their second tap, which for a moment may not know of the first; what the contract then allows
//! is allowed here, and no more.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    client::Answer,
    load::{Load, Rain},
    random::Random,
};

/// The pause of a user who found nothing.
const PAUSE: Duration = Duration::from_millis(30);

/// Whether everything issued so far is claimed.
fn is_out(answer: &Answer) -> bool {
    answer.missed("sold_out") || answer.missed("between_waves")
}

/// One tap until it is decided for good: "not this time" is asked once more as the repetition
/// that it is, so that a win whose answer was lost on the way is found.
pub(crate) async fn tap(load: &Load, rain: &Rain, user: &str, grab_id: Uuid) -> Answer {
    let first = load.tap(rain, user, grab_id, 1).await;
    if !first.missed("not_this_time") {
        return first;
    }
    load.tap(rain, user, grab_id, 1_000).await
}

/// New users all the time, each of whom may win once; some tap again.
pub(crate) async fn once(load: Arc<Load>, rain: Arc<Rain>, worker: u64, mut random: Random) {
    for n in 0.. {
        if !load.raining() {
            return;
        }
        let user = format!("once-{worker}-{n}");
        let answer = tap(&load, &rain, &user, random.uuid()).await;
        match answer {
            Answer::Won { .. } if random.below(4) == 0 => {
                let again = load.tap(&rain, &user, random.uuid(), 2).await;
                assert_eq!(again.win(), answer.win(), "{user} won twice");
                assert!(again.is_repeated(), "{user}: {again:?}");
            }
            Answer::Won { .. } => {}
            answer if is_out(&answer) || answer.missed("not_this_time") => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => panic!("{user}: {answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(random.below(8))).await;
    }
}

/// Users that win three times and no more, and ask earlier taps again in between.
pub(crate) async fn thrice(load: Arc<Load>, rain: Arc<Rain>, worker: u64, mut random: Random) {
    for n in 0.. {
        let user = format!("thrice-{worker}-{n}");
        let mut wins: Vec<(Uuid, (String, u64))> = Vec::new();
        while wins.len() < 3 {
            if !load.raining() {
                return;
            }
            let grab_id = random.uuid();
            let answer = tap(&load, &rain, &user, grab_id).await;
            if is_out(&answer) || answer.missed("not_this_time") {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let win = answer.win();
            let known = wins.iter().any(|(_, before)| *before == win);
            assert!(!known, "{user}: two taps, one packet");
            wins.push((grab_id, win));
            let chosen = usize::try_from(random.below(wins.len() as u64)).expect("small");
            let (grab_id, win) = &wins[chosen];
            let again = load.tap(&rain, &user, *grab_id, 2).await;
            assert_eq!(again.win(), *win, "{user}: a repeated tap got another win");
        }
        let fourth = load.tap(&rain, &user, random.uuid(), 2).await;
        let limit = "limit_reached";
        assert!(
            fourth.rejected(limit),
            "{user} asked a fourth time: {fourth:?}"
        );
        tokio::time::sleep(Duration::from_millis(random.below(8))).await;
    }
}
