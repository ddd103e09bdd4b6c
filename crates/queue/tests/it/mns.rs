//! The conformance suite on an offline MNS, and what only MNS has.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aliyun::server::{
    Offline,
    mns::{Faults, OfflineMns, Settings},
    serve,
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use queue::{
    FaultyQueue, MnsQueue, Queue as _, QueueCounts, QueueName,
    bundle::BUNDLE_BYTES_MAX,
    conformance::Suite,
    mns::{Credentials, Options},
};
use rules::{Clock, Timestamp};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What messages are received for, where a test does not say otherwise.
const LEASE: Duration = Duration::from_secs(2);
/// Of the troubles of the service.
const SEED: u64 = 7;

/// Time from some day on, for the service and its clients alike.
struct Since(std::time::Instant);

impl Clock for Since {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.0.elapsed().as_micros()).expect("a short test");
        Timestamp::from_micros(1_795_381_111_000_000 + passed)
    }
}

/// Says of a call whether it is refused.
type Refuses = Box<dyn FnMut(&Request<Bytes>) -> bool + Send>;

/// The offline MNS, its calls counted, and some refused as of a key that may not make them.
struct Counted {
    mns: OfflineMns,
    calls: AtomicUsize,
    refuses: Mutex<Refuses>,
}

#[async_trait]
impl Offline for Counted {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let refused = (self.refuses.lock().expect("no panic"))(&request);
        if refused {
            let body = "<Error><Code>AccessDenied</Code><Message>as told</Message></Error>";
            let mut refusal = Response::new(Bytes::from_static(body.as_bytes()));
            *refusal.status_mut() = http::StatusCode::FORBIDDEN;
            return refusal;
        }
        self.mns.answer(request).await
    }
}

/// An MNS of a test; ends with it.
struct Mns {
    service: Arc<Counted>,
    clock: Arc<Since>,
    url: String,
    _running: DropGuard,
}

impl Mns {
    async fn start() -> Self {
        let clock = Arc::new(Since(std::time::Instant::now()));
        let mut settings = Settings::new(Credentials::new("id", "secret"));
        // The suite calls as fast as it can, and from a single process.
        settings.calls_per_second_max = 100_000;
        let service = Arc::new(Counted {
            mns: OfflineMns::new(settings, clock.clone()).expect("nothing is kept"),
            calls: AtomicUsize::new(0),
            refuses: Mutex::new(Box::new(|_| false)),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let running = CancellationToken::new();
        tokio::spawn(serve(listener, service.clone(), running.clone()));
        Self {
            service,
            clock,
            url: format!("http://{address}/"),
            _running: running.drop_guard(),
        }
    }

    fn refuse(&self, refuses: impl FnMut(&Request<Bytes>) -> bool + Send + 'static) {
        *self.service.refuses.lock().expect("no panic") = Box::new(refuses);
    }

    /// Refuses the next call of this method, and none behind it.
    fn refuse_next(&self, method: Method) {
        let mut refused = false;
        self.refuse(move |request| {
            let is_next = !refused && request.method() == method;
            refused |= is_next;
            is_next
        });
    }

    fn queue(&self) -> Arc<MnsQueue> {
        let credentials = Credentials::new("id", "secret");
        let options = Options {
            visibility: LEASE,
            calls_per_second: 100_000,
            ..Options::default()
        };
        let queue = MnsQueue::open(&self.url, credentials, self.clock.clone(), options);
        Arc::new(queue.expect("the URL is right"))
    }
}

fn suite(queue: Arc<dyn queue::Queue>, prefix: &str) -> Suite {
    Suite {
        // Only queues of such names are counted together.
        prefix: format!("hongbao-{prefix}"),
        ..Suite::new(queue)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms_plainly_and_with_faults() {
    let mns = Mns::start().await;
    suite(mns.queue(), "plain").run().await;
    let wrapped = FaultyQueue::new(mns.queue(), queue::Faults::default(), 1);
    suite(Arc::new(wrapped), "wrapped").run().await;
    for seed in 0..2 {
        let suite = suite(mns.queue(), "faults");
        suite.everything_arrives_in_spite_of_faults(seed).await;
    }
}

/// The service itself fails, throttles, loses, doubles and delays: who sends again what has not
/// arrived gets everything through.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_in_trouble_is_borne() {
    let mns = Mns::start().await;
    mns.service.mns.set_faults(Faults::all(0.1), SEED);
    let queue = mns.queue();
    let name = QueueName("hongbao-trouble".into());
    let sent: HashSet<Bytes> = (0..100).map(|n: u32| Bytes::from(n.to_string())).collect();
    let mut missing = sent.clone();
    let mut failures = 0;
    for round in 0.. {
        assert!(round < 200, "{} of 100 never arrived", missing.len());
        let bodies = missing.iter().take(16).cloned().collect();
        failures += u32::from(queue.send(&name, bodies).await.is_err());
        let received = queue.receive(&name, 16, LEASE).await.unwrap_or_default();
        for message in &received {
            assert!(sent.contains(&message.body), "{message:?}");
            missing.remove(&message.body);
        }
        let receipts: Vec<_> = received.into_iter().map(|one| one.receipt).collect();
        failures += u32::from(queue.delete(&name, &receipts).await.is_err());
        if missing.is_empty() {
            break;
        }
    }
    // Nearly all of the trouble was borne without anybody noticing.
    assert!(failures < 5, "{failures} calls failed");
    mns.service.mns.set_faults(Faults::default(), 0);
    while queue.counts(&name).await.expect("counts") != QueueCounts::default() {
        let received = queue.receive(&name, 16, LEASE).await.expect("receive");
        let receipts: Vec<_> = received.into_iter().map(|one| one.receipt).collect();
        queue.delete(&name, &receipts).await.expect("delete");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_packets_cost_few_calls() {
    let mns = Mns::start().await;
    let queue = mns.queue();
    let name = QueueName("hongbao-cheap".into());
    queue.set_filled(&name).await.expect("set_filled");
    let before = mns.service.calls.load(Ordering::Relaxed);
    // 5000 packets in bundles of 100, whatever they weigh.
    let bodies = vec![Bytes::from(vec![7; BUNDLE_BYTES_MAX]); 50];
    queue.send(&name, bodies).await.expect("send");
    let mut received = 0;
    while received < 50 {
        let some = queue.receive(&name, 4, LEASE).await.expect("receive");
        received += some.len();
        let receipts: Vec<_> = some.into_iter().map(|one| one.receipt).collect();
        queue.delete(&name, &receipts).await.expect("delete");
    }
    let calls = mns.service.calls.load(Ordering::Relaxed) - before;
    assert!(calls <= 5 * 20, "{calls} calls for 5000 packets");
    assert_eq!(queue.filled(&[name]).await.expect("filled"), [true]);
}

/// A queue that was made by hand, with other attributes, serves as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_somebody_elses_making_serves() {
    let mns = Mns::start().await;
    let slow = Options {
        visibility: Duration::from_secs(600),
        ..Options::default()
    };
    let credentials = Credentials::new("id", "secret");
    let other = MnsQueue::open(&mns.url, credentials, mns.clock.clone(), slow);
    let other = other.expect("the URL is right");
    let name = QueueName("hongbao-other".into());
    let body = || vec![Bytes::from_static(b"a")];
    other.send(&name, body()).await.expect("send");
    let queue = mns.queue();
    queue.send(&name, body()).await.expect("send");
    let second = Duration::from_secs(1);
    let held = queue.receive(&name, 16, second).await.expect("receive");
    assert_eq!(held.len(), 2);
    tokio::time::sleep(second * 2).await;
    let again = other
        .receive(&name, 16, second * 600)
        .await
        .expect("receive");
    assert_eq!(again.len(), 2, "a second, not the queue's ten minutes");
}

/// A call beside receiving that fails must not lose what was received.
#[tokio::test]
async fn what_is_received_arrives_though_the_queue_does_not_say_how_long_it_is_held() {
    let mns = Mns::start().await;
    let name = QueueName("hongbao-silent".into());
    let body = Bytes::from_static(b"a");
    let sent = mns.queue().send(&name, vec![body.clone()]).await;
    sent.expect("send");
    // Another process, which does not know the queue and may not ask.
    let queue = mns.queue();
    mns.refuse(|request| request.method() == Method::GET && request.uri().query().is_none());
    let held = queue.receive(&name, 16, LEASE).await.expect("receive");
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].body, body);
    let deleted = queue.delete(&name, &[held[0].receipt.clone()]).await;
    deleted.expect("the receipt is the one that counts");
    mns.refuse(|_| false);
    let left = queue.counts(&name).await.expect("counts");
    assert_eq!(left, QueueCounts::default());
}

#[tokio::test]
async fn one_failure_keeps_no_other_message_from_being_released_or_deleted() {
    let mns = Mns::start().await;
    let queue = mns.queue();
    let name = QueueName("hongbao-partly".into());
    let long = Duration::from_secs(600);
    // More than are released together, and more than one batch takes.
    let bodies = (0..20_u8).map(|n| Bytes::from(vec![n])).collect();
    queue.send(&name, bodies).await.expect("send");
    let receipts = async |many: usize| {
        let held = queue.receive(&name, many, long).await.expect("receive");
        assert_eq!(held.len(), many);
        let receipts = held.into_iter().map(|one| one.receipt);
        receipts.collect::<Vec<_>>()
    };
    let counts = async || {
        let counts = queue.counts(&name).await.expect("counts");
        (counts.visible, counts.invisible)
    };
    let held = receipts(20).await;
    mns.refuse_next(Method::PUT);
    let released = queue.release(&name, &held).await;
    assert!(released.is_err());
    assert_eq!(counts().await, (19, 1));
    let held = receipts(19).await;
    mns.refuse_next(Method::DELETE);
    let deleted = queue.delete(&name, &held).await;
    assert!(deleted.is_err());
    // The first batch of 16 is left, beside the one from above.
    assert_eq!(counts().await, (0, 17));
}

#[tokio::test]
async fn a_wrong_key_and_an_absent_service_are_errors() {
    let mns = Mns::start().await;
    let open = |url: &str, secret: &str| {
        let credentials = Credentials::new("id", secret);
        MnsQueue::open(url, credentials, mns.clock.clone(), Options::default())
    };
    let stranger = open(&mns.url, "guess").expect("the URL is right");
    let refused = stranger
        .ping()
        .await
        .expect_err("a wrong secret")
        .to_string();
    assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");
    let nobody = open("http://127.0.0.1:1", "secret").expect("the URL is right");
    let silence = nobody
        .ping()
        .await
        .expect_err("nobody is there")
        .to_string();
    assert!(silence.contains("did not answer"), "{silence}");
    for wrong in ["redis://x", "http://x/path", "mns://", "", "http://u@x"] {
        assert!(open(wrong, "secret").is_err(), "{wrong}");
    }
}
