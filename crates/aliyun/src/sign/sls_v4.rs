//! Version 4 of the signature of SLS: `SLS4-HMAC-SHA256 Credential=…,Signature=<hex>`.
//!
//! Which headers are signed is not transmitted: both sides apply the same rule.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use rules::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Credentials, HeaderError, set, sls_v1::API_VERSION, sorted_lines, split_target};

/// The name of the scheme, with which the Authorization header begins.
pub const SCHEME: &str = "SLS4-HMAC-SHA256";

/// What the signature stands for, beside the request: a day, a region and this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The day in UTC, `20261122`.
    pub day: String,
    /// The region, `cn-hangzhou`.
    pub region: String,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/sls/aliyun_v4_request", self.day, self.region)
    }
}

/// What an Authorization header of this scheme says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The access key's id.
    pub key_id: String,
    /// What the signature stands for.
    pub scope: Scope,
    /// The signature, in hexadecimal.
    pub signature: String,
}

impl Authorization {
    /// Reads the value of an Authorization header; `None` when it is not of this scheme.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let rest = header.strip_prefix(SCHEME)?.trim_start();
        let (credential, signature) = rest.split_once(',')?;
        let credential = credential.trim().strip_prefix("Credential=")?;
        let mut parts = credential.split('/');
        let mut part = || parts.next();
        let (key_id, day, region) = (part()?, part()?, part()?);
        if (part(), part(), part()) != (Some("sls"), Some("aliyun_v4_request"), None) {
            return None;
        }
        Some(Self {
            key_id: key_id.to_owned(),
            scope: Scope {
                day: day.to_owned(),
                region: region.to_owned(),
            },
            signature: signature.trim().strip_prefix("Signature=")?.to_owned(),
        })
    }
}

/// The digest of a body as `x-log-content-sha256` has it.
#[must_use]
pub fn content_sha256(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// `at` as `x-log-date` has it: `20261122T205837Z`.
#[must_use]
pub fn log_date(at: Timestamp) -> String {
    let seconds = Timestamp::from_micros(at.micros().max(0)).to_string();
    // `2026-11-22T20:58:37.000Z`, less its separators and its fraction.
    let digits = seconds.chars().take(19).filter(|c| !"-:".contains(*c));
    digits.chain(std::iter::once('Z')).collect()
}

/// The request in the form whose digest is signed. `content_sha256` is that of its body.
#[must_use]
pub fn canonical_request(
    method: &str,
    target: &str,
    headers: &HeaderMap,
    content_sha256: &str,
) -> String {
    let (path, query) = split_target(target);
    let signed = |name: &str| {
        let log = name.starts_with("x-log-") && !name.starts_with("x-log-meta-");
        log || name.starts_with("x-acs-") || name == "content-type" || name == "host"
    };
    let lines = sorted_lines(headers, signed);
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    format!(
        "{method}\n{path}\n{}\n{}\n\n{}\n{content_sha256}",
        canonical_query(query),
        lines.join("\n"),
        names.join(";"),
    )
}

/// Sorted, escaped as RFC 3986 has it; where a value is empty, so is its equals sign.
fn canonical_query(query: &str) -> String {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let mut pairs: Vec<_> = pairs.map(|(k, v)| (escape(&k), escape(&v))).collect();
    pairs.sort();
    let pair = |(key, value): &(String, String)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    };
    let pairs: Vec<String> = pairs.iter().map(pair).collect();
    pairs.join("&")
}

/// Escapes all but the unreserved characters of RFC 3986.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes all that is written");
        }
    }
    escaped
}

/// What is signed. `log_date` is the value of `x-log-date`.
#[must_use]
pub fn string_to_sign(log_date: &str, scope: &Scope, canonical_request: &str) -> String {
    let digest = content_sha256(canonical_request.as_bytes());
    format!("{SCHEME}\n{log_date}\n{scope}\n{digest}")
}

/// The signature of what is to be signed.
#[must_use]
pub fn signature(secret: &str, scope: &Scope, string_to_sign: &str) -> String {
    let key = format!("aliyun_v4{secret}").into_bytes();
    let parts = [&scope.day, &scope.region, "sls", "aliyun_v4_request"];
    let key = parts.iter().fold(key, |key, part| hmac_sha256(&key, part));
    hex::encode(hmac_sha256(&key, string_to_sign))
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let keyed = Hmac::<Sha256>::new_from_slice(key);
    let mut keyed = keyed.expect("HMAC takes keys of any length");
    keyed.update(text.as_bytes());
    keyed.finalize().into_bytes().to_vec()
}

/// Completes the headers of a request that is sent at `now`. `Host`, `Content-Type`, and
/// `x-log-bodyrawsize` where the body is compressed, are the caller's.
///
/// # Errors
/// When the key id or the token cannot be in a header.
pub fn sign(
    (method, target): (&str, &str),
    headers: &mut HeaderMap,
    body: &[u8],
    credentials: &Credentials,
    region: &str,
    now: Timestamp,
) -> Result<(), HeaderError> {
    let date = log_date(now);
    let digest = content_sha256(body);
    set(headers, "x-log-date", &date)?;
    set(headers, "x-log-apiversion", API_VERSION)?;
    set(headers, "x-log-content-sha256", &digest)?;
    if !headers.contains_key("x-log-bodyrawsize") {
        set(headers, "x-log-bodyrawsize", &body.len().to_string())?;
    }
    if let Some(token) = &credentials.security_token {
        set(headers, "x-acs-security-token", token)?;
    }
    let scope = Scope {
        day: date.chars().take(8).collect(),
        region: region.to_owned(),
    };
    let canonical = canonical_request(method, target, headers, &digest);
    let text = string_to_sign(&date, &scope, &canonical);
    let signature = signature(&credentials.secret, &scope, &text);
    let key_id = &credentials.key_id;
    let authorization = format!("{SCHEME} Credential={key_id}/{scope},Signature={signature}");
    set(headers, "authorization", &authorization)
}
