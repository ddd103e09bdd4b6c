//! The simulated users: each asks until it has an answer, with the same Grab-Id, through every
//! crash, and remembers what it was told.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::random::Random;
use crate::{
    client::{Answer, Client},
    sample::{plain, text, token, with},
    server::Server,
};

/// The pause before an undecided call is repeated.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// Nothing is asserted about time by this; it ends a test that would otherwise hang.
const DECIDED_WITHIN: Duration = Duration::from_secs(120);
/// What a top-up adds.
const TOP_UP_PACKETS: u64 = 300;

/// Who won a packet, and what it holds, as a user was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The winner.
    pub(crate) user: String,
    /// Minor units.
    pub(crate) amount: u64,
}

/// One campaign under load, and what its users were told by packet.
pub(crate) struct Rain {
    /// The campaign's id.
    pub(crate) id: String,
    /// How often one user may win in all; `None`: once a wave.
    pub(crate) wins_max: Option<usize>,
    /// Whether its split is lucky, so that a top-up brings a total.
    pub(crate) lucky: bool,
    /// Packets in all, top-ups included.
    pub(crate) packets: AtomicU64,
    /// By packet id.
    pub(crate) told: Mutex<HashMap<String, Told>>,
}

impl Rain {
    /// Notes a win that `user` was told of. A packet told to two users, or with two amounts,
    /// fails the test.
    pub(crate) fn note(&self, user: &str, answer: &Answer) {
        let (packet, amount) = answer.win();
        let told = Told {
            user: user.into(),
            amount,
        };
        let mut all = self.told.lock().expect("no user panicked in here");
        let before = all.insert(packet.clone(), told.clone());
        assert!(
            before.is_none() || before.as_ref() == Some(&told),
            "{packet} told twice: {before:?} and {told:?}"
        );
    }
}

/// A campaign that was closed in the rain, and the answer of the close.
pub(crate) struct Closing {
    /// What its users were told.
    pub(crate) rain: Arc<Rain>,
    /// The answers of `/close`.
    pub(crate) answers: Vec<Value>,
}

/// What all users share.
pub(crate) struct Load {
    /// The way to the server, whichever process that is.
    pub(crate) client: Client,
    stopping: AtomicBool,
    told: AtomicU64,
}

impl Load {
    /// A load on `server` and on what follows it on the same port.
    pub(crate) fn new(server: &Server) -> Self {
        Self::on(Client::new(server))
    }

    /// A load on what `client` talks to.
    pub(crate) fn on(client: Client) -> Self {
        Self {
            client,
            stopping: AtomicBool::new(false),
            told: AtomicU64::new(0),
        }
    }

    /// Lets every user finish its tap and go.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether users are to go on.
    pub(crate) fn raining(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    /// How many taps were answered with a win.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// One tap of `user`, asked until it is decided.
    pub(crate) async fn tap(
        &self,
        rain: &Rain,
        user: &str,
        grab_id: Uuid,
        first_attempt: u32,
    ) -> Answer {
        let token = token(user);
        let began = Instant::now();
        for attempt in first_attempt.. {
            match self
                .client
                .ask_once(&rain.id, &token, Some((grab_id, attempt)))
                .await
            {
                Ok(answer) => {
                    if let Answer::Won { .. } = answer {
                        self.told.fetch_add(1, Ordering::Relaxed);
                        rain.note(user, &answer);
                    }
                    return answer;
                }
                Err(why) => {
                    let late = began.elapsed() > DECIDED_WITHIN;
                    assert!(!late, "{user}'s tap {grab_id} stays undecided: {why}");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        unreachable!("four billion attempts")
    }

    /// An organiser's POST, repeated until it is answered.
    pub(crate) async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Value {
        let began = Instant::now();
        loop {
            let mut request = self.client.organiser(Method::POST, path).json(body);
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            if let Ok(response) = request.send().await {
                let status = response.status();
                if let Ok(answer) = response.bytes().await
                    && status != StatusCode::SERVICE_UNAVAILABLE
                {
                    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
                    assert!(
                        status.is_success(),
                        "{path} was answered {status}: {answer}"
                    );
                    return answer;
                }
            }
            assert!(began.elapsed() < DECIDED_WITHIN, "{path} stays unanswered");
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// A new campaign, made once however often the call must be repeated.
    pub(crate) async fn rain(&self, wins_max: usize, key: &str, body: &Value) -> Arc<Rain> {
        let created = self.post("/monitor/api/campaigns", Some(key), body).await;
        Arc::new(Rain {
            id: text(&created["id"]),
            wins_max: Some(wins_max),
            lucky: body["split"]["mode"] == "lucky",
            packets: AtomicU64::new(body["packets"].as_u64().expect("a number")),
            told: Mutex::default(),
        })
    }

    /// A new campaign whose waves open while the process is killed.
    pub(crate) async fn rain_of_waves(&self, round: u64) -> Arc<Rain> {
        let waves = json!({"packets": 240, "batches": 8, "interval_seconds": 1, "win_limit": {"count": 1, "per": "wave"}});
        let rain = self
            .rain(1, &format!("waves-{round}"), &with(plain(1), waves))
            .await;
        let rain = Arc::into_inner(rain).expect("not shared yet");
        Arc::new(Rain {
            wins_max: None,
            ..rain
        })
    }
}

/// Whether there was nothing to win, which a top-up may change. One whose wave is not open yet
/// is a wave to come.
fn is_out_of_stock(answer: &Answer) -> bool {
    let reasons = ["sold_out", "between_waves", "not_this_time"];
    reasons.iter().any(|reason| answer.missed(reason))
}

/// New users all the time; each may win once, and some ask again.
pub(crate) async fn win_once(load: Arc<Load>, rain: Arc<Rain>, worker: u64, mut random: Random) {
    for n in 0.. {
        if !load.raining() {
            return;
        }
        let user = format!("once-{worker}-{n}");
        let answer = load.tap(&rain, &user, random.uuid(), 1).await;
        if let Answer::Won { .. } = answer {
            if random.below(4) == 0 {
                let again = load.tap(&rain, &user, random.uuid(), 1).await;
                assert_eq!(again.win(), answer.win(), "{user} won twice");
                assert!(again.is_repeated(), "{user}: {again:?}");
            }
        } else {
            assert!(is_out_of_stock(&answer), "{user}: {answer:?}");
            tokio::time::sleep(RETRY_AFTER).await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(4))).await;
    }
}

/// Users that win three times and then no more; earlier taps are asked again in between.
pub(crate) async fn win_several(load: Arc<Load>, rain: Arc<Rain>, worker: u64, mut random: Random) {
    for n in 0.. {
        let user = format!("several-{worker}-{n}");
        let mut wins: Vec<(Uuid, (String, u64))> = Vec::new();
        while wins.len() < 3 {
            if !load.raining() {
                return;
            }
            let tap = random.uuid();
            let answer = load.tap(&rain, &user, tap, 1).await;
            if is_out_of_stock(&answer) {
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
            let win = answer.win();
            assert!(
                wins.iter().all(|(_, before)| *before != win),
                "{user}: two taps, one packet"
            );
            wins.push((tap, win));
            let (tap, win) =
                &wins[usize::try_from(random.below(wins.len() as u64)).expect("small")];
            let again = load.tap(&rain, &user, *tap, 2).await;
            assert_eq!(again.win(), *win, "{user}: a repeated tap got another win");
        }
        let fourth = load.tap(&rain, &user, random.uuid(), 1).await;
        assert!(
            fourth.rejected("limit_reached"),
            "{user} asked a fourth time: {fourth:?}"
        );
    }
}

/// A few users that take part in every wave.
pub(crate) async fn win_in_waves(
    load: Arc<Load>,
    rain: Arc<Rain>,
    worker: u64,
    mut random: Random,
) {
    while load.raining() {
        let user = format!("wave-{worker}-{}", random.below(10));
        let answer = load.tap(&rain, &user, random.uuid(), 1).await;
        match answer {
            Answer::Won { .. } => {}
            Answer::Missed(reason) if reason == "sold_out" => return,
            Answer::Missed(reason)
                if ["between_waves", "not_this_time", "not_started"].contains(&&*reason) => {}
            other => panic!("{user}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5 + random.below(20))).await;
    }
}

/// One top-up, made once however often the call must be repeated.
pub(crate) async fn top_up(load: Arc<Load>, rain: Arc<Rain>, round: u64) {
    let mut body = json!({"packets": TOP_UP_PACKETS});
    if rain.lucky {
        body["total"] = json!(TOP_UP_PACKETS * 100);
    }
    let path = format!("/monitor/api/campaigns/{}/top-up", rain.id);
    load.post(&path, Some(&format!("top-up-{}-{round}", rain.id)), &body)
        .await;
    rain.packets.fetch_add(TOP_UP_PACKETS, Ordering::Relaxed);
}

/// A campaign that is closed while its users grab and the process may be killed.
pub(crate) async fn close_in_the_rain(load: Arc<Load>, round: u64, mut random: Random) -> Closing {
    let rain = load.rain(1, &format!("closing-{round}"), &plain(400)).await;
    let users: Vec<_> = (0..4)
        .map(|worker| {
            let (load, rain, mut random) = (load.clone(), rain.clone(), random.fork());
            tokio::spawn(async move {
                for n in 0.. {
                    let user = format!("closing-{worker}-{n}");
                    match load.tap(&rain, &user, random.uuid(), 1).await {
                        Answer::Missed(reason) if reason == "ended" => return,
                        Answer::Won { .. } => {}
                        answer => assert!(is_out_of_stock(&answer), "{user}: {answer:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(random.below(10))).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(random.below(600))).await;
    let path = format!("/monitor/api/campaigns/{}/close", rain.id);
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(load.post(&path, None, &json!({})).await);
    }
    for user in users {
        user.await
            .expect("a simulated user found the contract broken");
    }
    Closing { rain, answers }
}
