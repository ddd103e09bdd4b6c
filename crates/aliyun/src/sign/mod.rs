//! The signatures of MNS, SLS version 1 and SLS version 4: for a client that signs, and for a
//! server that verifies.
//!
//! Sources: shared protocol notes of both services, checked against signatures of the vendor's
//! own SDKs (`tests/data/signatures.jsonl`). A secret never leaves [`Credentials`].
//!
//! # Layout
//! - [`mns`], [`sls_v1`], [`sls_v4`]: one signature each. `sign` completes the headers of a
//!   request; `string_to_sign` and `signature` are what a server computes again.

pub mod mns;
pub mod sls_v1;
pub mod sls_v4;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use rules::Timestamp;

/// How far a request's date may be from the server's time: 15 minutes.
pub const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// Who signs.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id, which travels in the clear.
    pub key_id: String,
    secret: String,
    security_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, secret)", self.key_id)
    }
}

impl Credentials {
    /// A long-lived access key.
    #[must_use]
    pub fn new(key_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            key_id: key_id.into(),
            secret: secret.into(),
            security_token: None,
        }
    }

    /// The secret, for a server that verifies.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether `given` may come with these: their own token, or any where none is known, for an
    /// offline server lends no keys.
    pub(crate) fn takes_token(&self, given: Option<&str>) -> bool {
        let Some(ours) = &self.security_token else {
            return true;
        };
        given.is_some_and(|given| same(ours, given))
    }

    /// The same with the token of the security token service that lent them.
    #[must_use]
    pub fn with_security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }
}

/// A header of a request cannot be sent: it holds a control character, or one beyond ASCII.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header `{0}` holds what no header may hold")]
pub struct HeaderError(pub &'static str);

/// `at` as HTTP writes dates: `Sun, 22 Nov 2026 20:58:31 GMT`.
#[must_use]
pub fn http_date(at: Timestamp) -> String {
    let micros = u64::try_from(at.micros()).unwrap_or(0);
    // The last that the format can write is in the year 9999.
    let seconds = (micros / 1_000_000).min(253_402_300_799);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The time that an HTTP date means; `None` when it is none.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let at: SystemTime = httpdate::parse_http_date(text).ok()?;
    let since_epoch = at.duration_since(UNIX_EPOCH).ok()?;
    let micros = i64::try_from(since_epoch.as_micros()).ok()?;
    Some(Timestamp::from_micros(micros))
}

/// Whether two signatures are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes());
    let differences = differences.fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differences) == 0
}

/// The base64 of the HMAC-SHA1 of `text`.
fn hmac_sha1(secret: &str, text: &str) -> String {
    let keyed = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes());
    let mut keyed = keyed.expect("HMAC takes keys of any length");
    keyed.update(text.as_bytes());
    BASE64.encode(keyed.finalize().into_bytes())
}

/// The value of a header as text, empty when it is absent or no text.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}

/// `name:value` of each header that `chosen` picks, sorted by name. HTTP header names are held
/// in lower case here.
fn sorted_lines(headers: &HeaderMap, chosen: impl Fn(&str) -> bool) -> Vec<String> {
    let picked = headers.keys().map(HeaderName::as_str).filter(|n| chosen(n));
    let mut names: Vec<&str> = picked.collect();
    names.sort_unstable();
    let line = |name: &str| format!("{name}:{}", text_of(headers, name).trim());
    names.into_iter().map(line).collect()
}

/// A request's target as its path and its query, the latter without the `?`.
fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), HeaderError> {
    let value = HeaderValue::from_str(value).map_err(|_| HeaderError(name))?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

#[cfg(test)]
mod tests;
