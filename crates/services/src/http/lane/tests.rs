//! The lane in front of a real hyper, over a pipe that takes a few bytes at a time.

mod flood;
mod held;
mod order;
mod quiet;

use std::convert::Infallible;

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

/// Lets every other task go on until none has anything to do.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
