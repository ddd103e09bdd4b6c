//! Version 1 of the signature of SLS: `LOG <key id>:<base64 of HMAC-SHA1>`.
//!
//! The query is signed sorted and decoded, however it travels.

use http::HeaderMap;
use md5::{Digest as _, Md5};
use rules::Timestamp;

use super::{
    Credentials, HeaderError, hmac_sha1, http_date, set, sorted_lines, split_target, text_of,
};

/// The version of the interface that every request names.
pub const API_VERSION: &str = "0.6.0";

/// The Content-MD5 of SLS: the hexadecimal digest of the body as it travels, in upper case.
#[must_use]
pub fn content_md5(body: &[u8]) -> String {
    hex::encode_upper(Md5::digest(body))
}

/// What is signed. Where `x-log-date` is given, it stands for `date`.
#[must_use]
pub fn string_to_sign(method: &str, target: &str, headers: &HeaderMap) -> String {
    let date = match text_of(headers, "x-log-date") {
        "" => text_of(headers, "date"),
        date => date,
    };
    let md5 = text_of(headers, "content-md5");
    let kind = text_of(headers, "content-type");
    let mut text = format!("{method}\n{md5}\n{kind}\n{date}\n");
    let signed = |name: &str| {
        (name.starts_with("x-log-") || name.starts_with("x-acs-")) && name != "x-log-date"
    };
    for line in sorted_lines(headers, signed) {
        text.push_str(&line);
        text.push('\n');
    }
    let (path, query) = split_target(target);
    text.push_str(path);
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    pairs.sort();
    for (place, (key, value)) in pairs.iter().enumerate() {
        text.push(if place == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// The signature of what is to be signed.
#[must_use]
pub fn signature(secret: &str, string_to_sign: &str) -> String {
    hmac_sha1(secret, string_to_sign)
}

/// Completes the headers of a request that is sent at `now`. `Content-Type`, and
/// `x-log-bodyrawsize` where the body is compressed, are the caller's.
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
    set(headers, "x-log-apiversion", API_VERSION)?;
    set(headers, "x-log-signaturemethod", "hmac-sha1")?;
    if !headers.contains_key("x-log-bodyrawsize") {
        set(headers, "x-log-bodyrawsize", &body.len().to_string())?;
    }
    if !body.is_empty() {
        set(headers, "content-md5", &content_md5(body))?;
    }
    if let Some(token) = &credentials.security_token {
        set(headers, "x-acs-security-token", token)?;
    }
    let text = string_to_sign(method, target, headers);
    let signature = signature(&credentials.secret, &text);
    let authorization = format!("LOG {}:{signature}", credentials.key_id);
    set(headers, "authorization", &authorization)
}
