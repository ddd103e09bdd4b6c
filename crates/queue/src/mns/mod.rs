//! The queue on MNS, the cloud's message service: one of its queues for each campaign, shared by
//! all processes.
//!
//! # Layout
//! - [`MnsQueue`]: the [`Queue`]; [`Options`]: how it uses the service.
//! - `calls`: the service's calls that make up ours.
//! - `pace`: how many calls a queue takes.
//!
//! A body travels as base64. What the service has no word for is put in its words so:
//! - The visibility timeout is an attribute of the queue. It is made with that of
//!   [`Options::visibility`]; whoever receives with another changes that of each message.
//! - The mark of being filled must stand and fall with the queue's messages, so it is an
//!   attribute of the queue too: the longest message allowed, one byte less than the service
//!   allows, which is longer than any bundle.
//! - The service is withdrawing its counts. Where it counts nothing that is visible, a look at
//!   the first messages says whether that is true: the count is then a lower bound.

mod calls;
mod pace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aliyun::mns::{
    Client, Code, Created, MnsError, OpenError, Patience,
    model::{BATCH_BYTES_MAX, BATCH_MAX, Message, QueueAttributes},
};
pub use aliyun::sign::Credentials;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rules::Clock;

use self::{
    calls::{batches, count, handles, whole_seconds},
    pace::Pace,
};
use crate::{Queue, QueueCounts, QueueError, QueueName, Receipt, Received, Result};

/// Begins the name of every queue of ours; an account may have others.
const PREFIX: &str = "hongbao-";
/// The longest message of a queue that is not marked as filled, and of one that is.
const MESSAGE_BYTES_MAX: u32 = BATCH_BYTES_MAX as u32;
const MESSAGE_BYTES_MAX_FILLED: u32 = MESSAGE_BYTES_MAX - 1;
/// Calls of one call of ours that are under way together.
const TOGETHER_MAX: usize = 16;
/// Queues of one page of a listing: as many as the service gives.
const PAGE: u32 = 1_000;
/// Queues of which something is remembered: each campaign has one, and an old one is not asked for
/// again.
const QUEUES_KNOWN_MAX: usize = 1_024;

/// How the service is used.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The visibility timeout with which queues are made: best that with which is received.
    pub visibility: Duration,
    /// How many calls a queue takes in a second from this process; each message sent counts.
    pub calls_per_second: u32,
    /// How long to go on trying.
    pub patience: Patience,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            calls_per_second: 3_000,
            patience: Patience::default(),
        }
    }
}

/// The queues of one MNS account.
pub struct MnsQueue {
    client: Client,
    options: Options,
    pace: Pace,
    /// The visibility timeouts of queues, in seconds, as far as this process knows them.
    visibilities: Mutex<HashMap<QueueName, u32>>,
}

impl From<MnsError> for QueueError {
    fn from(error: MnsError) -> Self {
        metrics::counter!("hongbao_mns_errors_total").increment(1);
        Self(error.to_string())
    }
}

impl MnsQueue {
    /// The queues at `url`: `https://<account>.mns.<region>.aliyuncs.com`, the same with `mns`
    /// instead of `https`, or `http://` without TLS. It need not be there yet: calls fail until
    /// it is. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn open(
        url: &str,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let endpoint = match url.strip_prefix("mns://") {
            Some(host) => format!("https://{host}"),
            None => url.to_owned(),
        };
        Ok(Self {
            client: Client::open(&endpoint, credentials, clock, options.patience)?,
            options,
            pace: Pace::new(options.calls_per_second),
            visibilities: Mutex::default(),
        })
    }
}

#[async_trait]
impl Queue for MnsQueue {
    fn backend(&self) -> &'static str {
        "mns"
    }

    async fn ping(&self) -> Result<()> {
        count("ping");
        self.client.list_queues(PREFIX, None, 1).await?;
        Ok(())
    }

    async fn send(&self, queue: &QueueName, bodies: Vec<Bytes>) -> Result<()> {
        for batch in batches(&bodies) {
            self.send_batch(queue, batch).await?;
        }
        Ok(())
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        let mut messages = Vec::new();
        while messages.len() < max {
            let many = (max - messages.len()).min(BATCH_MAX);
            let more = match self.receive_batch(queue, many).await {
                Ok(more) => more,
                // What is in hand must not be lost to its receiver.
                Err(_) if !messages.is_empty() => break,
                Err(error) => return Err(error),
            };
            let last = more.len() < many;
            messages.extend(more);
            if last {
                break;
            }
        }
        let visibility_s = whole_seconds(visibility);
        if !messages.is_empty() {
            let known_s = self.visibility_of(queue).await.unwrap_or_else(|error| {
                // Nor must it be lost because the queue does not say how long it is held.
                tracing::debug!(%error, queue = %queue.0, "a queue's visibility is not known");
                None
            });
            if known_s != Some(visibility_s) {
                messages = self.hold_for(queue, messages, visibility_s).await;
            }
        }
        let received = |message: Message| {
            Some(Received {
                body: message.bytes().into(),
                dequeue_count: message.dequeue_count,
                receipt: Receipt(message.receipt_handle?),
            })
        };
        Ok(messages.into_iter().filter_map(received).collect())
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        let mut deleted = Ok(());
        for handles in handles(receipts).chunks(BATCH_MAX) {
            // A batch that fails must not keep the others: what was done is not to come back.
            let batch = self.delete_batch(queue, handles).await;
            deleted = deleted.and(batch);
        }
        deleted
    }

    async fn release(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        let handles = handles(receipts).into_iter();
        let shown = handles.map(async |handle| self.show(queue, &handle).await);
        let shown = stream::iter(shown).buffer_unordered(TOGETHER_MAX);
        // All are shown before the first failure is told.
        let shown: Vec<Result<()>> = shown.collect().await;
        shown.into_iter().collect()
    }

    fn counts_exactly(&self) -> bool {
        false
    }

    async fn counts(&self, queue: &QueueName) -> Result<QueueCounts> {
        self.before("counts", queue, 1).await;
        let Some(info) = self.client.attributes(&queue.0).await? else {
            return Ok(QueueCounts::default());
        };
        let mut visible = info.active;
        if visible == 0 {
            self.before("peek", queue, 1).await;
            let seen = match self.client.peek(&queue.0, BATCH_MAX).await {
                Err(error) if !error.is(&Code::QueueNotExist) => return Err(error.into()),
                seen => seen.unwrap_or_default(),
            };
            visible = seen.len() as u64;
        }
        Ok(QueueCounts {
            visible,
            invisible: info.inactive + info.delayed,
        })
    }

    async fn counts_all(&self) -> Result<QueueCounts> {
        let mut all = QueueCounts::default();
        let mut marker = None;
        loop {
            count("list");
            let page = self
                .client
                .list_queues(PREFIX, marker.as_deref(), PAGE)
                .await?;
            let counts = page.names.into_iter().map(async |name| {
                let queue = QueueName(name);
                self.counts(&queue).await
            });
            let mut counts = stream::iter(counts).buffer_unordered(TOGETHER_MAX);
            while let Some(one) = counts.try_next().await? {
                all.visible += one.visible;
                all.invisible += one.invisible;
            }
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    async fn filled(&self, queues: &[QueueName]) -> Result<Vec<bool>> {
        let filled: Vec<_> = queues.iter().map(|queue| self.is_filled(queue)).collect();
        stream::iter(filled)
            .buffered(TOGETHER_MAX)
            .try_collect()
            .await
    }

    async fn set_filled(&self, queue: &QueueName) -> Result<()> {
        let mark = QueueAttributes {
            maximum_message_size: Some(MESSAGE_BYTES_MAX_FILLED),
            ..QueueAttributes::default()
        };
        self.before("set_filled", queue, 1).await;
        match self.client.set_attributes(&queue.0, &mark).await {
            Err(error) if error.is(&Code::QueueNotExist) => {}
            done => return Ok(done?),
        }
        self.forget(queue);
        if self.create(queue, true).await? == Created::Other {
            // Somebody else made it in between.
            self.client.set_attributes(&queue.0, &mark).await?;
        }
        Ok(())
    }

    async fn drop_queue(&self, queue: &QueueName) -> Result<()> {
        self.before("drop", queue, 1).await;
        self.client.delete_queue(&queue.0).await?;
        self.forget(queue);
        self.pace.forget(queue);
        Ok(())
    }
}
