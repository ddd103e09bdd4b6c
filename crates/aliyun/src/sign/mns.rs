//! The signature of MNS: `MNS <key id>:<base64 of HMAC-SHA1>`.
//!
//! The request's target is signed as it travels, its query included: who escapes differently
//! must do so before signing.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderMap;
use md5::{Digest as _, Md5};
use rules::Timestamp;

use super::{Credentials, HeaderError, hmac_sha1, http_date, set, sorted_lines, text_of};

/// The version of the protocol that every request names.
pub const VERSION: &str = "2015-06-06";

/// The Content-MD5 of MNS: base64 of the hexadecimal digest, not of the digest as in RFC 1864.
#[must_use]
pub fn content_md5(body: &[u8]) -> String {
    BASE64.encode(hex::encode(Md5::digest(body)))
}

/// What is signed. Where `x-mns-date` is given, it stands for `date`.
#[must_use]
pub fn string_to_sign(method: &str, target: &str, headers: &HeaderMap) -> String {
    let date = match text_of(headers, "x-mns-date") {
        "" => text_of(headers, "date"),
        date => date,
    };
    let md5 = text_of(headers, "content-md5");
    let kind = text_of(headers, "content-type");
    let mut text = format!("{method}\n{md5}\n{kind}\n{date}\n");
    for line in sorted_lines(headers, |name| name.starts_with("x-mns-")) {
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(target);
    text
}

/// The signature of what is to be signed.
#[must_use]
pub fn signature(secret: &str, string_to_sign: &str) -> String {
    hmac_sha1(secret, string_to_sign)
}

/// Completes the headers of a request that is sent at `now`: date, version, digest and type of
/// a body that is not empty, token and signature.
///
/// # Errors
/// When the key id or the token cannot be in a header.
pub fn sign(
    method: &str,
    target: &str,
    headers: &mut HeaderMap,
    body: &[u8],
    credentials: &Credentials,
    now: Timestamp,
) -> Result<(), HeaderError> {
    set(headers, "date", &http_date(now))?;
    set(headers, "x-mns-version", VERSION)?;
    if !body.is_empty() {
        set(headers, "content-md5", &content_md5(body))?;
        set(headers, "content-type", "text/xml;charset=UTF-8")?;
    }
    if let Some(token) = &credentials.security_token {
        set(headers, "security-token", token)?;
    }
    let text = string_to_sign(method, target, headers);
    let signature = signature(&credentials.secret, &text);
    let authorization = format!("MNS {}:{signature}", credentials.key_id);
    set(headers, "authorization", &authorization)
}
