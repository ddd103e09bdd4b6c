//! The queue that carries bundles of packets from the issuer to the grab nodes, with MNS
//! semantics: send, receive with a visibility timeout, delete, release, counts.
//!
//! It only carries. A queue may lose, duplicate, delay or reorder messages, and come up empty:
//! the ledger decides, and the reconciler sends again. Nothing here may become a promise.
//!
//! # Layout
//! - [`Queue`]: what every backend implements.
//! - [`bundle`]: the message that travels, and the tag that keeps forgers from minting money.
//! - [`memory`]: the embedded default.
//! - [`mns`]: the cloud's message service, shared by any number of processes.
//! - [`redis`]: Redis or Valkey, single or a cluster, shared by any number of processes.
//! - [`conformance`]: the suite that every backend must pass.
//! - [`faulty`]: a seeded wrapper that misbehaves as real queues do, for simulations.

pub mod bundle;
pub mod conformance;
pub mod faulty;
pub mod memory;
pub mod mns;
pub mod redis;

pub use bundle::{Bundle, BundleError, BundleSealer};
pub use faulty::{Faults, FaultyQueue};
pub use memory::MemoryQueue;
pub use mns::MnsQueue;
pub use redis::RedisQueue;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rules::CampaignId;

/// The name of one queue: one per campaign, `hongbao-<campaign id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueName(pub String);

impl QueueName {
    /// The queue that carries the bundles of `campaign`.
    #[must_use]
    pub fn of(campaign: CampaignId) -> Self {
        Self(format!("hongbao-{campaign}"))
    }
}

/// Proof of the latest receive of a message: only it can delete or release the message, and
/// only until the visibility timeout ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A message in the receiver's hands until its visibility timeout ends.
#[derive(Clone, Debug)]
pub struct Received {
    /// Proof of this receive.
    pub receipt: Receipt,
    /// What was sent.
    pub body: Bytes,
    /// How often it was received, this time included.
    pub dequeue_count: u32,
}

/// How many messages a queue holds. Approximate on backends that count so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Ready to be received.
    pub visible: u64,
    /// In some receiver's hands.
    pub invisible: u64,
}

/// A queue call failed. What it should have done may or may not have happened.
#[derive(Debug, thiserror::Error)]
#[error("the queue is unavailable: {0}")]
pub struct QueueError(pub String);

/// The result of a queue call.
pub type Result<T, E = QueueError> = std::result::Result<T, E>;

/// A message queue with MNS semantics. A queue that does not exist is empty; sending makes it.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// The backend's name, such as `memory`.
    fn backend(&self) -> &'static str;

    /// Whether the backend answers, for readiness.
    async fn ping(&self) -> Result<()>;

    /// Sends messages. On an error any part of them may have been sent.
    async fn send(&self, queue: &QueueName, bodies: Vec<Bytes>) -> Result<()>;

    /// Up to `max` visible messages, each made invisible to others for `visibility`. Empty at
    /// once when none is visible.
    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>>;

    /// Deletes received messages. A receipt that is spent or over is passed over: its message
    /// is somebody else's now.
    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()>;

    /// Makes received messages visible again at once. Spent receipts are passed over.
    async fn release(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()>;

    /// Whether [`Self::counts`] and [`Self::counts_all`] are exact. Where they are not, people are
    /// told so; nothing may be decided by them anyway.
    fn counts_exactly(&self) -> bool {
        true
    }

    /// How many messages the queue holds.
    async fn counts(&self, queue: &QueueName) -> Result<QueueCounts>;

    /// How many messages all queues hold.
    async fn counts_all(&self) -> Result<QueueCounts>;

    /// Of each of `queues`, in their order, whether it has kept what was sent to it since
    /// [`Self::set_filled`]. False: nobody has said so yet, or the backend (or the part of it
    /// that carries this queue) came up empty since, or the queue was dropped. Then every bundle
    /// with unclaimed packets has to be sent again. One round trip for each part of the backend,
    /// however many queues are asked about.
    ///
    /// The mark stands and falls with the queue's own messages, so that a shard that comes up
    /// empty is noticed although others have kept theirs. True is a hint and no promise: single
    /// messages may be missing all the same, and the reconciler sends them again in its time.
    async fn filled(&self, queues: &[QueueName]) -> Result<Vec<bool>>;

    /// Notes that the queue holds all that it must: after a refill, or before the first bundle
    /// of a campaign is sent, when nothing is all that it must hold.
    async fn set_filled(&self, queue: &QueueName) -> Result<()>;

    /// Settings of the backend by which it may lose messages, in a sentence for who runs it. No
    /// promise hangs on it; such packets wait until they are sent again.
    async fn weakness(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Removes the queue, all its messages and its mark of being filled.
    async fn drop_queue(&self, queue: &QueueName) -> Result<()>;
}
