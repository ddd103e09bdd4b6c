//! Logs as they go over the wire: a protobuf group, usually compressed as one raw lz4 block.
//!
//! The field numbers are those of shared tables of the protocol; nothing is generated at build
//! time. Decompression never makes more than it was told to expect.

use bytes::Bytes;
use prost::Message;

/// The most bytes of one group before compression.
pub const GROUP_BYTES_MAX: usize = 3 << 20;
/// The most logs in one group.
pub const GROUP_LOGS_MAX: usize = 4_096;
/// The most bytes that the service takes in one request, uncompressed.
pub const BODY_BYTES_MAX: usize = 10 << 20;

/// One field of a log.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Content {
    /// The field's name.
    #[prost(string, required, tag = "1")]
    pub key: String,
    /// Its value; always text.
    #[prost(string, required, tag = "2")]
    pub value: String,
}

/// One log.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Log {
    /// When it happened, in seconds since the Unix epoch.
    #[prost(uint32, required, tag = "1")]
    pub time: u32,
    /// Its fields, in order.
    #[prost(message, repeated, tag = "2")]
    pub contents: Vec<Content>,
    /// The nanoseconds after [`Self::time`].
    #[prost(fixed32, optional, tag = "4")]
    pub time_ns: Option<u32>,
}

/// A tag of all logs of a group.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LogTag {
    /// The tag's name; it is found as `__tag__:name`.
    #[prost(string, required, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, required, tag = "2")]
    pub value: String,
}

/// Logs that are written together.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LogGroup {
    /// The logs.
    #[prost(message, repeated, tag = "1")]
    pub logs: Vec<Log>,
    /// Unused by the service.
    #[prost(string, optional, tag = "2")]
    pub reserved: Option<String>,
    /// The topic of all of them.
    #[prost(string, optional, tag = "3")]
    pub topic: Option<String>,
    /// Where they come from.
    #[prost(string, optional, tag = "4")]
    pub source: Option<String>,
    /// Further tags.
    #[prost(message, repeated, tag = "6")]
    pub tags: Vec<LogTag>,
}

impl Log {
    /// A log of `time` with these fields.
    pub fn new<K: Into<String>, V: Into<String>>(
        time: u32,
        contents: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let content = |(key, value): (K, V)| Content {
            key: key.into(),
            value: value.into(),
        };
        Self {
            time,
            contents: contents.into_iter().map(content).collect(),
            time_ns: None,
        }
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// One raw lz4 block: no frame, no length before it.
    Lz4,
    /// A zlib stream.
    Deflate,
}

impl Compression {
    /// The value of `x-log-compresstype`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Deflate => "deflate",
        }
    }

    /// Reads a value of `x-log-compresstype`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Lz4, Self::Deflate]
            .into_iter()
            .find(|known| text.eq_ignore_ascii_case(known.as_str()))
    }
}

/// A body that does not hold what it was said to hold.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It would take more than the limit.
    #[error("{0} bytes are more than the limit of {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// It does not decompress into the length that was announced.
    #[error("the body does not decompress into the announced {0} bytes")]
    NotCompressed(usize),
    /// It is no log group.
    #[error("the body is no log group: {0}")]
    NotProtobuf(#[from] prost::DecodeError),
}

/// One raw lz4 block of `raw`.
#[must_use]
pub fn compress(raw: &[u8]) -> Bytes {
    lz4_flex::block::compress(raw).into()
}

/// What `body` holds, which must be exactly `raw_bytes` long.
///
/// # Errors
/// When that is above [`BODY_BYTES_MAX`], or the body holds anything else.
pub fn decompress(
    body: &[u8],
    compression: Compression,
    raw_bytes: usize,
) -> Result<Vec<u8>, BodyError> {
    if raw_bytes > BODY_BYTES_MAX {
        return Err(BodyError::TooLarge(raw_bytes));
    }
    let raw = match compression {
        Compression::Lz4 => lz4_flex::block::decompress(body, raw_bytes).ok(),
        Compression::Deflate => inflate(body, raw_bytes),
    };
    raw.filter(|raw| raw.len() == raw_bytes)
        .ok_or(BodyError::NotCompressed(raw_bytes))
}

/// The zlib stream's content, unless it is longer than `raw_bytes`.
fn inflate(body: &[u8], raw_bytes: usize) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut raw = Vec::with_capacity(raw_bytes);
    let limit = raw_bytes as u64 + 1;
    flate2::read::ZlibDecoder::new(body)
        .take(limit)
        .read_to_end(&mut raw)
        .ok()?;
    Some(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_group() -> impl Strategy<Value = LogGroup> {
        let pair = (".{0,8}", ".{0,20}");
        let log =
            (any::<u32>(), proptest::collection::vec(pair, 0..5)).prop_map(|(time, fields)| {
                let mut log = Log::new(time, fields);
                log.time_ns = time.is_multiple_of(2).then_some(time);
                log
            });
        let logs = proptest::collection::vec(log, 0..20);
        (logs, proptest::option::of(".{0,5}")).prop_map(|(logs, topic)| LogGroup {
            logs,
            reserved: None,
            source: topic.clone(),
            topic,
            tags: Vec::new(),
        })
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(group in any_group()) {
            let raw = group.encode_to_vec();
            let back = decompress(&compress(&raw), Compression::Lz4, raw.len()).expect("whole");
            prop_assert_eq!(LogGroup::decode(back.as_slice()).expect("a group"), group);
        }

        #[test]
        fn garbage_is_refused_and_never_longer_than_announced(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            raw_bytes in 0_usize..400,
        ) {
            for compression in [Compression::Lz4, Compression::Deflate] {
                if let Ok(raw) = decompress(&body, compression, raw_bytes) {
                    prop_assert_eq!(raw.len(), raw_bytes);
                }
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let huge = decompress(b"x", Compression::Lz4, BODY_BYTES_MAX + 1);
        assert!(matches!(huge, Err(BodyError::TooLarge(_))));
        let zeros = compress(&[0; 100_000]);
        assert!(decompress(&zeros, Compression::Lz4, 99_999).is_err());
    }
}
