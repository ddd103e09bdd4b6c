//! A monitor over a real ledger in a temporary folder and the embedded queue, for tests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use ledger::{CampaignNo, ClaimAsk, ClaimResult, Ledger, NodeId, SqliteLedger};
use queue::{MemoryQueue, Queue};
use rules::{CampaignId, ClaimId, Clock, Fen, PacketId, Timestamp, UserId, WinLimit};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Monitor, Settings, Tools, router};
use crate::{
    account::codes::Codes,
    directory::Directory,
    http::{credentials::sha256, origin::OriginRules},
    random::Random,
};

/// The organiser's key in tests.
pub(crate) const KEY: &str = "an organiser's key of enough bytes";
/// Outlasts every test's leaps of the clock: tests without `run` renew no lead.
const LEASE: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Where the test's page is.
pub(crate) const PUBLIC_URL: &str = "https://rain.example";

/// A wall clock that tests set forward; ledger time also runs on by itself.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn forward_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Bytes that differ each time, the same in each run.
struct CountingRandom(AtomicU64);

impl Random for CountingRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            let drawn = sha256(&count.to_le_bytes());
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// A monitor, what it works with, and its routes.
pub(crate) struct Bench {
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) clock: Arc<TestClock>,
    router: Router,
    stop: CancellationToken,
    folder: Arc<tempfile::TempDir>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How a bench differs from the usual.
#[derive(Default)]
pub(crate) struct Odd {
    /// Another queue than the embedded one.
    pub(crate) queue: Option<Arc<dyn Queue>>,
    /// Participants are the registered ones only.
    pub(crate) registered_only: bool,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::odd(Odd::default()).await
    }

    pub(crate) async fn odd(odd: Odd) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000_000)));
        let opened = SqliteLedger::open(folder.path(), clock.clone()).await;
        let ledger: Arc<dyn Ledger> = Arc::new(opened.expect("a new ledger"));
        let queue = odd
            .queue
            .clone()
            .unwrap_or_else(|| Arc::new(MemoryQueue::new()));
        let bench = Self::over(Arc::new(folder), ledger, queue, clock, &odd, 1).await;
        bench.monitor.refill().await.expect("an empty ledger");
        bench
    }

    /// Another replica on the same ledger and queue, which does not lead.
    pub(crate) async fn beside(&self) -> Self {
        let (ledger, queue) = (self.ledger.clone(), self.queue.clone());
        let (folder, clock) = (self.folder.clone(), self.clock.clone());
        Self::over(folder, ledger, queue, clock, &Odd::default(), 2).await
    }

    async fn over(
        folder: Arc<tempfile::TempDir>,
        ledger: Arc<dyn Ledger>,
        queue: Arc<dyn Queue>,
        clock: Arc<TestClock>,
        odd: &Odd,
        node: u64,
    ) -> Self {
        let (_directory, announcer, mut reader) = Directory::new(ledger.clone());
        let tools = Tools {
            ledger: ledger.clone(),
            queue: queue.clone(),
            announcer,
            // Each replica draws other ids.
            random: Arc::new(CountingRandom(AtomicU64::new(node << 32))),
            node: NodeId(node),
            registered: None,
        };
        let settings = Settings {
            public_url: PUBLIC_URL.into(),
            origin: OriginRules::new(Some(PUBLIC_URL)),
            api_key_sha256: Some(sha256(KEY.as_bytes())),
            replicas: 1,
            limit_loopback: false,
            codes: Codes::new(b"a secret for codes"),
            registered_only: odd.registered_only,
            lease: LEASE,
            allow_weak_durability: false,
            setup_token: None,
        };
        let monitor = Monitor::new(tools, settings);
        reader.follow(monitor.follower());
        reader.read().await.expect("the first read");
        tokio::spawn(reader.run());
        let router = router(monitor.clone()).split_for_parts().0;
        Self {
            monitor,
            ledger,
            queue,
            clock,
            router,
            stop: CancellationToken::new(),
            folder,
        }
    }

    /// Schedules, reconciles and audits from now on.
    pub(crate) fn run(&self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.monitor.clone().run(self.stop.clone()))
    }

    /// Ends what runs in the background, and waits until it has ended.
    pub(crate) async fn stop_running(&self, running: tokio::task::JoinHandle<()>) {
        self.stop.cancel();
        running.await.expect("no panic");
    }

    /// A call with the organiser's key.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        self.anonymous(method, path)
            .header("authorization", &format!("Bearer {KEY}"))
    }

    /// A call without credentials.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> Call {
        Call {
            router: self.router.clone(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path).json(&body).send().await
    }

    /// Creates what [`terms`] says; its answer.
    pub(crate) async fn create(&self, terms: Value) -> Value {
        let answer = self.post("/monitor/api/campaigns", terms).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn no(&self, id: &str) -> CampaignNo {
        let id: CampaignId = id.parse().expect("an id");
        let campaign = self.ledger.campaign(id).await.expect("the ledger");
        campaign.expect("the campaign").no
    }

    /// Claims packet `wave-index` for `user`, as a grab node would, at the amount it says.
    pub(crate) async fn claim(&self, id: &str, user: &str, packet: &str, amount: u64) {
        let campaign = self.ledger.campaign(id.parse().expect("an id")).await;
        let campaign = campaign.expect("the ledger").expect("the campaign");
        let packet: PacketId = packet.parse().expect("a packet id");
        let now = self.ledger.now();
        let mut random = [0; 10];
        random[..4].copy_from_slice(&packet.index.to_le_bytes());
        random[4..8].copy_from_slice(&packet.wave.to_le_bytes());
        let ask = ClaimAsk {
            id: ClaimId::new(now, random),
            campaign: campaign.no,
            starts_at: campaign.starts_at,
            win_limit: WinLimit::ONE,
            user: UserId::new(user).expect("a user id"),
            packet,
            amount: Fen::new(amount).expect("an amount"),
            tier: None,
            grab_id: None,
            asked_at: now,
        };
        let results = self
            .ledger
            .claim(0, &[ask])
            .await
            .expect("the ledger")
            .results;
        assert!(matches!(results[0], ClaimResult::Won(_)), "{results:?}");
    }

    /// The amount that packet `index` of wave 1 holds, by the seed.
    pub(crate) async fn amount(&self, id: &str, wave: u32, index: u32) -> u64 {
        let campaign = self.ledger.campaign(id.parse().expect("an id")).await;
        let campaign = campaign.expect("the ledger").expect("the campaign");
        let wave = &campaign.waves[wave as usize - 1];
        let tranche = &campaign.tranches[wave.tranche as usize];
        let shares = rules::split(&campaign.seed, tranche).expect("a split");
        shares.amount((wave.offset + index - 1) as usize).units()
    }
}

/// The terms of the mission's own example: 10 packets in 3 waves, 2 seconds apart.
pub(crate) fn terms() -> Value {
    json!({
        "title": "Demo", "packets": 10, "batches": 3, "interval_seconds": 2,
        "currency": "CNY",
        "split": {"mode": "lucky", "total": 10_000, "min": 1, "max": null},
    })
}

/// [`terms`] with `value` at `path` (names and places joined by dots).
pub(crate) fn terms_with(path: &str, value: Value) -> Value {
    with(terms(), path, value)
}

/// `terms` with `value` at `path`; missing objects on the way are made.
pub(crate) fn with(mut terms: Value, path: &str, value: Value) -> Value {
    let mut place = &mut terms;
    for name in path.split('.') {
        place = &mut place[name];
    }
    *place = value;
    terms
}

/// A call in the making.
pub(crate) struct Call {
    router: Router,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", &body.to_string())
    }

    pub(crate) fn body(mut self, content_type: &str, body: &str) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    pub(crate) async fn send(self) -> Answer {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(self.body)).expect("a request");
        let response = self.router.oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .expect("a body");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_vec(),
        }
    }
}

/// What a call was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The status and the error's code.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().map(str::to_owned);
        (self.status.as_u16(), code.unwrap_or_default())
    }

    pub(crate) fn message(&self) -> String {
        let message = self.json()["error"]["message"].as_str().map(str::to_owned);
        message.unwrap_or_default()
    }

    /// The name and value of the cookie that was set, as the client sends it back.
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.headers[header::SET_COOKIE].to_str().expect("ASCII");
        cookie.split(';').next().unwrap_or_default().to_owned()
    }
}
