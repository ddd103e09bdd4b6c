//! Our client against the offline MNS, and against a service that misbehaves.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aliyun::{
    mns::{
        Client, Code, Created, LongPoll, MnsError, Patience,
        model::{NewMessage, QueueAttributes},
    },
    server::{
        Offline,
        mns::{Faults, OfflineMns, Settings},
        serve,
    },
    sign::Credentials,
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use rules::{Clock, Timestamp};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Time from some day on, plus what the test adds.
struct Since(Instant, AtomicI64);

impl Clock for Since {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.0.elapsed().as_micros()).expect("a short test");
        let added = self.1.load(Ordering::Relaxed);
        Timestamp::from_micros(1_795_381_111_000_000 + passed + added)
    }
}

fn clock() -> Arc<Since> {
    Arc::new(Since(Instant::now(), AtomicI64::new(0)))
}

/// An offline MNS that counts its calls and gives other answers if told to.
struct Told {
    mns: OfflineMns,
    clock: Arc<Since>,
    calls: AtomicUsize,
    /// Answers to give instead, the next first: a status and a body.
    instead: Mutex<Vec<(u16, &'static str)>>,
}

#[async_trait]
impl Offline for Told {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let instead = self.instead.lock().expect("no test failed in it").pop();
        let Some((status, body)) = instead else {
            return self.mns.answer(request).await;
        };
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = status.try_into().expect("a status");
        response
    }
}

struct Mns {
    service: Arc<Told>,
    url: String,
    _running: DropGuard,
}

impl Mns {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let clock = clock();
        let mut settings = Settings::new(Credentials::new("id", "secret"));
        change(&mut settings);
        let service = Arc::new(Told {
            mns: OfflineMns::new(settings, clock.clone()).expect("nothing is kept"),
            clock,
            calls: AtomicUsize::new(0),
            instead: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let running = CancellationToken::new();
        tokio::spawn(serve(listener, service.clone(), running.clone()));
        Self {
            service,
            url: format!("http://{address}"),
            _running: running.drop_guard(),
        }
    }

    fn client(&self, clock: Arc<Since>) -> Client {
        let patience = Patience {
            first_pause: Duration::from_millis(1),
            ..Patience::default()
        };
        let credentials = Credentials::new("id", "secret");
        Client::open(&self.url, credentials, clock, patience).expect("the URL is right")
    }

    fn calls(&self) -> usize {
        self.service.calls.swap(0, Ordering::Relaxed)
    }

    /// Answers to give before any others, in this order.
    fn answer_first(&self, mut instead: Vec<(u16, &'static str)>) {
        instead.reverse();
        *self.service.instead.lock().expect("no test failed in it") = instead;
    }
}

#[tokio::test]
async fn operations_on_queues_go_there_and_back() {
    let mns = Mns::start(|_| {}).await;
    let client = mns.client(mns.service.clock.clone());
    let attributes = QueueAttributes {
        visibility_timeout: Some(7),
        ..QueueAttributes::default()
    };
    assert_eq!(
        client.create_queue("q", &attributes).await.unwrap(),
        Created::New
    );
    assert_eq!(
        client.create_queue("q", &attributes).await.unwrap(),
        Created::Same
    );
    let defaults = QueueAttributes::default();
    assert_eq!(
        client.create_queue("q", &defaults).await.unwrap(),
        Created::Other
    );
    let longer = QueueAttributes {
        visibility_timeout: Some(60),
        ..defaults
    };
    client.set_attributes("q", &longer).await.unwrap();
    assert_eq!(client.attributes("absent").await.unwrap(), None);
    let page = client.list_queues("", None, 10).await.unwrap();
    assert_eq!((page.names, page.next_marker), (vec!["q".to_owned()], None));
    let info = client.attributes("q").await.unwrap().expect("it is there");
    assert_eq!(info.attributes.visibility_timeout, Some(60));
    client.delete_queue("q").await.unwrap();
    client.delete_queue("q").await.unwrap();
    let gone = client.send("q", &NewMessage::new(b"a")).await.unwrap_err();
    assert!(gone.is(&Code::QueueNotExist), "{gone}");
}

#[tokio::test]
async fn operations_on_messages_go_there_and_back() {
    let mns = Mns::start(|_| {}).await;
    let client = mns.client(mns.service.clock.clone());
    let defaults = QueueAttributes::default();
    client.create_queue("q", &defaults).await.unwrap();
    let every_byte: Vec<u8> = (0..=255).collect();
    let message = NewMessage::new(&every_byte);
    let sent = client.send("q", &message).await.unwrap();
    let mut delayed = NewMessage::new(b"later");
    (delayed.delay_seconds, delayed.priority) = (Some(9), Some(1));
    let batch = [delayed, NewMessage::new(b""), NewMessage::new(b"two")];
    let parts = client.send_batch("q", &batch).await.unwrap();
    assert!(parts.iter().all(Result::is_ok), "{parts:?}");
    let info = client.attributes("q").await.unwrap().expect("it is there");
    assert_eq!((info.active, info.inactive, info.delayed), (3, 0, 1));

    let peeked = client.peek("q", 16).await.unwrap();
    assert_eq!(peeked.len(), 3);
    assert!(
        peeked
            .iter()
            .all(|message| message.receipt_handle.is_none())
    );
    let held = client
        .receive("q", 16, Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(held[0].bytes(), every_byte);
    assert_eq!(
        (held[0].message_id.as_str(), held[0].dequeue_count),
        (&*sent.message_id, 1)
    );
    let empty = client.receive("q", 1, Duration::ZERO).await.unwrap();
    assert!(empty.is_empty());
    let handles: Vec<_> = held
        .iter()
        .filter_map(|m| m.receipt_handle.clone())
        .collect();
    let changed = client.change_visibility("q", &handles[0], 0).await.unwrap();
    let spent = client.delete("q", &changed.receipt_handle).await;
    assert!(spent.unwrap_err().is(&Code::MessageNotExist));
    let failed = client.delete_batch("q", &handles).await.unwrap();
    let [(handle, why)] = failed.as_slice() else {
        panic!("{failed:?}")
    };
    assert_eq!((handle, &why.code), (&handles[0], &Code::MessageNotExist));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_set_right_by_the_services() {
    let mns = Mns::start(|_| {}).await;
    let ours = clock();
    // A day ahead.
    ours.1.store(86_400_000_000, Ordering::Relaxed);
    let client = mns.client(ours.clone());
    let defaults = QueueAttributes::default();
    assert_eq!(
        client.create_queue("q", &defaults).await.unwrap(),
        Created::New
    );
    assert_eq!(mns.calls(), 2, "refused once, then dated anew");
    client.send("q", &NewMessage::new(b"a")).await.unwrap();
    assert_eq!(mns.calls(), 1, "and remembered");
    // Set right by somebody else: wrong the other way now.
    ours.1.store(0, Ordering::Relaxed);
    client.send("q", &NewMessage::new(b"b")).await.unwrap();
    assert_eq!(mns.calls(), 2);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nothing_else() {
    const THROTTLED: &str = "<Error><Code>QpsLimitExceeded</Code></Error>";
    const BROKEN: &str = "<Error><Code>InternalError</Code><RequestId>R</RequestId></Error>";
    let mns = Mns::start(|_| {}).await;
    let client = mns.client(mns.service.clock.clone());
    mns.answer_first(vec![(400, THROTTLED), (500, BROKEN), (502, "<html>")]);
    let defaults = QueueAttributes::default();
    assert_eq!(
        client.create_queue("q", &defaults).await.unwrap(),
        Created::New
    );
    assert_eq!(mns.calls(), 4);
    mns.answer_first(vec![(500, BROKEN); 4]);
    let error = client.attributes("q").await.unwrap_err();
    assert!(error.to_string().contains("500 InternalError"), "{error}");
    assert_eq!(mns.calls(), 4);
    mns.answer_first(vec![(403, "<Error><Code>AccessDenied</Code></Error>")]);
    let error = client.attributes("q").await.unwrap_err();
    assert!(error.is(&Code::AccessDenied), "{error}");
    assert_eq!(mns.calls(), 1);
    mns.answer_first(vec![(200, "<Queue/>")]);
    let strange = client.attributes("q").await.unwrap_err();
    assert!(matches!(strange, MnsError::Strange(_)), "{strange}");
    assert_eq!(mns.calls(), 1);
    // Longer than any answer of the service, of which no more is read than that.
    let endless = Box::leak(" ".repeat((16 << 20) + 1).into_boxed_str());
    mns.answer_first(vec![(200, endless)]);
    let strange = client.attributes("q").await.unwrap_err();
    assert!(strange.to_string().contains("above"), "{strange}");
    assert_eq!(mns.calls(), 1);
    let many = vec![NewMessage::new(b"a"); 17];
    let error = client.send_batch("q", &many).await.unwrap_err();
    assert!(matches!(error, MnsError::NotSent(_)), "{error}");
    let long = NewMessage::new(&[0; 40_000]);
    let error = client
        .send_batch("q", &[long.clone(), long])
        .await
        .unwrap_err();
    assert!(matches!(error, MnsError::NotSent(_)), "{error}");
    assert_eq!(mns.calls(), 0);
}

#[tokio::test]
async fn a_batch_that_failed_in_part_is_not_sent_again_as_a_whole() {
    let mns = Mns::start(|_| {}).await;
    let client = mns.client(mns.service.clock.clone());
    let small = QueueAttributes {
        maximum_message_size: Some(1_024),
        ..QueueAttributes::default()
    };
    client.create_queue("q", &small).await.unwrap();
    mns.calls();
    let messages = [NewMessage::new(b"fits"), NewMessage::new(&[0; 2_000])];
    let parts = client.send_batch("q", &messages).await.unwrap();
    assert!(parts[0].is_ok());
    assert_eq!(parts[1].as_ref().unwrap_err().code, Code::InvalidArgument);
    assert_eq!(mns.calls(), 1);
    let info = client.attributes("q").await.unwrap().expect("it is there");
    assert_eq!(info.active, 1);
}

#[tokio::test]
async fn faults_of_the_service_are_borne() {
    let mns = Mns::start(|_| {}).await;
    let client = mns.client(mns.service.clock.clone());
    let defaults = QueueAttributes::default();
    client.create_queue("q", &defaults).await.unwrap();
    let failing = Faults {
        fail: 0.2,
        throttle: 0.2,
        ..Faults::default()
    };
    mns.service.mns.set_faults(failing, 3);
    let mut failures = 0;
    for _ in 0..50 {
        failures += u32::from(client.send("q", &NewMessage::new(b"a")).await.is_err());
    }
    assert!(
        failures < 10,
        "{failures} of 50 failed in spite of four tries"
    );
    mns.service.mns.set_faults(Faults::default(), 0);
    let info = client.attributes("q").await.unwrap().expect("it is there");
    assert_eq!(info.active, u64::from(50 - failures));
}

#[tokio::test]
async fn polls_that_end_early_give_way() {
    let mns = Mns::start(|settings| settings.long_polls_max = 0).await;
    let client = mns.client(mns.service.clock.clone());
    client
        .create_queue("q", &QueueAttributes::default())
        .await
        .unwrap();
    mns.calls();
    let mut poll = LongPoll::new(&client, "q", Duration::from_secs(1));
    let polls = async {
        loop {
            assert!(poll.next(16).await.unwrap().is_empty());
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(2), polls).await;
    assert!(ended.is_err());
    // At 0, 0.2, 0.6, 1.4 seconds; without pauses there would be hundreds.
    let calls = mns.calls();
    assert!(calls < 20, "{calls} calls");
    client.send("q", &NewMessage::new(b"a")).await.unwrap();
    assert_eq!(poll.next(16).await.unwrap().len(), 1);
}
