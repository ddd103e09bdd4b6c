//! The lane in front of a real hyper, over a pipe that takes a few bytes at a time.

use std::{convert::Infallible, sync::atomic::AtomicU32};

use bytes::Bytes;
use http::{Request, Response, header::CONNECTION};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{super::connection, *};

/// Answers `POST /fast…` with its target at once, `POST /wait…` a little later, and `POST /held…`
/// when the gate lets it pass.
#[derive(Clone)]
struct Fast {
    /// Held by each answer under way, so that the count of its owners tells how many there are.
    gate: Arc<Semaphore>,
}

impl Fast {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// How many answers are under way on a connection that is served.
    fn under_way(&self) -> usize {
        // The test's own and the connection's.
        Arc::strong_count(&self.gate) - 2
    }
}

fn in_front(target: &str) -> Vec<u8> {
    let body = format!("lane {target}");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

impl Answers for Fast {
    type Arrival = ();
    type Wait = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

    fn arrival(&self) {}

    fn answer(&self, head: &Head<'_, '_>, (): &(), answers: &mut Vec<u8>) -> Answered<Self::Wait> {
        let target = head.target.to_owned();
        if head.method != "POST" {
            return Answered::NotHere;
        }
        if target.starts_with("/fast") {
            answers.extend_from_slice(&in_front(&target));
            return Answered::Now;
        }
        if target.starts_with("/wait") {
            return Answered::Later(Box::pin(async move {
                for _ in 0..target.len() % 5 {
                    tokio::task::yield_now().await;
                }
                in_front(&target)
            }));
        }
        if target.starts_with("/held") {
            let gate = self.gate.clone();
            return Answered::Later(Box::pin(async move {
                gate.acquire().await.expect("never closed").forget();
                in_front(&target)
            }));
        }
        Answered::NotHere
    }
}

/// What hyper answers: the target and the body, after a while.
async fn slow(
    turn: Arc<Turn>,
    request: Request<Incoming>,
) -> Result<Response<Answer<Full<Bytes>>>, Infallible> {
    let target = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    for _ in 0..target.len() % 5 {
        tokio::task::yield_now().await;
    }
    let body = format!("hyper {target} {}", String::from_utf8_lossy(&body));
    let mut response = Response::new(Answer::new(Full::from(body), turn.clone()));
    response.headers_mut().remove("date");
    if turn.is_last() {
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

/// A connection to a server with a lane, whose pipe holds `room` bytes.
fn connect(room: usize) -> DuplexStream {
    connect_to(Fast::new(), room, CancellationToken::new())
}

/// The same, with answers that the test holds, on a server that stops when it is told.
fn connect_to(fast: Fast, room: usize, stopping: CancellationToken) -> DuplexStream {
    let (client, server) = duplex(room);
    tokio::spawn(async move {
        let service = |turn: Arc<Turn>| service_fn(move |request| slow(turn.clone(), request));
        // How it ended is what the client sees.
        let served = connection::serve(server, fast, service, stopping);
        let _ended_badly = served.await.is_err();
    });
    client
}

/// Sends `requests` in parts of `part()` bytes and gives everything that comes back until the
/// server ends, or until `bodies` bodies have come.
async fn exchange(
    room: usize,
    requests: &str,
    mut part: impl FnMut() -> usize,
    bodies: usize,
) -> Vec<String> {
    let (mut from, mut to) = tokio::io::split(connect(room));
    let send = async {
        let mut rest = requests.as_bytes();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(part().min(rest.len()));
            if to.write_all(now).await.is_err() {
                return;
            }
            rest = later;
            tokio::task::yield_now().await;
        }
    };
    let receive = async {
        let mut received = Vec::new();
        let mut answers = Vec::new();
        while answers.len() < bodies {
            let mut part = [0; 100];
            let read = from.read(&mut part).await.expect("a pipe does not fail");
            if read == 0 {
                break;
            }
            received.extend_from_slice(&part[..read]);
            while let Some((body, length)) = first_answer(&received) {
                answers.push(body);
                received.drain(..length);
            }
        }
        answers
    };
    tokio::join!(send, receive).1
}

/// The first whole answer in `received`: its body (or its status, when not 200) and its length.
fn first_answer(received: &[u8]) -> Option<(String, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(received) else {
        return None;
    };
    let length = response.headers.iter().find(|h| h.name == "content-length");
    let length = length.map_or(0, |h| {
        std::str::from_utf8(h.value).unwrap().parse().unwrap()
    });
    let body = received.get(head..head + length)?;
    let body = match response.code {
        Some(200) => String::from_utf8_lossy(body).into_owned(),
        code => format!("{code:?}"),
    };
    Some((body, head + length))
}

/// Numbers that look random and follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn answers_leave_in_the_order_of_their_requests() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let (mut requests, mut expected) = (String::new(), Vec::new());
        for n in 0..1 + dice.roll(30) {
            match dice.roll(6) {
                4 | 5 => {
                    let pause = "/".repeat(dice.roll(5) as usize);
                    requests += &format!("POST /wait/{n}{pause} HTTP/1.1\r\nHost: h\r\n\r\n");
                    expected.push(format!("lane /wait/{n}{pause}"));
                }
                0 | 1 => {
                    requests += &format!("POST /fast/{n} HTTP/1.1\r\nHost: h\r\n\r\n");
                    expected.push(format!("lane /fast/{n}"));
                }
                2 => {
                    requests += &format!("GET /slow/{n} HTTP/1.1\r\n\r\n");
                    expected.push(format!("hyper /slow/{n} "));
                }
                _ => {
                    // A grab with a body is hyper's, and what its body looks like is no request.
                    let body = "POST /fast/x HTTP/1.1\r\n\r\n".repeat(dice.roll(40) as usize + 1);
                    let length = body.len();
                    requests += &format!(
                        "POST /fast/{n} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                    expected.push(format!("hyper /fast/{n} {body}"));
                }
            }
        }
        let (room, part) = (1 + dice.roll(3_000) as usize, 1 + dice.roll(2_000));
        let bodies = expected.len();
        let exchange = exchange(room, &requests, || 1 + dice.roll(part) as usize, bodies);
        let answers = tokio::time::timeout(Duration::from_secs(20), exchange).await;
        let answers = answers.unwrap_or_else(|_| panic!("no answer; seed {seed}"));
        assert_eq!(answers, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn an_unusual_request_is_the_connection_s_last() {
    let chunked =
        "POST /fast/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let fast = "POST /fast/0 HTTP/1.1\r\n\r\n";
    let requests = format!("{fast}{chunked}{fast}");
    let answers = exchange(1_000, &requests, || 1_000, usize::MAX).await;
    assert_eq!(answers, ["lane /fast/0", "hyper /fast/1 abc"]);
    for (refused, code) in [
        ("POST /fast HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_owned(), 400),
        ("POST /fast HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("\u{1}\u{2} / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("POST /fast HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX)), 431),
    ] {
        let answers = exchange(64, &format!("{refused}{fast}"), || 500, usize::MAX).await;
        assert_eq!(answers.len(), 1, "{refused:.60}: {answers:?}");
        assert_eq!(answers[0], format!("Some({code})"), "{refused:.60}");
    }
}

#[tokio::test]
async fn the_end_of_the_peer_is_the_end() {
    for sent in ["", "POST /fa", "POST /fast/1 HTTP/1.1\r\n\r\nPO"] {
        let mut client = connect(1_000);
        client.write_all(sent.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert_eq!(
            received.contains("lane /fast/1"),
            sent.ends_with("PO"),
            "{sent:?}"
        );
    }
}

/// Trickling a head does not keep a connection, and requests do.
#[tokio::test(start_paused = true)]
async fn a_head_must_come_in_time() {
    let mut client = connect(1_000);
    let began = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(HEAD_WITHIN * 2 / 3).await;
        client
            .write_all(b"POST /fast/1 HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 500];
        assert!(client.read(&mut answer).await.unwrap() > 0, "it lives");
    }
    while client.write_all(b"P").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed() < HEAD_WITHIN * 4, "a trickle kept it");
    }
}

/// A connection whose first request came at once is closed as any other when it stays idle.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_whatever_its_last_answer_was() {
    for (sent, answer) in [
        ("POST /fast/1 HTTP/1.1\r\n\r\n", "lane /fast/1"),
        ("GET /slow/1 HTTP/1.1\r\n\r\n", "hyper /slow/1 "),
    ] {
        let mut client = connect(1_000);
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut received = String::new();
        let ended = client.read_to_string(&mut received);
        let ended = tokio::time::timeout(HEAD_WITHIN * 2, ended).await;
        ended.expect("it ends").unwrap();
        assert!(received.ends_with(answer), "{received}");
    }
}

/// The time in which a head must come begins when the peer has been given its answers.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_may_ask_again() {
    let mut client = connect(16);
    let ask = b"POST /fast/1 HTTP/1.1\r\n\r\n";
    for round in 0..2 {
        client.write_all(ask).await.unwrap();
        let mut received = Vec::new();
        while first_answer(&received).is_none() {
            tokio::time::sleep(HEAD_WITHIN / 8).await;
            let mut part = [0; 4];
            let read = client.read(&mut part).await.unwrap();
            assert!(read > 0, "ended in round {round}");
            received.extend_from_slice(&part[..read]);
        }
    }
}

/// Lets every other task go on until none has anything to do.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_peer_that_goes_away_takes_its_answer_with_it() {
    let held = "POST /held HTTP/1.1\r\n\r\n";
    // Whatever was answered before, and whether or not the beginning of more has come.
    for (sent, half) in [
        ("", false),
        ("", true),
        ("POST /fast HTTP/1.1\r\n\r\n", false),
    ] {
        let fast = Fast::new();
        let mut client = connect_to(fast.clone(), 1_000, CancellationToken::new());
        client.write_all(sent.as_bytes()).await.unwrap();
        client.write_all(held.as_bytes()).await.unwrap();
        settle().await;
        assert_eq!(fast.under_way(), 1, "{sent:?}");
        if half {
            // As with hyper, a half-closed connection is one that nobody listens at.
            client.shutdown().await.unwrap();
        } else {
            drop(client);
        }
        settle().await;
        assert_eq!(Arc::strong_count(&fast.gate), 1, "the connection is gone");
    }
}

#[tokio::test]
async fn what_was_asked_before_the_peer_s_end_is_answered() {
    let fast = Fast::new();
    let mut client = connect_to(fast.clone(), 1_000, CancellationToken::new());
    let asks = "POST /held/1 HTTP/1.1\r\n\r\nPOST /fast/2 HTTP/1.1\r\n\r\n";
    client.write_all(asks.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    settle().await;
    fast.gate.add_permits(1);
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    let bodies: Vec<_> = received.matches("lane /").collect();
    assert_eq!(bodies.len(), 2, "{received}");
    assert!(received.ends_with("lane /fast/2"), "{received}");
}

#[tokio::test]
async fn a_held_answer_bounds_what_is_read_behind_it() {
    let (fast, room) = (Fast::new(), 500);
    let client = connect_to(fast.clone(), room, CancellationToken::new());
    let (mut from, mut to) = tokio::io::split(client);
    let sent = Arc::<AtomicU32>::default();
    let asks = 2_000;
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move {
            to.write_all(b"POST /held HTTP/1.1\r\n\r\n").await.unwrap();
            for n in 0..asks {
                let way = ["fast", "wait"][n % 2];
                let ask = format!("POST /{way}/{n} HTTP/1.1\r\n\r\n");
                to.write_all(ask.as_bytes()).await.unwrap();
                sent.fetch_add(ask.len() as u32, Relaxed);
            }
            to
        }
    });
    settle().await;
    let read_ahead = sent.load(Relaxed) as usize;
    assert!(read_ahead <= HEAD_BYTES_MAX + room, "{read_ahead} bytes");
    assert!(!sending.is_finished(), "there was more to send");
    fast.gate.add_permits(1);
    let (mut received, mut answers) = (Vec::new(), Vec::new());
    while answers.len() <= asks {
        let mut part = [0; 4_096];
        let read = from.read(&mut part).await.unwrap();
        assert!(read > 0, "ended after {}", answers.len());
        received.extend_from_slice(&part[..read]);
        while let Some((body, length)) = first_answer(&received) {
            answers.push(body);
            received.drain(..length);
        }
    }
    assert_eq!(answers[0], "lane /held");
    for (n, answer) in answers[1..].iter().enumerate() {
        assert_eq!(*answer, format!("lane /{}/{n}", ["fast", "wait"][n % 2]));
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn a_request_that_meets_the_stop_is_answered() {
    for (ask, answer) in [
        ("GET /slow HTTP/1.1\r\n\r\n", "hyper /slow "),
        ("POST /fast HTTP/1.1\r\n\r\n", "lane /fast"),
    ] {
        let stopping = CancellationToken::new();
        let mut client = connect_to(Fast::new(), 1_000, stopping.clone());
        settle().await;
        // The connection sees both at once.
        let sent = client.write_all(ask.as_bytes());
        assert!(
            futures_util::poll!(Box::pin(sent)).is_ready(),
            "there is room"
        );
        stopping.cancel();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(received.ends_with(answer), "{received}");
    }
}

#[tokio::test]
async fn a_stopping_server_gives_the_answer_that_is_under_way() {
    let ask = "POST /held HTTP/1.1\r\n\r\n";
    // On a new connection, and on those whose last answer was the lane's or hyper's.
    for before in [
        "",
        "POST /fast HTTP/1.1\r\n\r\n",
        "GET /slow HTTP/1.1\r\n\r\n",
    ] {
        let (fast, stopping) = (Fast::new(), CancellationToken::new());
        let mut client = connect_to(fast.clone(), 1_000, stopping.clone());
        client.write_all(before.as_bytes()).await.unwrap();
        let mut first = Vec::new();
        while !before.is_empty() && first_answer(&first).is_none() {
            first.push(client.read_u8().await.unwrap());
        }
        // What stands behind it is not answered any more, and may be asked again elsewhere.
        let asks = format!("{ask}POST /fast/behind HTTP/1.1\r\n\r\n");
        client.write_all(asks.as_bytes()).await.unwrap();
        settle().await;
        stopping.cancel();
        settle().await;
        assert_eq!(fast.under_way(), 1, "after {before:?}");
        fast.gate.add_permits(1);
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(
            received.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\n"),
            "{received}"
        );
        assert!(received.ends_with("\r\n\r\nlane /held"), "{received}");
    }
}

/// An answer may take longer than a head, and the time for the next head begins behind it.
#[tokio::test(start_paused = true)]
async fn a_held_answer_is_not_a_late_head() {
    let fast = Fast::new();
    let mut client = connect_to(fast.clone(), 1_000, CancellationToken::new());
    client
        .write_all(b"POST /fast HTTP/1.1\r\n\r\nPOST /held HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(HEAD_WITHIN * 3).await;
    assert_eq!(fast.under_way(), 1);
    fast.gate.add_permits(1);
    tokio::time::sleep(HEAD_WITHIN * 2 / 3).await;
    client
        .write_all(b"POST /fast/2 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(received.ends_with("lane /fast/2"), "{received}");
    assert!(received.contains("lane /held"), "{received}");
}

/// What a connection had to keep for a while does not stay with it.
#[tokio::test]
async fn an_idle_connection_keeps_no_buffer() {
    let (mut client, server) = duplex(300);
    let (mut lane, turn) = Lane::new(server, Fast::new());
    let sent = "POST /fast/1 HTTP/1.1\r\nx: y";
    client.write_all(sent.as_bytes()).await.unwrap();
    let mut one = [0; 1];
    let mut passed = Box::pin(async move {
        let mut all = Vec::new();
        for _ in 0.."GET / HTTP/1.1\r\n\r\n".len() {
            lane.read_exact(&mut one).await.unwrap();
            all.push(one[0]);
        }
        assert_eq!(all, b"GET / HTTP/1.1\r\n\r\n");
        lane.flush().await.unwrap();
        lane
    });
    assert!(futures_util::poll!(&mut passed).is_pending());
    // Answers that do not fit into the pipe, and a request of hyper's behind them.
    let many = format!(
        "\r\n\r\n{}GET / HTTP/1.1\r\n\r\n",
        "POST /fast/2 HTTP/1.1\r\n\r\n".repeat(20)
    );
    let (mut from, mut to) = tokio::io::split(client);
    let (mut lane, ..) = tokio::join!(
        passed,
        async { to.write_all(many.as_bytes()).await.unwrap() },
        async {
            let mut received = Vec::new();
            for _ in 0..21 {
                while first_answer(&received).is_none() {
                    received.push(from.read_u8().await.unwrap());
                }
                received.clear();
            }
        },
    );
    drop(Answer::new(Full::<Bytes>::default(), turn));
    lane.flush().await.unwrap();
    assert!(futures_util::poll!(Box::pin(lane.read_exact(&mut one))).is_pending());
    assert_eq!((lane.waiting.capacity(), lane.unsent.capacity()), (0, 0));
}

/// A peer that always has more to ask, and reads whatever it is sent.
struct Flood {
    parts: Arc<AtomicU32>,
}

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let parts = self.parts.fetch_add(1, Relaxed);
        assert!(parts < 1_000, "other connections wait for this one");
        let request = b"POST /fast/1 HTTP/1.1\r\n\r\n";
        into.put_slice(&request.repeat(into.remaining() / request.len()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_flood_lets_others_have_their_turn() {
    let parts = Arc::<AtomicU32>::default();
    let (mut lane, _turn) = Lane::new(
        Flood {
            parts: parts.clone(),
        },
        Fast::new(),
    );
    let flood = tokio::spawn(async move { lane.read_u8().await });
    for _ in 0..3 {
        let before = parts.load(Relaxed);
        tokio::task::yield_now().await;
        assert!(!flood.is_finished(), "it never came to our turn");
        assert!(parts.load(Relaxed) > before, "it goes on by itself");
    }
}
