//! An MNS in trouble: what stands between the services and the offline MNS.
//!
//! [`Throttle`] passes requests on and, now and then, answers for the service that it is busy or
//! has failed, before or after the request was done, or late. [`Thief`] takes messages out of the
//! queues as a client of its own, loses some, doubles some and holds some back.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aliyun::{
    mns::{Client, Patience, model::NewMessage},
    sign::Credentials,
};
use ledger::SystemClock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::random::Random;

/// Of so many requests one has each trouble.
const ONE_IN: u64 = 20;
/// How late an answer comes, at most.
const LATE_MS_MAX: u64 = 300;
/// For how long the thief holds a message back, at most, in seconds.
const HELD_BACK_SECONDS_MAX: u64 = 4;
/// The pause between two raids.
const RAID_EVERY: Duration = Duration::from_millis(50);
/// The longest head and body that are passed on.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// Refused: too many calls.
    Throttled,
    /// Failed before it was done.
    FailedBefore,
    /// Done, and the answer lost.
    FailedAfter,
    /// Done, and answered late.
    Late,
}

/// A proxy in front of an offline MNS. It ends with the value.
pub(crate) struct Throttle {
    /// Where it listens.
    pub(crate) url: String,
    troubles: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl Throttle {
    /// In front of `upstream`, such as `127.0.0.1:20000`.
    pub(crate) async fn start(upstream: &str, random: Random) -> Self {
        let upstream: SocketAddr = upstream.parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let troubles = Arc::new(AtomicU64::new(0));
        let counted = troubles.clone();
        let random = Arc::new(Mutex::new(random));
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (random, counted) = (random.clone(), counted.clone());
                tokio::spawn(async move {
                    // A connection that breaks is one more trouble.
                    let _broken = pass_on(client, upstream, &random, &counted).await.is_err();
                });
            }
        });
        Self {
            url,
            troubles,
            serving,
        }
    }

    /// How many requests had trouble so far.
    pub(crate) fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Relaxed)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn chosen(random: &Mutex<Random>) -> (Trouble, Duration) {
    let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
    let late = Duration::from_millis(random.below(LATE_MS_MAX));
    let trouble = match random.below(ONE_IN) {
        0 => Trouble::Throttled,
        1 => Trouble::FailedBefore,
        2 => Trouble::FailedAfter,
        3 => Trouble::Late,
        _ => Trouble::None,
    };
    (trouble, late)
}

/// Passes the first request of a connection on, and closes it.
async fn pass_on(
    mut client: TcpStream,
    upstream: SocketAddr,
    random: &Mutex<Random>,
    troubles: &AtomicU64,
) -> io::Result<()> {
    let Some((head, body)) = request(&mut client).await? else {
        return Ok(());
    };
    let (trouble, late) = chosen(random);
    if trouble != Trouble::None {
        troubles.fetch_add(1, Ordering::Relaxed);
    }
    let answer = match trouble {
        Trouble::Throttled => refusal(400, "QpsLimitExceeded"),
        Trouble::FailedBefore => refusal(500, "InternalError"),
        Trouble::None | Trouble::FailedAfter | Trouble::Late => {
            let answer = forward(upstream, &head, &body).await?;
            if trouble == Trouble::Late {
                tokio::time::sleep(late).await;
            }
            match trouble {
                Trouble::FailedAfter => refusal(500, "InternalError"),
                _ => answer,
            }
        }
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// The next request's head, without the empty line, and body; `None` when there is none.
async fn request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_it = name.eq_ignore_ascii_case("content-length");
                is_it.then(|| value.trim().parse::<usize>().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            if read.len() >= whole {
                return Ok(Some((head, read[end + 4..whole].to_vec())));
            }
        }
        if read.len() > REQUEST_BYTES_MAX || client.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    }
}

/// The answer to a request, as it came.
async fn forward(upstream: SocketAddr, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let lines = head.lines();
    let lines = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut text = lines.collect::<Vec<_>>().join("\r\n");
    text.push_str("\r\nConnection: close\r\n\r\n");
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(text.as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn refusal(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error xmlns=\"http://mns.aliyuncs.com/doc/v1\"><Code>{code}</Code>\
         <Message>made up</Message><RequestId>0123456789ABCDEF01234567</RequestId>\
         <HostId>http://1.mns</HostId></Error>"
    );
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Trouble\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\
         x-mns-request-id: 0123456789ABCDEF01234567\r\nConnection: close\r\n\r\n"
    );
    (head + &body).into_bytes()
}

/// What became of the messages that a thief took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loot {
    /// Deleted.
    pub(crate) lost: u64,
    /// Sent once more.
    pub(crate) doubled: u64,
    /// Held back for some seconds.
    pub(crate) held_back: u64,
}

/// Takes messages out of the queues of an offline MNS, until it is told to stop.
pub(crate) struct Thief {
    raiding: JoinHandle<Loot>,
    stop: Arc<AtomicU64>,
}

impl Thief {
    /// At the MNS at `url`, with this key.
    pub(crate) fn start(url: &str, key: (&str, &str), random: Random) -> Self {
        let credentials = Credentials::new(key.0, key.1);
        let (clock, patience) = (Arc::new(SystemClock), Patience::default());
        let client = Client::open(url, credentials, clock, patience).expect("a URL");
        let stop = Arc::new(AtomicU64::new(0));
        let raiding = tokio::spawn(raid(client, random, stop.clone()));
        Self { raiding, stop }
    }

    /// Ends it, and tells what it did.
    pub(crate) async fn stop(self) -> Loot {
        self.stop.store(1, Ordering::Relaxed);
        self.raiding.await.expect("the thief does not panic")
    }
}

async fn raid(client: Client, mut random: Random, stop: Arc<AtomicU64>) -> Loot {
    let mut loot = Loot::default();
    while stop.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(RAID_EVERY).await;
        let Ok(page) = client.list_queues("hongbao-", None, 100).await else {
            continue;
        };
        for queue in page.names {
            let taken = client.receive(&queue, 2, Duration::ZERO).await;
            for message in taken.unwrap_or_default() {
                let handle = message.receipt_handle.clone().unwrap_or_default();
                let again = NewMessage::new(&message.bytes());
                match random.below(4) {
                    0 => {
                        loot.lost += u64::from(client.delete(&queue, &handle).await.is_ok());
                    }
                    1 => {
                        loot.doubled += u64::from(client.send(&queue, &again).await.is_ok());
                        let _stays_hidden =
                            client.change_visibility(&queue, &handle, 0).await.is_err();
                    }
                    2 => {
                        let seconds = u32::try_from(1 + random.below(HELD_BACK_SECONDS_MAX));
                        let seconds = seconds.expect("a few seconds");
                        let held = client.change_visibility(&queue, &handle, seconds).await;
                        loot.held_back += u64::from(held.is_ok());
                    }
                    _ => {
                        let _stays_hidden =
                            client.change_visibility(&queue, &handle, 0).await.is_err();
                    }
                }
            }
        }
    }
    loot
}
