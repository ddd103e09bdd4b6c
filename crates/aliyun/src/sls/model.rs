//! What is asked of the log service, and what it answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::proto::{LogGroup, compress};

/// How requests are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Version 1, which every endpoint takes.
    V1,
    /// Version 4, for one region.
    V4 {
        /// The region's name, `cn-hangzhou`.
        region: String,
    },
}

/// The service refused a request, or failed at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SLS answered {status} {code} to request {request_id}: {message}")]
pub struct ServiceError {
    /// The HTTP status.
    pub status: u16,
    /// The service's own code, such as `LogStoreNotExist`.
    pub code: String,
    /// Its words.
    pub message: String,
    /// What its support asks for.
    pub request_id: String,
}

/// A group of logs that is encoded and compressed once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedGroup {
    /// Bytes before compression.
    pub raw_bytes: usize,
    /// One lz4 block.
    pub body: Bytes,
}

impl PackedGroup {
    /// Packs `group`.
    #[must_use]
    pub fn new(group: &LogGroup) -> Self {
        let raw = group.encode_to_vec();
        Self {
            raw_bytes: raw.len(),
            body: compress(&raw),
        }
    }
}

/// A log store to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewLogstore {
    /// Its name.
    pub logstore_name: String,
    /// How long logs are kept, in days.
    pub ttl: u32,
    /// Its shards; each takes 5 MB/s.
    pub shard_count: u32,
    /// Whether shards are split when they are too few.
    pub auto_split: bool,
    /// The most shards after splitting.
    pub max_split_shard: u32,
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewIndex {
    /// Of what is searched without a field's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<LineIndex>,
    /// Of single fields, by their names.
    #[serde(default)]
    pub keys: BTreeMap<String, KeyIndex>,
}

/// How all text is cut into words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineIndex {
    /// What stands between words, each one character.
    pub token: Vec<String>,
    /// Whether case matters.
    #[serde(rename = "caseSensitive", default)]
    pub case_sensitive: bool,
    /// Whether Chinese is cut into words.
    #[serde(default)]
    pub chn: bool,
}

/// The index of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyIndex {
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: KeyKind,
    /// Whether statements may select it.
    #[serde(default)]
    pub doc_value: bool,
    /// What stands between words of text, each one character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token: Vec<String>,
    /// Whether case matters in text.
    #[serde(rename = "caseSensitive", default)]
    pub case_sensitive: bool,
    /// Whether Chinese is cut into words.
    #[serde(default)]
    pub chn: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Text.
    Text,
    /// A whole number.
    Long,
    /// Any number.
    Double,
    /// JSON.
    Json,
}

impl KeyIndex {
    /// The index of a field that statements may select.
    #[must_use]
    pub const fn selectable(kind: KeyKind) -> Self {
        Self {
            kind,
            doc_value: true,
            token: Vec::new(),
            case_sensitive: false,
            chn: false,
        }
    }
}

/// What logs to get, or what to make of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// The first second, since the Unix epoch.
    pub from: i64,
    /// The first second behind the interval.
    pub to: i64,
    /// A search, and after a `|` a statement.
    pub query: String,
    /// Only of this topic, unless it is empty.
    pub topic: String,
    /// How many logs at most, up to 100. A statement has its `LIMIT`.
    pub line: u32,
    /// How many logs to leave out first.
    pub offset: u64,
    /// The latest first.
    pub reverse: bool,
}

impl Query {
    /// `query` over `[from, to)`, in seconds since the Unix epoch.
    pub fn new(from: i64, to: i64, query: impl Into<String>) -> Self {
        Self {
            from,
            to,
            query: query.into(),
            topic: String::new(),
            line: 100,
            offset: 0,
            reverse: false,
        }
    }
}

/// A log or a statement's row, by field. Every value is text.
pub type Row = BTreeMap<String, String>;

/// What a query was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Rows {
    /// Whether this is all.
    pub meta: Meta,
    /// The rows, in order.
    pub data: Vec<Row>,
}

/// How a query went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Meta {
    /// `Complete`, or else the service had no time for all and should be asked again.
    #[serde(default)]
    pub progress: String,
    /// The rows in this answer.
    #[serde(default)]
    pub count: u64,
    /// The logs that were looked at.
    #[serde(rename = "processedRows", default)]
    pub processed_rows: u64,
}

impl Meta {
    /// Whether the answer covers all there is.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.progress.eq_ignore_ascii_case("complete")
    }
}

/// How many logs a search finds in one part of an interval.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Histogram {
    /// The first second.
    pub from: i64,
    /// The first second behind it.
    pub to: i64,
    /// The logs.
    pub count: u64,
    /// `Complete`, or else there may be more.
    pub progress: String,
}
