//! Every recorded request of the vendor's clients gets the recorded status and an equivalent
//! body. What was recorded came from a stub, which counts all logs in a histogram whatever the
//! search: there, ours says how many the search finds.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Recording {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_base64: String,
    status: u16,
    reply_headers: std::collections::BTreeMap<String, String>,
    reply: Json,
}

fn recordings() -> Vec<Recording> {
    let lines = include_str!("../../../../tests/data/sls_transcripts.jsonl").lines();
    let recording = |line| serde_json::from_str(line).expect("a recording");
    lines.map(recording).collect()
}

fn request(recording: &Recording) -> Request<Bytes> {
    let body = BASE64.decode(&recording.body_base64).expect("base64");
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = recording.method.parse().expect("a method");
    *request.uri_mut() = recording.target.parse().expect("a target");
    for (name, value) in &recording.headers {
        let name: http::HeaderName = name.parse().expect("a name");
        let value = HeaderValue::from_str(value).expect("a value");
        request.headers_mut().insert(name, value);
    }
    request
}

/// Leaves out of a reply what depends on the time.
fn timeless(mut reply: Json) -> Json {
    for pointer in ["/lastModifyTime", "/meta/elapsedMillisecond"] {
        if let Some(value) = reply.pointer_mut(pointer) {
            *value = Json::Null;
        }
    }
    reply
}

fn assert_replayed(server: &SlsServer, recording: &Recording, request: &Request<Bytes>) {
    let name = &recording.name;
    let response = server.answer(request);
    assert_eq!(response.status().as_u16(), recording.status, "{name}");
    let searched = recording.target.contains("type=histogram&query=")
        || recording.target.contains("type=histogram") && recording.target.contains("query=");
    let mut expected = timeless(recording.reply.clone());
    if searched {
        expected[0]["count"] = 4.into();
    }
    assert_eq!(timeless(json_of(&response)), expected, "{name}");
    for (header, value) in &recording.reply_headers {
        let ours = response.headers().get(header);
        let ours = ours.map(|ours| ours.to_str().expect("plain"));
        let value = if searched && header == "x-log-count" {
            "4"
        } else {
            value
        };
        assert_eq!(ours, Some(value), "{name}: {header}");
    }
    assert!(response.headers().contains_key("x-log-requestid"), "{name}");
}

#[test]
fn every_recording_is_answered_as_it_was() {
    let server = open(options());
    let recordings = recordings();
    assert_eq!(recordings.len(), 47);
    for recording in &recordings {
        assert_replayed(&server, recording, &request(recording));
    }
}

#[test]
fn recordings_can_be_replayed_years_later_and_through_a_proxy() {
    let server = SlsServer::open(
        SlsServerOptions {
            any_date: true,
            ..options()
        },
        Arc::new(SetClock(AtomicI64::new(RECORDED + 100_000_000))),
    );
    let server = server.expect("nothing is in its way");
    for recording in &recordings() {
        let mut request = request(recording);
        // A client that takes the server for its proxy writes the whole address.
        let host = request.headers()["host"].to_str().expect("plain");
        let target = format!("http://{host}{}", recording.target);
        *request.uri_mut() = target.parse().expect("a target");
        assert_replayed(&server, recording, &request);
    }
}

#[test]
fn a_changed_request_is_refused() {
    for recording in &recordings() {
        let server = open(options());
        let mut request = request(recording);
        let target = match recording.target.contains('?') {
            true => format!("{}&x=1", recording.target.trim_end_matches('?')),
            false => format!("{}?x=1", recording.target),
        };
        *request.uri_mut() = target.replace("/&", "/?&").parse().expect("a target");
        let name = &recording.name;
        assert_eq!(server.answer(&request).status(), 401, "{name}");
    }
    for recording in recordings().iter().filter(|r| !r.body_base64.is_empty()) {
        let server = open(options());
        let mut request = request(recording);
        let body = [request.body(), b"x".as_slice()].concat();
        *request.body_mut() = body.into();
        let status = server.answer(&request).status();
        assert!(status == 401 || status == 400, "{}", recording.name);
    }
}

#[test]
fn an_old_request_is_refused() {
    for (recording, seconds) in recordings().iter().zip([910, -910].into_iter().cycle()) {
        let server = open(options());
        let at = Arc::new(SetClock(AtomicI64::new(RECORDED + seconds)));
        let server = SlsServer {
            clock: at,
            ..server
        };
        let response = server.answer(&request(recording));
        let expected = "RequestTimeTooSkewed";
        assert_eq!(
            json_of(&response)["errorCode"],
            expected,
            "{}",
            recording.name
        );
    }
}
