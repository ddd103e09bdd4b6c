//! Shipping through a service that fails, and what it has counted in the end.

mod counting;
mod shipping;
mod spooling;

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aliyun::{
    server::{Offline, serve},
    sls::{
        model::Query,
        server::{SlsServer, SlsServerOptions},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use rules::{CampaignId, Missed, Outcome, Timestamp, UserId};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{AccessLog, AccessLogOptions, Grab};

/// The time of day: the offline server looks at dates.
pub(super) struct TestClock;

impl Clock for TestClock {
    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since_epoch.expect("after 1970").as_micros();
        Timestamp::from_micros(i64::try_from(micros).expect("before the year 300000"))
    }
}

/// What the service does to a call that puts logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// It does nothing and says so.
    Refuses(u16, &'static str),
    /// As [`Self::Refuses`], but only the first call that it sees, and that whenever it comes.
    RefusesOne(u16, &'static str),
    /// It does all, but the answer is lost.
    LosesAnswers,
}

/// A log service with moods, which outlives its listener.
pub(super) struct Service {
    server: SlsServer,
    mood: Mutex<Mood>,
    /// What [`Mood::RefusesOne`] is about.
    disliked: Mutex<Option<Bytes>>,
    /// Calls that put logs.
    puts: AtomicUsize,
}

#[async_trait]
impl Offline for Service {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        if !request.uri().path().contains("/shards/") {
            return self.server.answer(&request);
        }
        self.puts.fetch_add(1, Relaxed);
        let mood = *self.mood.lock().expect("no panic");
        let refusal = |status: u16, code: &str| {
            let body = format!(r#"{{"errorCode":"{code}","errorMessage":"a mood"}}"#);
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = status.try_into().expect("a status");
            response
        };
        match mood {
            Mood::Well => self.server.answer(&request),
            Mood::Refuses(status, code) => refusal(status, code),
            Mood::RefusesOne(status, code) => {
                let mut disliked = self.disliked.lock().expect("no panic");
                if disliked.get_or_insert_with(|| request.body().clone()) == request.body() {
                    refusal(status, code)
                } else {
                    self.server.answer(&request)
                }
            }
            Mood::LosesAnswers => {
                let _done = self.server.answer(&request);
                refusal(502, "")
            }
        }
    }
}

impl Service {
    pub(super) fn new() -> Arc<Self> {
        let options = SlsServerOptions::new(credentials());
        Arc::new(Self {
            server: SlsServer::open(options, Arc::new(TestClock)).expect("in memory"),
            mood: Mutex::new(Mood::Well),
            disliked: Mutex::default(),
            puts: AtomicUsize::new(0),
        })
    }

    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }
}

pub(super) fn credentials() -> Credentials {
    Credentials::new("testid", "testsecret")
}

/// A listener of a service; without it, nobody is there.
pub(super) struct Listening {
    pub(super) endpoint: String,
    runtime: tokio::runtime::Runtime,
    shutdown: CancellationToken,
}

impl Listening {
    /// On a port of its own, or on one that was listened to before.
    pub(super) fn start(service: &Arc<Service>, address: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let address = address.unwrap_or("http://127.0.0.1:0");
        let address = address.trim_start_matches("http://").to_owned();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address));
        let listener = listener.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = CancellationToken::new();
        runtime.spawn(serve(listener, service.clone(), shutdown.clone()));
        Self {
            endpoint,
            runtime,
            shutdown,
        }
    }

    pub(super) fn stop(self) {
        self.shutdown.cancel();
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }

    fn client(&self) -> Client {
        let _entered = self.runtime.enter();
        let client = Client::open(
            &self.endpoint,
            "rain",
            credentials(),
            Signature::V1,
            Arc::new(TestClock),
            Patience::default(),
        );
        client.expect("a plain endpoint")
    }

    /// What the statistics say of a campaign: `outcome reason` and how many.
    pub(super) fn counts(&self, campaign: CampaignId) -> Vec<(String, u64)> {
        self.counts_since(campaign, 3_600)
    }

    /// The same of lines dated within so many seconds.
    pub(super) fn counts_since(&self, campaign: CampaignId, seconds: i64) -> Vec<(String, u64)> {
        let now = TestClock.now().micros() / 1_000_000;
        let (client, times) = (self.client(), (now - seconds, now + 60));
        let read = statistics::read(&client, "grabs", campaign, times, u32::MAX);
        let counts = self.runtime.block_on(read).expect("statistics");
        let count = |g: statistics::Grabs| (format!("{} {}", g.outcome, g.reason), g.grabs);
        counts.into_iter().map(count).collect()
    }

    /// How many lines the service holds, repeated ones included.
    pub(super) fn lines(&self) -> u64 {
        let now = TestClock.now().micros() / 1_000_000;
        let query = Query::new(now - 3_600, now + 60, "* | select count(*) as n");
        let (client, query) = (self.client(), query);
        let rows = self.runtime.block_on(client.get_logs("grabs", &query));
        let rows = rows.expect("a count").data;
        rows[0]["n"].parse().expect("a number")
    }
}

/// A shipper's options that lose no time.
pub(super) fn options(endpoint: &str, folder: &Path) -> ShipperOptions {
    ShipperOptions {
        patience: Patience {
            sends_max: 1,
            first_pause: Duration::from_millis(5),
            pause_max: Duration::from_millis(20),
        },
        ..ShipperOptions::new(
            endpoint,
            "rain",
            "grabs",
            credentials(),
            folder.join("spool"),
        )
    }
}

/// A shipper behind an access log.
pub(super) struct Node {
    pub(super) log: AccessLog,
    pub(super) shipper: Shipper,
}

impl Node {
    pub(super) fn start(options: ShipperOptions, folder: &Path, epoch: u64) -> Self {
        Self::start_at(options, folder, epoch, Arc::new(TestClock))
    }

    pub(super) fn start_at(
        options: ShipperOptions,
        folder: &Path,
        epoch: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (shipper, intake) =
            Shipper::start(options, clock.clone()).expect("a folder of its own");
        let log = AccessLogOptions {
            path: folder.join("access.log"),
            misses_per_second_max: 100,
            ..AccessLogOptions::default()
        };
        let log = AccessLog::open_shipped(log, epoch, clock, Some(intake));
        Self {
            log: log.expect("the folder is there"),
            shipper,
        }
    }

    /// So many misses, and a win for each hundred of them.
    pub(super) fn record(&self, campaign: CampaignId, misses: u64) {
        for n in 0..misses {
            self.one(campaign, Outcome::Missed(Missed::SoldOut));
            if n % 100 == 0 {
                self.one(campaign, Outcome::Won);
            }
        }
    }

    pub(super) fn one(&self, campaign: CampaignId, outcome: Outcome) {
        self.one_at(TestClock.now(), campaign, outcome);
    }

    pub(super) fn one_at(&self, at: Timestamp, campaign: CampaignId, outcome: Outcome) {
        self.log.record(&Grab {
            at,
            campaign,
            user: &UserId::trusted("user 中 \u{85}|\""),
            outcome,
            packet: None,
            amount: None,
            grab_id: None,
            ip: None,
            latency_micros: 20,
        });
    }

    /// Closes both; delivers what can be delivered within a time that only a failure takes.
    pub(super) fn close(self, patience: Duration) -> ShipperStats {
        self.log.close();
        self.shipper.close(patience)
    }
}

/// Long enough for any machine.
pub(super) const LONG: Duration = Duration::from_secs(120);

pub(super) fn campaign(number: u128) -> CampaignId {
    CampaignId(uuid::Uuid::from_u128(number))
}

/// What the statistics must say after [`Node::record`] in all.
pub(super) fn expected(misses: u64, wins: u64) -> Vec<(String, u64)> {
    vec![
        ("missed sold_out".to_owned(), misses),
        ("won ".to_owned(), wins),
    ]
}

pub(super) fn wait_until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}
