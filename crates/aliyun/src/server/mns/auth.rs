//! Whether a request to the offline MNS is signed by a known key, lately, and whole.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use rules::Timestamp;

use super::refusal::{Refusal, Result};
use crate::{
    mns::Code,
    sign::{self, Credentials},
};

/// Checks the headers that every request must have, and its signature over `target`.
pub(super) fn check(
    request: &Request<Bytes>,
    target: &str,
    known: &[Credentials],
    skew_max: Duration,
    now: Timestamp,
) -> Result<()> {
    let headers = request.headers();
    let authorization = header(headers, "authorization").ok_or_else(|| {
        let message = "Authorization header is required.";
        Refusal::new(Code::MissingAuthorizationHeader, message)
    })?;
    let date = header(headers, "x-mns-date").or_else(|| header(headers, "date"));
    let date =
        date.ok_or_else(|| Refusal::new(Code::MissingDateHeader, "Date header is required."))?;
    if header(headers, "x-mns-version").is_none() {
        let message = "x-mns-version header is required.";
        return Err(Refusal::new(Code::MissingVersionHeader, message));
    }
    let (key_id, signature) = authorization
        .strip_prefix("MNS ")
        .and_then(|rest| rest.split_once(':'))
        .ok_or_else(|| {
            let message = "The Authorization header format is invalid.";
            Refusal::new(Code::InvalidAuthorizationHeader, message)
        })?;
    let date = sign::parse_http_date(date).ok_or_else(|| {
        Refusal::new(
            Code::InvalidDateHeader,
            "The Date header format is invalid.",
        )
    })?;
    let credentials = known.iter().find(|known| known.key_id == key_id);
    let credentials = credentials.ok_or_else(|| {
        Refusal::new(
            Code::InvalidAccessKeyId,
            "The AccessKey Id you provided is not exist.",
        )
    })?;
    let text = sign::mns::string_to_sign(request.method().as_str(), target, headers);
    let ours = sign::mns::signature(credentials.secret(), &text);
    if !sign::same(&ours, signature) {
        let message = "The request signature we calculated does not match the signature you \
             provided. Check your key and signing method.";
        return Err(Refusal::new(Code::SignatureDoesNotMatch, message));
    }
    if !credentials.takes_token(header(headers, "security-token")) {
        let message = "The security token does not belong to the AccessKey Id.";
        return Err(Refusal::new(Code::AccessDenied, message));
    }
    if u128::from(now.since(date).unsigned_abs()) > skew_max.as_micros() {
        let message = "The http request you sent is expired.";
        return Err(Refusal::new(Code::TimeExpired, message));
    }
    let digest = header(headers, "content-md5");
    if digest.is_some_and(|digest| digest != sign::mns::content_md5(request.body())) {
        let message = "The Content-MD5 you specified is invalid.";
        return Err(Refusal::new(Code::InvalidDegist, message));
    }
    Ok(())
}

/// A header's text, unless it is empty.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    (!value.is_empty()).then_some(value)
}
