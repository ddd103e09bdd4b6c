//! The answers to a grab, as bytes on the wire. Those to who cannot win are made beforehand.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use ledger::{Campaign, Win};
use rules::{Missed, Rejected, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::http::{ApiError, request_id::X_REQUEST_ID};

/// A packet as its winner sees it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WonPacket<'a> {
    /// `wave-index`, both from 1, such as `2-17`.
    #[schema(value_type = String)]
    pub(crate) id: rules::PacketId,
    /// The wave, from 1.
    pub(crate) wave: u32,
    /// What it holds, in minor units.
    #[schema(value_type = u64)]
    pub(crate) amount: rules::Fen,
    /// ISO 4217 code.
    pub(crate) currency: &'a str,
    /// The prize's name, for tiered splits.
    pub(crate) label: Option<&'a str>,
}

impl<'a> WonPacket<'a> {
    /// The packet of `win` in `campaign`.
    pub(crate) fn new(campaign: &'a Campaign, win: &Win) -> Self {
        Self {
            id: win.packet,
            wave: win.packet.wave,
            amount: win.amount,
            currency: &campaign.currency,
            label: campaign.label(win.packet.wave, win.tier),
        }
    }
}

#[derive(Serialize)]
struct WonBody<'a> {
    outcome: &'static str,
    packet: WonPacket<'a>,
    claimed_at: Timestamp,
    repeated: bool,
}

/// The body that tells a win.
pub(crate) fn won_body(campaign: &Campaign, win: &Win, repeated: bool) -> Vec<u8> {
    let body = WonBody {
        outcome: "won",
        packet: WonPacket::new(campaign, win),
        claimed_at: win.claimed_at,
        repeated,
    };
    serde_json::to_vec(&body).expect("plain data always serialises")
}

/// The body that tells a miss.
pub(crate) fn missed_body(reason: Missed, next_wave_at: Option<Timestamp>) -> Box<[u8]> {
    let body =
        json!({"outcome": "missed", "reason": reason.as_str(), "next_wave_at": next_wave_at});
    body.to_string().into_bytes().into()
}

/// The body that tells a rejection.
pub(crate) const fn rejected_body(reason: Rejected) -> &'static [u8] {
    match reason {
        Rejected::TooFrequent => br#"{"outcome":"rejected","reason":"too_frequent"}"#,
        Rejected::Discarded => br#"{"outcome":"rejected","reason":"discarded"}"#,
        Rejected::Blocked => br#"{"outcome":"rejected","reason":"blocked"}"#,
        Rejected::NotEligible => br#"{"outcome":"rejected","reason":"not_eligible"}"#,
        Rejected::LimitReached => br#"{"outcome":"rejected","reason":"limit_reached"}"#,
    }
}

/// 200 with `body`, never cached.
pub(crate) fn ok(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer that tells `error` of request `request_id`, as bytes behind what `answers` holds:
/// the same as hyper sends.
pub(crate) fn write_error(error: &ApiError, request_id: &str, date: &[u8], answers: &mut Vec<u8>) {
    let body = error.body(request_id);
    let (status, reason) = (error.status, error.status.canonical_reason());
    let reason = reason.unwrap_or("Error");
    let retry_after = error.retry_after_seconds;
    let retry_after = retry_after.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
    let head = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         {retry_after}{X_REQUEST_ID}: {request_id}\r\ncontent-length: {}\r\ndate: ",
        status.as_u16(),
        body.len(),
    );
    answers.extend_from_slice(head.as_bytes());
    answers.extend_from_slice(date);
    answers.extend_from_slice(b"\r\n\r\n");
    answers.extend_from_slice(&body);
}

/// The same answer as [`ok`] with hyper's own headers, as bytes behind what `answers` holds.
pub(crate) fn write_ok(body: &[u8], date: &[u8], answers: &mut Vec<u8>) {
    let mut digits = [0; 20];
    answers.extend_from_slice(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: ",
    );
    answers.extend_from_slice(decimal(body.len(), &mut digits));
    answers.extend_from_slice(b"\r\ndate: ");
    answers.extend_from_slice(date);
    answers.extend_from_slice(b"\r\n\r\n");
    answers.extend_from_slice(body);
}

/// `number` in decimal digits, at the end of `digits`.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[first..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::response::IntoResponse as _;

    use super::*;
    use crate::http::error::REQUEST_ID;

    /// Status, headers and body.
    fn parts(answer: &[u8]) -> (u16, HashMap<String, Vec<u8>>, Vec<u8>) {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(answer).expect("an answer");
        let httparse::Status::Complete(head) = parsed else {
            panic!("half an answer");
        };
        let (code, body) = (response.code.expect("a code"), answer[head..].to_vec());
        let headers = response.headers.iter();
        let headers = headers.map(|header| (header.name.to_owned(), header.value.to_owned()));
        (code, headers.collect(), body)
    }

    #[tokio::test]
    async fn an_error_in_front_of_hyper_is_the_one_behind_it() {
        let error = || ApiError::unavailable("ask \"again\"");
        let mut answers = Vec::new();
        write_error(&error(), "id-1", b"now", &mut answers);
        let (code, headers, body) = parts(&answers);
        let long = REQUEST_ID.sync_scope("id-1".into(), || error().into_response());
        assert_eq!(code, long.status().as_u16());
        let (long, long_body) = long.into_parts();
        let long_body = axum::body::to_bytes(long_body, 1_000).await.expect("bytes");
        assert_eq!(body, long_body);
        let mut expected = HashMap::<_, Vec<u8>>::new();
        for (name, value) in &long.headers {
            expected.insert(name.as_str().to_owned(), value.as_bytes().to_vec());
        }
        // What the server and hyper add.
        expected.insert(X_REQUEST_ID.to_owned(), b"id-1".to_vec());
        expected.insert("content-length".to_owned(), body.len().to_string().into());
        expected.insert("date".to_owned(), b"now".to_vec());
        assert_eq!(headers, expected);
    }

    #[test]
    fn bodies_are_the_contract_s() {
        let at = Timestamp::from_micros(1_500_000);
        for reason in Missed::ALL {
            let body: serde_json::Value =
                serde_json::from_slice(&missed_body(reason, Some(at))).expect("JSON");
            assert_eq!(body["outcome"], "missed");
            assert_eq!(body["reason"], reason.as_str());
            assert_eq!(body["next_wave_at"], "1970-01-01T00:00:01.500Z");
        }
        for reason in Rejected::ALL {
            let body: serde_json::Value =
                serde_json::from_slice(rejected_body(reason)).expect("JSON");
            assert_eq!(body["outcome"], "rejected");
            assert_eq!(body["reason"], reason.as_str());
        }
    }
}
