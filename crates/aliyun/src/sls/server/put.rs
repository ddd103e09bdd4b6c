//! Logs in.

use std::sync::PoisonError;

use bytes::Bytes;
use http::{Response, StatusCode};
use prost::Message as _;

use super::{
    Asked, Kept, SlsServer,
    reply::{Refusal, empty},
    unkept,
};
use crate::sls::proto::{
    BODY_BYTES_MAX, BodyError, Compression, GROUP_LOGS_MAX, LogGroup, decompress,
};

/// How old a log may be, in seconds: a week.
const PAST_SECONDS: i64 = 168 * 3_600;
/// How far a log may be ahead, in seconds.
const FUTURE_SECONDS: i64 = 15 * 60;

impl SlsServer {
    pub(super) fn put_logs(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        if asked.path.last() == Some(&"route") {
            check_hash_key(asked.parameter("key"))?;
        }
        // A missing store is said before a body that cannot be read.
        self.read(|state| state.logstore(asked, store).map(|_| ()))?;
        let raw = raw_body(asked)?;
        let group = LogGroup::decode(raw.as_slice())
            .map_err(|_| Refusal::bad("PostBodyInvalid", "Protobuf content cannot be parsed."))?;
        if group.logs.len() > GROUP_LOGS_MAX {
            let message = format!("logs must be less than or equal to {GROUP_LOGS_MAX}");
            return Err(Refusal::bad("PostBodyTooLarge", message));
        }
        if !self.options.any_date {
            check_times(&group, asked.now_seconds())?;
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Kept { state, journal } = &mut *kept;
        state.logstore(asked, store)?;
        let project = state.project(asked)?.0.to_owned();
        if state.logs + group.logs.len() > self.options.logs_max {
            let message = "the offline server keeps no more logs; delete a log store";
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "WriteQuotaExceed",
                message,
            ));
        }
        if let Some(journal) = journal {
            let kept = journal.keep_logs(&project, store, &raw);
            kept.map_err(|error| unkept(&error))?;
        }
        state.put(&project, store, group);
        Ok(empty())
    }
}

/// A hash key is 128 bits in hexadecimal.
fn check_hash_key(key: Option<&str>) -> Result<(), Refusal> {
    let key = key.unwrap_or("");
    if key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    let message = format!("hash key {key} is invalid");
    Err(Refusal::parameter(message))
}

/// The body as it was before compression.
fn raw_body(asked: &Asked<'_>) -> Result<Vec<u8>, Refusal> {
    let kind = asked.header("content-type").unwrap_or("");
    if !kind.starts_with("application/x-protobuf") {
        let message = format!("Content-Type {kind} is unsupported.");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, "InvalidContentType", message));
    }
    let raw_bytes = match asked.header("x-log-bodyrawsize") {
        None => {
            let message = "x-log-bodyrawsize does not exist in header when it is necessary.";
            return Err(Refusal::bad("MissingBodyRawSize", message));
        }
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Refusal::bad("InvalidBodyRawSize", "x-log-bodyrawsize is invalid."))?,
    };
    let too_large = || {
        let message = format!("the body is above {BODY_BYTES_MAX} bytes");
        Refusal::bad("PostBodyTooLarge", message)
    };
    match asked.header("x-log-compresstype").unwrap_or("") {
        "" if asked.body.len() > BODY_BYTES_MAX => Err(too_large()),
        "" if asked.body.len() != raw_bytes => Err(Refusal::bad(
            "InvalidBodyRawSize",
            "x-log-bodyrawsize is not the length of the body.",
        )),
        "" => Ok(asked.body.to_vec()),
        name => {
            let compression = Compression::parse(name).ok_or_else(|| {
                let message = format!("x-log-compresstype {name} is unsupported.");
                Refusal::bad("InvalidCompressType", message)
            })?;
            decompress(asked.body, compression, raw_bytes).map_err(|error| match error {
                BodyError::TooLarge(_) => too_large(),
                _ => Refusal::bad("PostBodyUncompressError", error.to_string()),
            })
        }
    }
}

fn check_times(group: &LogGroup, now: i64) -> Result<(), Refusal> {
    let times = now.saturating_sub(PAST_SECONDS)..=now.saturating_add(FUTURE_SECONDS);
    if group
        .logs
        .iter()
        .all(|log| times.contains(&log.time.into()))
    {
        return Ok(());
    }
    let message = "The post data time is out of range";
    Err(Refusal::bad("PostBodyInvalid", message))
}
