//! The calls of the service that make up those of the queue: paced, counted, and with the
//! answers that mean "somebody else's now" told from failures.

use std::{
    collections::{HashMap, HashSet},
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use aliyun::mns::{
    Code, Created, MnsError,
    model::{
        BATCH_BYTES_MAX, BATCH_MAX, Message, NewMessage, QueueAttributes, RETENTION_SECONDS_MAX,
        VISIBILITY_SECONDS_MAX,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{
    MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX_FILLED, MnsQueue, QUEUES_KNOWN_MAX, TOGETHER_MAX,
};
use crate::{QueueError, QueueName, Receipt, Result};

/// How often the messages of a batch that failed in part are sent again.
const SENDS_MAX: u32 = 4;

impl MnsQueue {
    pub(super) fn attributes(&self, filled: bool) -> QueueAttributes {
        let message_bytes = if filled {
            MESSAGE_BYTES_MAX_FILLED
        } else {
            MESSAGE_BYTES_MAX
        };
        QueueAttributes {
            delay_seconds: Some(0),
            maximum_message_size: Some(message_bytes),
            message_retention_period: Some(RETENTION_SECONDS_MAX),
            visibility_timeout: Some(whole_seconds(self.options.visibility)),
            polling_wait_seconds: Some(0),
            logging_enabled: None,
        }
    }

    /// Waits for the queue's pace, and counts a call that counts as `weight` calls.
    pub(super) async fn before(&self, call: &'static str, queue: &QueueName, weight: usize) {
        self.pace.wait(queue, weight).await;
        count(call);
    }

    pub(super) async fn create(&self, queue: &QueueName, filled: bool) -> Result<Created> {
        self.before("create", queue, 1).await;
        let attributes = self.attributes(filled);
        let created = self.client.create_queue(&queue.0, &attributes).await?;
        if let (Created::New | Created::Same, Some(s)) = (created, attributes.visibility_timeout) {
            self.remember(queue, s);
        }
        Ok(created)
    }

    fn remember(&self, queue: &QueueName, visibility_s: u32) {
        let mut visibilities = self.visibilities();
        if visibilities.len() >= QUEUES_KNOWN_MAX && !visibilities.contains_key(queue) {
            // Nothing says which are in use; those are learnt again by one call each.
            visibilities.clear();
        }
        visibilities.insert(queue.clone(), visibility_s);
    }

    fn visibilities(&self) -> MutexGuard<'_, HashMap<QueueName, u32>> {
        // A map of numbers is right at every instant.
        self.visibilities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue's visibility timeout in seconds; `None` when there is no such queue.
    pub(super) async fn visibility_of(&self, queue: &QueueName) -> Result<Option<u32>> {
        let known = self.visibilities().get(queue).copied();
        if known.is_some() {
            return Ok(known);
        }
        self.before("attributes", queue, 1).await;
        let info = self.client.attributes(&queue.0).await?;
        let visibility = info.and_then(|info| info.attributes.visibility_timeout);
        if let Some(visibility_s) = visibility {
            self.remember(queue, visibility_s);
        }
        Ok(visibility)
    }

    pub(super) fn forget(&self, queue: &QueueName) {
        self.visibilities().remove(queue);
    }

    /// Sends what one batch takes, the parts that failed again.
    pub(super) async fn send_batch(
        &self,
        queue: &QueueName,
        mut messages: Vec<NewMessage>,
    ) -> Result<()> {
        let mut sends = 0;
        loop {
            self.before("send", queue, messages.len()).await;
            sends += 1;
            let parts = match self.client.send_batch(&queue.0, &messages).await {
                Ok(parts) => parts,
                Err(error) if error.is(&Code::QueueNotExist) && sends < SENDS_MAX => {
                    self.forget(queue);
                    self.create(queue, false).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mut why = None;
            let failed = messages.into_iter().zip(parts);
            messages = failed
                .filter_map(|(message, part)| {
                    why = Some(part.err()?);
                    Some(message)
                })
                .collect();
            match why {
                None => return Ok(()),
                Some(why) if why.code == Code::InvalidArgument || sends >= SENDS_MAX => {
                    let many = messages.len();
                    return Err(QueueError(format!("{many} messages were not sent: {why}")));
                }
                Some(why) => tracing::debug!(%why, "messages are sent to MNS again"),
            }
        }
    }

    /// Whether the queue has the mark of being filled.
    pub(super) async fn is_filled(&self, queue: &QueueName) -> Result<bool> {
        self.before("filled", queue, 1).await;
        let info = self.client.attributes(&queue.0).await?;
        let longest = info.and_then(|info| info.attributes.maximum_message_size);
        Ok(longest == Some(MESSAGE_BYTES_MAX_FILLED))
    }

    /// What one call brings.
    pub(super) async fn receive_batch(
        &self,
        queue: &QueueName,
        many: usize,
    ) -> Result<Vec<Message>> {
        self.before("receive", queue, 1).await;
        match self.client.receive(&queue.0, many, Duration::ZERO).await {
            Ok(messages) => Ok(messages),
            Err(error) if error.is(&Code::QueueNotExist) => {
                self.forget(queue);
                self.pace.forget(queue);
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes messages, which are invisible for the queue's time, invisible for another. Those
    /// for which that fails are left out: they come back by themselves.
    pub(super) async fn hold_for(
        &self,
        queue: &QueueName,
        messages: Vec<Message>,
        visibility_s: u32,
    ) -> Vec<Message> {
        let held = messages.into_iter().map(async |mut message| {
            let handle = message.receipt_handle.as_deref()?;
            self.before("visibility", queue, 1).await;
            let change = self
                .client
                .change_visibility(&queue.0, handle, visibility_s);
            match change.await {
                Ok(changed) => {
                    message.receipt_handle = Some(changed.receipt_handle);
                    Some(message)
                }
                Err(error) => {
                    tracing::debug!(%error, queue = %queue.0, "a message is left to others");
                    None
                }
            }
        });
        let held = stream::iter(held).buffered(TOGETHER_MAX);
        let held: Vec<Option<Message>> = held.collect().await;
        held.into_iter().flatten().collect()
    }

    /// Shows the message of one handle at once.
    pub(super) async fn show(&self, queue: &QueueName, handle: &str) -> Result<()> {
        self.before("release", queue, 1).await;
        let shown = self.client.change_visibility(&queue.0, handle, 0).await;
        match shown {
            Err(error) if !is_over(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Deletes the messages of one batch of handles.
    pub(super) async fn delete_batch(&self, queue: &QueueName, handles: &[String]) -> Result<()> {
        self.before("delete", queue, 1).await;
        let failed = match self.client.delete_batch(&queue.0, handles).await {
            Ok(failed) => failed,
            // One that is no handle may make the service refuse them all.
            Err(error) if error.is(&Code::ReceiptHandleError) && handles.len() > 1 => {
                let mut deleted = Ok(());
                for handle in handles.iter().map(std::slice::from_ref) {
                    let one = Box::pin(self.delete_batch(queue, handle)).await;
                    deleted = deleted.and(one);
                }
                return deleted;
            }
            Err(error) if is_over(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let is_over =
            |code: &Code| matches!(code, Code::MessageNotExist | Code::ReceiptHandleError);
        match failed.into_iter().find(|(_, why)| !is_over(&why.code)) {
            Some((_, why)) => Err(QueueError(format!("a message was not deleted: {why}"))),
            None => Ok(()),
        }
    }
}

/// Whether the message of a handle is somebody else's now, or gone with its queue.
pub(super) fn is_over(error: &MnsError) -> bool {
    let over = [
        Code::MessageNotExist,
        Code::ReceiptHandleError,
        Code::QueueNotExist,
    ];
    over.iter().any(|code| error.is(code))
}

pub(super) fn count(call: &'static str) {
    metrics::counter!("hongbao_queue_calls_total", "backend" => "mns", "call" => call).increment(1);
}

/// `visibility` as the service takes it: no shorter, unless beyond its longest.
pub(super) fn whole_seconds(visibility: Duration) -> u32 {
    let seconds = visibility.as_millis().div_ceil(1_000);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    seconds.clamp(1, VISIBILITY_SECONDS_MAX)
}

/// `bodies` as the batches that the service takes, in order.
pub(super) fn batches(bodies: &[Bytes]) -> Vec<Vec<NewMessage>> {
    let mut batches: Vec<Vec<NewMessage>> = Vec::new();
    let mut bytes = 0;
    for message in bodies.iter().map(|body| NewMessage::new(body)) {
        bytes += message.text_bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_MAX && bytes <= BATCH_BYTES_MAX => {
                batch.push(message);
            }
            _ => {
                bytes = message.text_bytes();
                batches.push(vec![message]);
            }
        }
    }
    batches
}

/// The handles of `receipts`, each once.
pub(super) fn handles(receipts: &[Receipt]) -> Vec<String> {
    let handles: HashSet<&str> = receipts.iter().map(|receipt| receipt.0.as_str()).collect();
    handles.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rules::{Clock, Timestamp};

    use super::{
        super::{Credentials, Options},
        *,
    };

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(0)
        }
    }

    #[tokio::test]
    async fn no_more_queues_are_remembered_than_may_be() {
        let credentials = Credentials::new("id", "secret");
        let clock = Arc::new(Still);
        let options = Options::default();
        let queue = MnsQueue::open("http://127.0.0.1:1", credentials, clock, options);
        let queue = queue.expect("the URL is right");
        let name = |n: usize| QueueName(n.to_string());
        for n in 0..QUEUES_KNOWN_MAX {
            queue.remember(&name(n), 30);
        }
        // One that is known takes no further room.
        queue.remember(&name(7), 40);
        assert_eq!(queue.visibilities().len(), QUEUES_KNOWN_MAX);
        queue.remember(&name(QUEUES_KNOWN_MAX), 50);
        assert_eq!(queue.visibilities().len(), 1);
        let known = queue.visibility_of(&name(QUEUES_KNOWN_MAX)).await;
        assert_eq!(known.expect("nobody is asked"), Some(50));
    }

    #[test]
    fn batches_are_as_large_as_the_service_takes_and_no_larger() {
        let sizes = |bytes: usize, many: usize| -> Vec<usize> {
            let bodies = vec![Bytes::from(vec![7; bytes]); many];
            batches(&bodies).iter().map(Vec::len).collect()
        };
        assert!(sizes(10, 0).is_empty());
        assert_eq!(sizes(10, 33), [16, 16, 1]);
        assert_eq!(sizes(crate::bundle::BUNDLE_BYTES_MAX, 20), [16, 4]);
        // 12 KiB of bytes are 16 KiB of base64.
        assert_eq!(sizes(12 << 10, 5), [4, 1]);
        assert_eq!(sizes(50_000, 2), [1, 1]);
    }

    #[test]
    fn a_visibility_is_never_shortened_within_what_the_service_takes() {
        let of_ms = |ms| whole_seconds(Duration::from_millis(ms));
        assert_eq!(
            [of_ms(0), of_ms(1), of_ms(1_000), of_ms(1_001)],
            [1, 1, 1, 2]
        );
        assert_eq!(whole_seconds(Duration::MAX), 43_200);
    }
}
