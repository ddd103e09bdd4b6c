//! A stand-in for a replica: it says who it is, notes what it was sent, and fails on command.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// How a fake answers what is not a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// With its name.
    Answers,
    /// It reads the request and closes without a word, as a process does that is killed.
    Dies,
    /// With one server-sent event, and then nothing for ever.
    Streams,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method and path.
    pub(crate) line: String,
    /// The head, in lower case.
    pub(crate) head: String,
}

impl Seen {
    /// Every value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.to_owned())
            .collect()
    }
}

struct State {
    mood: Mood,
    ready: bool,
    seen: Vec<Seen>,
}

/// A fake replica; it stops with the test's runtime.
#[derive(Clone)]
pub(crate) struct Fake {
    /// What it answers with.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// Starts one, ready and answering.
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let fake = Self {
            name,
            address: listener.local_addr().expect("it is bound"),
            state: Arc::new(Mutex::new(State {
                mood: Mood::Answers,
                ready: true,
                seen: Vec::new(),
            })),
        };
        let served = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        fake
    }

    /// How it answers from now on.
    pub(crate) fn mood(&self, mood: Mood) {
        self.state.lock().expect("no task panicked in here").mood = mood;
    }

    /// Whether it says that it is ready.
    pub(crate) fn ready(&self, ready: bool) {
        self.state.lock().expect("no task panicked in here").ready = ready;
    }

    /// What it was sent since the last call, probes left out.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().expect("no task panicked in here").seen)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut read = Vec::new();
        while let Some(seen) = next_request(&mut stream, &mut read).await {
            let (mood, ready) = {
                let mut state = self.state.lock().expect("no task panicked in here");
                let is_probe = seen.line == "GET /readyz";
                if !is_probe {
                    state.seen.push(seen.clone());
                }
                let mood = if is_probe { Mood::Answers } else { state.mood };
                (mood, state.ready || !is_probe)
            };
            let answer = match mood {
                Mood::Dies => return,
                Mood::Streams => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nd\r\ndata: hello\n\n\r\n".to_owned(),
                Mood::Answers => {
                    let status = if ready { "200 OK" } else { "503 Service Unavailable" };
                    format!("HTTP/1.1 {status}\r\nhongbao-services: account, redpacket, monitor, webpage\r\ncontent-length: {}\r\n\r\n{}", self.name.len(), self.name)
                }
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The next request, its body read and dropped; `None` when the connection ends.
async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        fill(stream, read).await?;
    };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let mut words = head.split(' ');
    let line = format!("{} {}", words.next()?, words.next()?);
    let seen = Seen {
        line,
        head: head.to_lowercase(),
    };
    let body = seen.header("content-length");
    let body: usize = body
        .first()
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0);
    while read.len() < head_end + body {
        fill(stream, read).await?;
    }
    read.drain(..head_end + body);
    Some(seen)
}

async fn fill(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let count = stream.read_buf(read).await.ok()?;
    (count > 0).then_some(())
}
