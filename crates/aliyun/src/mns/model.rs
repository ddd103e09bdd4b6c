//! What travels to and from MNS, typed.
//!
//! Times are as the service has them: those of queues in seconds, those of messages in
//! milliseconds, since 1970.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use super::Code;

/// The most messages or handles of one batch.
pub const BATCH_MAX: usize = 16;
/// The most bytes of text of all bodies of one batch, and of one body.
pub const BATCH_BYTES_MAX: usize = 65_536;
/// The longest name of a queue.
pub const QUEUE_NAME_MAX: usize = 120;
/// The longest long poll, in seconds.
pub const WAIT_SECONDS_MAX: u32 = 30;
/// The longest that a message stays invisible, in seconds.
pub const VISIBILITY_SECONDS_MAX: u32 = 43_200;
/// The longest that a message is kept, in seconds.
pub const RETENTION_SECONDS_MAX: u32 = 604_800;

/// Attributes of a queue to set; `None` leaves one as it is, or at its default when the queue
/// is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueAttributes {
    /// How long a new message is invisible, 0 to 604800 s; 0 unless set.
    pub delay_seconds: Option<u32>,
    /// The longest body in bytes of its text, 1024 to 65536; 65536 unless set.
    pub maximum_message_size: Option<u32>,
    /// How long a message is kept, from its sending, 60 to 604800 s; 4 days unless set.
    pub message_retention_period: Option<u32>,
    /// How long a received message is invisible, 1 to 43200 s; 30 s unless set.
    pub visibility_timeout: Option<u32>,
    /// How long a receive that does not say waits, 0 to 30 s; 0 unless set.
    pub polling_wait_seconds: Option<u32>,
    /// Whether the service logs the queue's calls; no unless set.
    pub logging_enabled: Option<bool>,
}

/// A queue as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub create_time: u64,
    /// When its attributes were last set, in seconds since 1970.
    pub last_modify_time: u64,
    /// Its attributes; those of the known ones that the service named.
    pub attributes: QueueAttributes,
    /// Messages ready to be received. The service is withdrawing this count: it may read 0.
    pub active: u64,
    /// Messages in some receiver's hands. May read 0.
    pub inactive: u64,
    /// Messages that are delayed. May read 0.
    pub delayed: u64,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The text of its body.
    pub(crate) body: String,
    /// How long it is invisible at first, in seconds; the queue's when `None`.
    pub delay_seconds: Option<u32>,
    /// 1, the highest, to 16; 8 when `None`.
    pub priority: Option<u8>,
}

impl NewMessage {
    /// A message with these bytes, which travel as base64: some readers reject all else.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            body: BASE64.encode(bytes),
            delay_seconds: None,
            priority: None,
        }
    }

    /// How many bytes its body counts for in a batch.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.body.len()
    }
}

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub message_id: String,
    /// The upper-case hexadecimal MD5 of its body's text.
    pub body_md5: String,
    /// While it is delayed, it can be deleted by this.
    pub receipt_handle: Option<String>,
}

/// A message that was received or peeked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub message_id: String,
    /// Deletes it or changes its visibility, once, while it is invisible. `None` when it was
    /// only peeked at.
    pub receipt_handle: Option<String>,
    /// The text of its body.
    pub body: String,
    /// When it was sent, in milliseconds since 1970.
    pub enqueue_time: u64,
    /// When it becomes visible again, in milliseconds since 1970. `None` when only peeked at.
    pub next_visible_time: Option<u64>,
    /// When it was first received, in milliseconds since 1970; [`Self::enqueue_time`] if never.
    pub first_dequeue_time: u64,
    /// How often it was received, this time included.
    pub dequeue_count: u32,
    /// 1, the highest, to 16.
    pub priority: u8,
}

impl Message {
    /// The bytes of its body; of one that is no base64, those of its text.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let decoded = BASE64.decode(&self.body);
        decoded.unwrap_or_else(|_| self.body.clone().into_bytes())
    }
}

/// The MD5 of a body's text as MNS gives it.
#[must_use]
pub fn body_md5(text: &str) -> String {
    hex::encode_upper(Md5::digest(text))
}

/// One part of a batch failed; the others may have been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct PartError {
    /// Why.
    pub code: Code,
    /// Why, in the service's words.
    pub message: String,
}

/// The service refused a request, or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MNS answered {status} {code}: {message} (request {request_id})")]
pub struct ServiceError {
    /// The HTTP status.
    pub status: u16,
    /// Why.
    pub code: Code,
    /// Why, in the service's words.
    pub message: String,
    /// The service's number for the request; empty when it named none.
    pub request_id: String,
}

/// What a change of visibility gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The handle that counts from now on.
    pub receipt_handle: String,
    /// When the message becomes visible again, in milliseconds since 1970.
    pub next_visible_time: u64,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePage {
    /// The names of the queues, sorted.
    pub names: Vec<String>,
    /// Where the next page begins; `None` at the end.
    pub next_marker: Option<String>,
}
