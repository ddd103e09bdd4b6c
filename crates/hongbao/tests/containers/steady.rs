//! Users of whom not one may be turned away: containers come and go in the regular way meanwhile.
//! When one was, this says what it was answered, and what each container said at that instant.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::task::{JoinHandle, block_in_place};
use uuid::Uuid;

use crate::{
    client::Client,
    cluster::Cluster,
    machine::Machine,
    sample::{number, plain, text, token},
    until::until,
};

/// More packets than any of these tests gives out.
const PACKETS: u32 = 200_000;
/// The logs that are shown of a failure are those from so long before it began …
const BEFORE: f64 = 2.5;
/// … to so long after it had ended.
const AFTER: f64 = 0.3;
/// Fewer than one grab in so many may be excused.
const EXCUSED_ONE_IN_MIN: u64 = 20;
/// The failures whose logs are shown.
const SHOWN_MAX: usize = 6;

/// A grab that was turned away.
#[derive(Clone)]
struct Failure {
    user: String,
    /// Seconds since the Unix epoch.
    began: f64,
    took: Duration,
    /// Whether a service has answered it that could not decide in time.
    undecided: bool,
    what: String,
}

impl Failure {
    fn ended(&self) -> f64 {
        self.began + self.took.as_secs_f64()
    }

    /// How long the machine stood still meanwhile, if that is why nothing was decided.
    fn excuse(&self, machine: &Machine) -> Option<Duration> {
        let stood_still = machine.stood_still(self.began, self.ended());
        stood_still.filter(|_| self.undecided)
    }
}

/// What the users have seen.
#[derive(Default)]
struct Seen {
    asked: AtomicU64,
    won: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

impl Seen {
    fn failures(&self) -> MutexGuard<'_, Vec<Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Users at work, each of whom grabs once.
pub(crate) struct Steady {
    client: Client,
    campaign: String,
    going: Arc<AtomicBool>,
    seen: Arc<Seen>,
    machine: Machine,
    users: Vec<JoinHandle<Vec<(String, String)>>>,
}

impl Steady {
    /// Begins a campaign and `workers` users at a time, each after a `pause`.
    pub(crate) async fn begin(cluster: &Cluster, workers: u64, pause: Duration) -> Self {
        let client = cluster.client();
        let campaign = client.create(&plain(PACKETS)).await;
        cluster.known_everywhere(&campaign).await;
        let going = Arc::new(AtomicBool::new(true));
        let seen = Arc::<Seen>::default();
        let users = (0..workers).map(|worker| {
            let (client, campaign) = (client.clone(), campaign.clone());
            let (going, seen) = (going.clone(), seen.clone());
            tokio::spawn(async move {
                let mut won = Vec::new();
                for n in 0.. {
                    if !going.load(Ordering::Relaxed) {
                        break;
                    }
                    let user = format!("user-{worker}-{n}");
                    if let Some(packet) = grab(&client, &campaign, &user, &seen).await {
                        won.push((user, packet));
                    }
                    tokio::time::sleep(pause).await;
                }
                won
            })
        });
        let users = users.collect();
        Self {
            client,
            campaign,
            users,
            going,
            seen,
            machine: Machine::watch(),
        }
    }

    /// Whether somebody was turned away while the machine was well.
    pub(crate) fn has_failed(&self) -> bool {
        let failures = self.seen.failures();
        let mut failures = failures.iter();
        failures.any(|failure| failure.excuse(&self.machine).is_none())
    }

    /// Lets them grab until as many more have won, or one was turned away while the machine was
    /// well.
    pub(crate) async fn more_wins(&self, more: u64) {
        let won = || self.seen.won.load(Ordering::Relaxed);
        let enough = won() + more;
        until("users win", async || {
            (self.has_failed() || won() >= enough).then_some(())
        })
        .await;
    }

    /// Lets the users go, and checks that nobody was turned away and each win that was told is
    /// kept; how many asked.
    pub(crate) async fn end(self, cluster: &Cluster) -> u64 {
        self.going.store(false, Ordering::Relaxed);
        let mut told = HashSet::new();
        for user in self.users {
            told.extend(user.await.expect("a user found the contract broken"));
        }
        let asked = self.seen.asked.load(Ordering::Relaxed);
        let mut failures = self.seen.failures().clone();
        let all = failures.len();
        failures.retain(|failure| failure.excuse(&self.machine).is_none());
        let excused = all - failures.len();
        block_in_place(|| {
            for failure in failures.iter().take(SHOWN_MAX) {
                let Failure {
                    user, took, what, ..
                } = failure;
                eprintln!("--- {user} was turned away after {took:?}: {what}");
                let (from, to) = (failure.began - BEFORE, failure.ended() + AFTER);
                eprintln!("{}", cluster.logs_of(from, to));
            }
        });
        assert!(
            failures.is_empty(),
            "{} of {asked} grabs failed",
            failures.len()
        );
        println!(
            "steady: {asked} grabs, {} of them won, {excused} undecided on a machine that stood still, \
             none failed",
            told.len()
        );
        assert!(!told.is_empty(), "nobody was told of a win");
        assert!(
            excused as u64 * EXCUSED_ONE_IN_MIN < asked,
            "{excused} of {asked} grabs were undecided: that shows nothing"
        );
        let mut kept = self.client.winners(&self.campaign).await;
        kept.retain(|winner| told.contains(&(text(&winner["user"]), text(&winner["packet"]))));
        assert_eq!(kept.len(), told.len(), "wins that were told are gone");
        let audit = self.client.audit(&self.campaign).await;
        assert_eq!(number(&audit["packets"]["claimed"]), told.len() as u64);
        asked
    }
}

/// One grab: the packet, when it won one. Anything but an answer is a failure here, a 503 as well.
async fn grab(client: &Client, campaign: &str, user: &str, seen: &Seen) -> Option<String> {
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let request = client.request(Method::POST, &path).bearer_auth(token(user));
    let request = request.header("Grab-Id", Uuid::new_v4().to_string());
    let (at, began) = (unix_now(), Instant::now());
    let mut undecided = false;
    let outcome = match request.send().await {
        Err(error) => Err(format!("no answer: {error:?}")),
        Ok(reply) => {
            let (status, headers) = (reply.status(), reply.headers().clone());
            // Those of the balancer have no such header.
            let of_a_service = headers.contains_key("x-request-id");
            undecided = of_a_service && status == StatusCode::SERVICE_UNAVAILABLE;
            match reply.bytes().await {
                Err(error) => Err(format!("{status} {headers:?}, and no body: {error:?}")),
                Ok(body) if status == StatusCode::OK => Ok(body),
                Ok(body) => {
                    let body = String::from_utf8_lossy(&body);
                    Err(format!("{status} {headers:?} {body}"))
                }
            }
        }
    };
    seen.asked.fetch_add(1, Ordering::Relaxed);
    match outcome {
        Ok(body) => {
            let body: Value = serde_json::from_slice(&body).expect("an answer is JSON");
            if body["outcome"] == "won" {
                seen.won.fetch_add(1, Ordering::Relaxed);
                return Some(text(&body["packet"]["id"]));
            }
            assert_eq!(body["reason"], "not_this_time", "{user}: {body}");
        }
        Err(what) => {
            let took = began.elapsed();
            eprintln!("at {at:.3}: {user} was turned away after {took:?}: {what}");
            seen.failures().push(Failure {
                user: user.to_owned(),
                began: at,
                took,
                undecided,
                what,
            });
        }
    }
    None
}

#[expect(
    clippy::disallowed_methods,
    reason = "the logs of containers are found by the clock of the machine"
)]
pub(crate) fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("the clock stands after 1970").as_secs_f64()
}
