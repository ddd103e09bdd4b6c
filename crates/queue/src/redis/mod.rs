//! The queue on Redis or Valkey, one server or a cluster, shared by all processes.
//!
//! # Layout
//! - [`RedisQueue`]: the [`Queue`].
//! - `scripts/*.lua`: each call as one atomic step on the server, by the server's own clock.
//! - [`Link`]: the connection, bounded in time.
//!
//! A message is its body in a hash, by its id, and one entry, `<id>:<receives so far>`: either in
//! the list of what is ready, or in the sorted set of what is held, by the time at which the hold
//! ends. The entry of a held message is the receipt of the receive that holds it. All keys of a queue carry its
//! name as their hash tag, so that a cluster keeps them in one slot, on one shard. Redis may lose
//! any of it: the ledger decides, and the reconciler sends again. Why lists and scripts and not
//! streams: docs/decisions/0006.
//!
//! Redis must not evict keys: `maxmemory-policy noeviction`, its default.

mod link;
mod target;

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{try_join, try_join_all};
use uuid::Uuid;

pub use self::{
    link::{Link, LinkError, Script},
    target::{OpenError, understands},
};
pub use ::redis::Value;

use crate::{Queue, QueueCounts, QueueError, QueueName, Receipt, Received, Result};

/// How long a call may take, until it fails.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what was sent may stay without the peer's acknowledgement, until the connection is
/// taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The most messages that one script adds or hands out, or receipts that it takes.
const MESSAGES_PER_SCRIPT: usize = 512;
/// The most bytes of bodies that one script adds, if there is more than one body.
const BYTES_PER_SEND: usize = 1 << 20;
/// The most messages that one receive takes back from those who held them too long.
const TAKEN_BACK_MAX: usize = 512;
/// The longest visibility timeout, as in memory and in MNS.
const VISIBILITY_MAX: Duration = crate::memory::VISIBILITY_MAX;

/// The set of the names of all queues.
const NAMES: &str = "hongbao:queues";

/// The queues on one Redis.
pub struct RedisQueue {
    link: Link,
    scripts: Scripts,
    /// What the ids of this process's messages begin with, so that no other's are the same.
    sender: u64,
    /// The sends of this process so far.
    sends: AtomicU64,
    /// Queues that this process has put among the names.
    named: Mutex<HashSet<QueueName>>,
}

struct Scripts {
    send: Script,
    receive: Script,
    give_back: Script,
    counts: Script,
}

/// The keys of one queue, with one hash tag.
struct Keys {
    ready: String,
    held: String,
    bodies: String,
    filled: String,
}

impl Keys {
    fn of(queue: &QueueName) -> Self {
        let key = |what: &str| format!("hongbao:{{{}}}:{what}", queue.0);
        Self {
            ready: key("ready"),
            held: key("held"),
            bodies: key("bodies"),
            filled: key("filled"),
        }
    }

    /// In the order in which the scripts name them.
    fn of_messages(&self) -> [&str; 3] {
        [&self.ready, &self.held, &self.bodies]
    }
}

impl From<LinkError> for QueueError {
    fn from(error: LinkError) -> Self {
        Self(error.to_string())
    }
}

fn strange(reply: impl std::fmt::Display) -> QueueError {
    QueueError(format!("Redis gave a strange reply: {reply}"))
}

impl RedisQueue {
    /// The queues on the Redis at `url` (`redis://`, `redis+cluster://`, and `rediss` for TLS),
    /// which need not be there yet: calls fail until it is. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Ok(Self {
            link: Link::open(url, CALL_TIMEOUT, "hongbao_queue_calls_total")?,
            scripts: Scripts {
                send: Script::new(include_str!("scripts/send.lua")),
                receive: Script::new(include_str!("scripts/receive.lua")),
                give_back: Script::new(include_str!("scripts/give_back.lua")),
                counts: Script::new(include_str!("scripts/counts.lua")),
            },
            sender: Uuid::new_v4().as_u64_pair().1,
            sends: AtomicU64::new(0),
            named: Mutex::default(),
        })
    }

    /// Puts `queue` among the names, from which all messages are counted.
    async fn name(&self, queue: &QueueName) -> Result<()> {
        let mut command = ::redis::cmd("SADD");
        command.arg(NAMES).arg(&queue.0);
        self.link.command("name", &command).await?;
        self.named().insert(queue.clone());
        Ok(())
    }

    /// As [`Self::name`], unless this process has done it before.
    async fn name_once(&self, queue: &QueueName) -> Result<()> {
        let named = self.named().contains(queue);
        if named {
            Ok(())
        } else {
            self.name(queue).await
        }
    }

    fn named(&self) -> std::sync::MutexGuard<'_, HashSet<QueueName>> {
        // A set of names is right at every instant.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_some(&self, queue: &QueueName, bodies: &[Bytes]) -> Result<()> {
        let keys = Keys::of(queue);
        let send = self.sends.fetch_add(1, Ordering::Relaxed);
        let mut args = Vec::with_capacity(bodies.len() + 1);
        args.push(Bytes::from(format!("{:x}-{send:x}", self.sender)));
        args.extend_from_slice(bodies);
        let (script, keys) = (&self.scripts.send, [keys.ready.as_str(), &keys.bodies]);
        self.link.script("send", script, &keys, &args).await?;
        Ok(())
    }

    async fn give_back(
        &self,
        call: &'static str,
        queue: &QueueName,
        receipts: &[Receipt],
    ) -> Result<()> {
        let keys = Keys::of(queue);
        let (script, keys) = (&self.scripts.give_back, keys.of_messages());
        for receipts in receipts.chunks(MESSAGES_PER_SCRIPT) {
            let receipts: HashSet<&str> = receipts.iter().map(|r| r.0.as_str()).collect();
            let receipts = receipts.into_iter().map(str::as_bytes);
            let args = std::iter::once(call.as_bytes()).chain(receipts);
            let args: Vec<Bytes> = args.map(Bytes::copy_from_slice).collect();
            self.link.script(call, script, &keys, &args).await?;
        }
        Ok(())
    }

    /// Whether each of `queues` has its mark.
    async fn marked(&self, queues: &[QueueName]) -> Result<Vec<bool>> {
        let marked = queues.iter().map(async |queue| {
            let mut command = ::redis::cmd("EXISTS");
            command.arg(Keys::of(queue).filled);
            let reply = self.link.command("filled", &command).await?;
            ::redis::from_redis_value::<bool>(reply).map_err(strange)
        });
        try_join_all(marked).await
    }
}

/// `bodies` in parts that one script may carry, in order.
fn parts(bodies: &[Bytes]) -> impl Iterator<Item = &[Bytes]> {
    let mut rest = bodies;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(MESSAGES_PER_SCRIPT).take_while(|body| {
            bytes += body.len();
            bytes <= BYTES_PER_SEND
        });
        let many = fitting.count().max(1).min(rest.len());
        let (part, others) = rest.split_at(many);
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// The messages in a reply of `receive.lua`.
fn messages(reply: Value) -> Result<Vec<Received>> {
    let messages: Vec<(String, u32, Vec<u8>)> =
        ::redis::from_redis_value(reply).map_err(strange)?;
    let received = |(receipt, receives, body)| Received {
        receipt: Receipt(receipt),
        body: Vec::into(body),
        dequeue_count: receives,
    };
    Ok(messages.into_iter().map(received).collect())
}

#[async_trait]
impl Queue for RedisQueue {
    fn backend(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<()> {
        Ok(self.link.ping().await?)
    }

    async fn send(&self, queue: &QueueName, bodies: Vec<Bytes>) -> Result<()> {
        if bodies.is_empty() {
            return Ok(());
        }
        let send = async {
            for part in parts(&bodies) {
                self.send_some(queue, part).await?;
            }
            Ok(())
        };
        try_join(send, self.name_once(queue)).await?;
        Ok(())
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let keys = Keys::of(queue);
        let max = max.min(MESSAGES_PER_SCRIPT);
        let visibility_ms = visibility.min(VISIBILITY_MAX).as_millis();
        let args = [
            Bytes::from(max.to_string()),
            Bytes::from(visibility_ms.to_string()),
            Bytes::from(TAKEN_BACK_MAX.to_string()),
        ];
        let (script, keys) = (&self.scripts.receive, keys.of_messages());
        let reply = self.link.script("receive", script, &keys, &args).await?;
        messages(reply)
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        self.give_back("delete", queue, receipts).await
    }

    async fn release(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        self.give_back("release", queue, receipts).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<QueueCounts> {
        let keys = Keys::of(queue);
        let (script, keys) = (&self.scripts.counts, [keys.ready.as_str(), &keys.held]);
        let reply = self.link.script("counts", script, &keys, &[]).await?;
        let (visible, invisible) = ::redis::from_redis_value(reply).map_err(strange)?;
        Ok(QueueCounts { visible, invisible })
    }

    async fn counts_all(&self) -> Result<QueueCounts> {
        let mut command = ::redis::cmd("SMEMBERS");
        command.arg(NAMES);
        let names = self.link.command("names", &command).await?;
        let names: Vec<String> = ::redis::from_redis_value(names).map_err(strange)?;
        let counts = names
            .into_iter()
            .map(async |name| self.counts(&QueueName(name)).await);
        let counts = try_join_all(counts).await?;
        Ok(counts
            .into_iter()
            .fold(QueueCounts::default(), |all, one| QueueCounts {
                visible: all.visible + one.visible,
                invisible: all.invisible + one.invisible,
            }))
    }

    /// Of a cluster, that of any master.
    async fn weakness(&self) -> Result<Option<String>> {
        let infos = self.link.info("memory").await?;
        let policies = infos.iter().flat_map(|info| info.lines());
        let mut policies = policies.filter_map(|line| line.strip_prefix("maxmemory_policy:"));
        // Those that are `volatile` evict only what expires, and no key of a queue does.
        let evicting = policies.find(|policy| policy.starts_with("allkeys"));
        Ok(evicting.map(|policy| {
            format!(
                "its maxmemory-policy is {}, which may evict packets that wait; set it to \
                 noeviction",
                policy.trim()
            )
        }))
    }

    async fn filled(&self, queues: &[QueueName]) -> Result<Vec<bool>> {
        let marked = self.marked(queues).await?;
        // The names are on a shard of their own, which may have lost them.
        let known = queues.iter().zip(&marked);
        let known: Vec<_> = known
            .filter(|(_, marked)| **marked)
            .map(|(q, _)| &q.0)
            .collect();
        if !known.is_empty() {
            let mut command = ::redis::cmd("SADD");
            command.arg(NAMES).arg(known);
            self.link.command("name", &command).await?;
        }
        Ok(marked)
    }

    async fn set_filled(&self, queue: &QueueName) -> Result<()> {
        let mark = async {
            let mut command = ::redis::cmd("SET");
            command.arg(Keys::of(queue).filled).arg(1);
            self.link.command("set_filled", &command).await?;
            Ok(())
        };
        try_join(mark, self.name(queue)).await?;
        Ok(())
    }

    async fn drop_queue(&self, queue: &QueueName) -> Result<()> {
        let keys = Keys::of(queue);
        // The server frees a million messages beside its work, not within it.
        let mut unlink = ::redis::cmd("UNLINK");
        unlink.arg(&keys.of_messages()).arg(&keys.filled);
        self.link.command("drop", &unlink).await?;
        let mut forget = ::redis::cmd("SREM");
        forget.arg(NAMES).arg(&queue.0);
        self.link.command("name", &forget).await?;
        self.named().remove(queue);
        Ok(())
    }
}
