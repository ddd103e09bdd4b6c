//! The client against the offline server, over a socket, with a service that fails.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use rules::{Clock, Timestamp};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Client, Patience, Signature, SlsError,
    model::{KeyIndex, KeyKind, LineIndex, NewIndex, NewLogstore, Query},
    proto::{GROUP_BYTES_MAX, Log, LogGroup},
    server::{SlsServer, SlsServerOptions},
};
use crate::{
    server::{Offline, serve},
    sign::Credentials,
};

const NOW: i64 = 1_795_381_118;

struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Relaxed) * 1_000_000)
    }
}

/// What happens to a request instead of, or after, its answer.
#[derive(Clone, Copy)]
enum Fault {
    /// The answer is a refusal, and nothing is done.
    Refused(u16, &'static str),
    /// All is done, but the answer does not tell.
    Lost,
    /// The answer is longer than any of the service.
    Long,
}

/// A server that fails as it is told to, in order; then it does not.
struct Faulty {
    server: SlsServer,
    faults: Mutex<VecDeque<Fault>>,
}

#[async_trait]
impl Offline for Faulty {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let fault = self.faults.lock().expect("no panic").pop_front();
        let refusal = |status: u16, code: &str| {
            let body = format!(r#"{{"errorCode":"{code}","errorMessage":"as told"}}"#);
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = status.try_into().expect("a status");
            response
        };
        match fault {
            None => self.server.answer(&request),
            Some(Fault::Refused(status, code)) => refusal(status, code),
            Some(Fault::Lost) => {
                let _done = self.server.answer(&request);
                refusal(502, "")
            }
            Some(Fault::Long) => Response::new(vec![b' '; (16 << 20) + 1].into()),
        }
    }
}

struct Running {
    faulty: Arc<Faulty>,
    endpoint: String,
    _stops: DropGuard,
}

impl Running {
    async fn start() -> Self {
        let options = SlsServerOptions::new(Credentials::new("id", "secret"));
        let clock = Arc::new(SetClock(AtomicI64::new(NOW)));
        let faulty = Arc::new(Faulty {
            server: SlsServer::open(options, clock).expect("in memory"),
            faults: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, faulty.clone(), shutdown.clone()));
        Self {
            faulty,
            endpoint: format!("http://{address}"),
            _stops: shutdown.drop_guard(),
        }
    }

    fn client(&self, signature: Signature) -> Client {
        self.client_at(signature, "secret", NOW)
    }

    fn client_at(&self, signature: Signature, secret: &str, now: i64) -> Client {
        let patience = Patience {
            sends_max: 3,
            first_pause: Duration::from_millis(1),
            pause_max: Duration::from_millis(5),
        };
        let credentials = Credentials::new("id", secret);
        let clock = Arc::new(SetClock(AtomicI64::new(now)));
        let client = Client::open(
            &self.endpoint,
            "rain",
            credentials,
            signature,
            clock,
            patience,
        );
        client.expect("a plain endpoint")
    }

    fn fails(&self, faults: &[Fault]) {
        *self.faulty.faults.lock().expect("no panic") = faults.iter().copied().collect();
    }
}

fn v4() -> Signature {
    Signature::V4 {
        region: "cn-hangzhou".to_owned(),
    }
}

fn logstore() -> NewLogstore {
    NewLogstore {
        logstore_name: "grabs".into(),
        ttl: 7,
        shard_count: 1,
        auto_split: true,
        max_split_shard: 8,
    }
}

fn index() -> NewIndex {
    NewIndex {
        line: Some(LineIndex {
            token: vec![" ".into()],
            case_sensitive: false,
            chn: false,
        }),
        keys: BTreeMap::from([
            ("outcome".into(), KeyIndex::selectable(KeyKind::Text)),
            ("weight".into(), KeyIndex::selectable(KeyKind::Long)),
        ]),
    }
}

fn grabs() -> LogGroup {
    let log = |outcome: &str, weight: &str| {
        let time = u32::try_from(NOW - 10).expect("after 1970");
        Log::new(time, [("outcome", outcome), ("weight", weight)])
    };
    LogGroup {
        logs: vec![log("won", "1"), log("missed &=+%|中", "41")],
        ..LogGroup::default()
    }
}

fn query(text: &str) -> Query {
    Query::new(NOW - 60, NOW, text)
}

#[tokio::test]
async fn every_operation_in_both_versions_of_the_signature() {
    for signature in [Signature::V1, v4()] {
        let running = Running::start().await;
        let client = running.client(signature);
        assert!(!client.has_project().await.expect("an answer"));
        assert!(client.create_project("a rain").await.expect("made"));
        assert!(!client.create_project("again").await.expect("there"));
        assert!(client.has_project().await.expect("an answer"));
        assert!(!client.has_logstore("grabs").await.expect("an answer"));
        assert!(client.create_logstore(&logstore()).await.expect("made"));
        assert!(!client.create_logstore(&logstore()).await.expect("there"));
        assert!(client.has_logstore("grabs").await.expect("an answer"));
        assert_eq!(client.list_logstores().await.expect("a list"), ["grabs"]);
        assert_eq!(client.index("grabs").await.expect("an answer"), None);
        assert!(client.create_index("grabs", &index()).await.expect("made"));
        assert!(!client.create_index("grabs", &index()).await.expect("there"));
        client.update_index("grabs", &index()).await.expect("set");
        assert_eq!(
            client.index("grabs").await.expect("an answer"),
            Some(index())
        );

        client.put_logs("grabs", &grabs()).await.expect("put");
        let found = query("outcome: \"missed &=+%|中\" and weight > 1");
        let logs = client.get_logs("grabs", &found).await.expect("logs");
        assert!(logs.meta.is_complete());
        assert_eq!((logs.meta.count, logs.meta.processed_rows), (1, 2));
        assert_eq!(logs.data[0]["weight"], "41");
        let first = client.get_logs_v1("grabs", &found).await.expect("logs");
        assert_eq!(first, logs);
        let sum = query("* | select sum(weight) as grabs");
        let sum = client.get_logs("grabs", &sum).await.expect("a row");
        assert_eq!(sum.data[0]["grabs"], "42");
        let parts = client.histograms("grabs", &query("outcome: won")).await;
        assert_eq!(parts.expect("one").iter().map(|p| p.count).sum::<u64>(), 1);
    }
}

#[tokio::test]
async fn what_is_wrong_is_not_sent_again() {
    let running = Running::start().await;
    let client = running.client(v4());
    let error = client.put_logs("grabs", &grabs()).await;
    let error = error.expect_err("there is no project");
    assert!(
        error.is("ProjectNotExist") && !error.may_pass(),
        "{error:?}"
    );
    let stranger = running.client_at(Signature::V1, "guess", NOW);
    let error = stranger.has_project().await.expect_err("a wrong secret");
    assert!(error.is("SignatureNotMatch"), "{error:?}");
    assert!(!error.to_string().contains("guess"));
    let error = client.has_logstore("a/../b").await.expect_err("no name");
    assert!(matches!(error, SlsError::NotSent(_)), "{error:?}");
    let huge = LogGroup {
        topic: Some("x".repeat(GROUP_BYTES_MAX)),
        ..grabs()
    };
    let error = client
        .put_logs("grabs", &huge)
        .await
        .expect_err("too large");
    assert!(matches!(error, SlsError::NotSent(_)), "{error:?}");
}

#[tokio::test]
async fn what_may_pass_is_sent_again_and_not_for_ever() {
    let running = Running::start().await;
    let client = running.client(Signature::V1);
    client.create_project("").await.expect("made");
    client.create_logstore(&logstore()).await.expect("made");
    let busy = Fault::Refused(403, "WriteQuotaExceed");
    let broken = Fault::Refused(500, "InternalServerError");
    running.fails(&[busy, broken]);
    client.put_logs("grabs", &grabs()).await.expect("at last");
    running.fails(&[busy; 3]);
    let error = client.put_logs("grabs", &grabs()).await;
    let error = error.expect_err("three times too busy");
    assert!(error.is_throttled() && error.may_pass(), "{error:?}");
    // A lost answer means twice the logs, which is why they are numbered.
    running.fails(&[Fault::Lost]);
    client.put_logs("grabs", &grabs()).await.expect("at last");
    let all = client.get_logs("grabs", &query("*")).await.expect("logs");
    assert_eq!(all.meta.count, 3 * 2);
}

#[tokio::test]
async fn an_answer_without_end_is_strange() {
    let running = Running::start().await;
    let client = running.client(v4());
    running.fails(&[Fault::Long]);
    let error = client.has_project().await.expect_err("too long");
    assert!(
        matches!(error, SlsError::Strange(_)) && !error.may_pass(),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_set_right() {
    for (signature, seconds) in [(Signature::V1, -3_600), (v4(), 86_400)] {
        let running = Running::start().await;
        let client = running.client_at(signature, "secret", NOW + seconds);
        assert!(client.create_project("").await.expect("dated again"));
    }
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let running = Running {
        endpoint,
        ..Running::start().await
    };
    drop(listener);
    let error = running.client(v4()).has_project().await;
    let error = error.expect_err("nobody");
    assert!(
        matches!(error, SlsError::NoAnswer(_)) && error.may_pass(),
        "{error:?}"
    );
}
