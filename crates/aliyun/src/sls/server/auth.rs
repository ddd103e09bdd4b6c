//! Who asks: the signature of a request, in either version.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use rules::Timestamp;

use super::reply::Refusal;
use crate::sign::{Credentials, SKEW_MAX, parse_http_date, same, sls_v1, sls_v4};

/// A request as far as its signature goes.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

impl Signed<'_> {
    fn text(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Says no unless the request was signed with `credentials`; and, where `now` is given, not
    /// long before or after it.
    pub(super) fn verify(
        &self,
        credentials: &Credentials,
        now: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        if self.text("x-log-apiversion").is_empty() {
            let message = "x-log-apiversion does not exist in http header.";
            return Err(Refusal::bad("MissingAPIVersion", message));
        }
        if self.text("x-log-apiversion") != sls_v1::API_VERSION {
            return Err(Refusal::bad(
                "InvalidAPIVersion",
                "x-log-apiversion must be 0.6.0.",
            ));
        }
        let authorization = self.text("authorization");
        if let Some(v4) = sls_v4::Authorization::parse(authorization) {
            return self.verify_v4(&v4, credentials, now);
        }
        if let Some((id, signature)) = authorization
            .strip_prefix("LOG ")
            .and_then(|rest| rest.split_once(':'))
        {
            return self.verify_v1(id, signature, credentials, now);
        }
        let message = "The Authorization header is missing or malformed.";
        let unauthorized = StatusCode::UNAUTHORIZED;
        Err(Refusal::new(unauthorized, "Unauthorized", message))
    }

    fn verify_v1(
        &self,
        id: &str,
        signature: &str,
        credentials: &Credentials,
        now: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        known(id, credentials)?;
        if self.text("x-log-signaturemethod") != "hmac-sha1" {
            let message = "x-log-signaturemethod must be hmac-sha1.";
            return Err(Refusal::bad("InvalidSignatureMethod", message));
        }
        let date = match self.text("x-log-date") {
            "" => self.text("date"),
            date => date,
        };
        if date.is_empty() {
            let message = "Date does not exist in http header.";
            return Err(Refusal::bad("MissingDate", message));
        }
        in_time(parse_http_date(date), now)?;
        let text = sls_v1::string_to_sign(self.method, self.target, self.headers);
        if !same(signature, &sls_v1::signature(credentials.secret(), &text)) {
            return Err(Refusal::signature());
        }
        // The signature covers the digest only, so that the digest must be there.
        if !self.body.is_empty() {
            self.has_md5(self.text("content-md5"))?;
        }
        Ok(())
    }

    /// Says no unless `digest` is the body's.
    fn has_md5(&self, digest: &str) -> Result<(), Refusal> {
        if digest.eq_ignore_ascii_case(&sls_v1::content_md5(self.body)) {
            return Ok(());
        }
        let message = "Content-MD5 is not the digest of the body.";
        Err(Refusal::bad("PostBodyInvalid", message))
    }

    fn verify_v4(
        &self,
        authorization: &sls_v4::Authorization,
        credentials: &Credentials,
        now: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        known(&authorization.key_id, credentials)?;
        let date = self.text("x-log-date");
        if date.is_empty() {
            let message = "x-log-date does not exist in http header.";
            return Err(Refusal::bad("MissingDate", message));
        }
        in_time(parse_log_date(date), now)?;
        let scope = &authorization.scope;
        let digest = sls_v4::content_sha256(self.body);
        let canonical = sls_v4::canonical_request(self.method, self.target, self.headers, &digest);
        let text = sls_v4::string_to_sign(date, scope, &canonical);
        let expected = sls_v4::signature(credentials.secret(), scope, &text);
        let same_day = date.starts_with(&scope.day);
        if !same(&authorization.signature, &expected) || !same_day {
            return Err(Refusal::signature());
        }
        match self.text("content-md5") {
            "" => Ok(()),
            digest => self.has_md5(digest),
        }
    }
}

fn known(id: &str, credentials: &Credentials) -> Result<(), Refusal> {
    if id == credentials.key_id {
        return Ok(());
    }
    let message = format!("AccessKeyId not found: {id}");
    Err(Refusal::new(
        StatusCode::UNAUTHORIZED,
        "Unauthorized",
        message,
    ))
}

/// Reads `20261122T205837Z`.
fn parse_log_date(text: &str) -> Option<Timestamp> {
    if text.len() != 16 || !text.is_ascii() {
        return None;
    }
    let (day, time) = text.split_once('T')?;
    let part = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    let date = [part(day, 0, 4)?, part(day, 4, 6)?, part(day, 6, 8)?].join("-");
    let time = [part(time, 0, 2)?, part(time, 2, 4)?, part(time, 4, 7)?].join(":");
    format!("{date}T{time}").parse().ok()
}

fn in_time(date: Option<Timestamp>, now: Option<Timestamp>) -> Result<(), Refusal> {
    let Some(date) = date else {
        let message = "The date of the request is in no known format.";
        return Err(Refusal::bad("InvalidDateFormat", message));
    };
    let skew = now.map_or(0, |now| now.since(date).unsigned_abs());
    if Duration::from_micros(skew) <= SKEW_MAX {
        return Ok(());
    }
    let message = "Request time exceeds server time more than 15 minutes.";
    Err(Refusal::bad("RequestTimeTooSkewed", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_version_4_are_read() {
        let at = Timestamp::from_micros(1_795_381_117_000_000);
        assert_eq!(parse_log_date(&sls_v4::log_date(at)), Some(at));
        for text in [
            "",
            "20261122T205837",
            "2026-11-22T20:58",
            "20261132T205837Z",
        ] {
            assert_eq!(parse_log_date(text), None, "{text}");
        }
    }
}
