//! Every recorded request of the vendor's clients gets the recorded status and an equivalent
//! body, but for two counts. What was recorded came from a stub, which counts all logs of the
//! interval in a histogram whatever the search; a histogram is of what the search finds. That
//! the recordings contradict themselves there is a test of its own; what is expected instead is
//! what the same search was recorded to find.

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

impl Recording {
    fn is_histogram(&self) -> bool {
        self.target.contains("type=histogram")
    }

    /// What is searched for, as it was escaped; `None` for everything.
    fn search(&self) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|part| part.strip_prefix("query="))
    }

    fn host(&self) -> &str {
        let mut headers = self.headers.iter();
        let host = headers.find(|(name, _)| name.eq_ignore_ascii_case("host"));
        host.map_or("", |(_, host)| host)
    }

    fn recorded(&self, header: &str) -> u64 {
        let value = &self.reply_headers[header];
        value.parse().expect("a number")
    }
}

/// The GetLogs that was recorded in the same project with the same search as a histogram: it
/// found all there was to find, and nothing was put between the two.
fn found_by_the_same_search<'a>(all: &'a [Recording], histogram: &Recording) -> &'a Recording {
    let place = all.iter().position(|one| one.name == histogram.name);
    let before = &all[place.expect("it is one of them") - 1];
    assert_eq!(
        (before.method.as_str(), before.host(), before.search()),
        ("GET", histogram.host(), histogram.search()),
        "{}",
        histogram.name
    );
    assert!(before.target.contains("type=log") && before.target.contains("line=10&"));
    assert!(before.recorded("x-log-count") < 10);
    before
}

#[test]
fn recorded_histograms_contradict_the_searches_recorded_before_them() {
    let all = recordings();
    let with_search = |one: &&Recording| one.is_histogram() && one.search().is_some();
    let mut contradictions = 0;
    for histogram in all.iter().filter(with_search) {
        let name = &histogram.name;
        let search = found_by_the_same_search(&all, histogram);
        let counted = histogram.recorded("x-log-count");
        // Not what the search found, but every log that it looked at.
        assert_ne!(counted, search.recorded("x-log-count"), "{name}");
        assert_eq!(counted, search.recorded("x-log-processed-rows"), "{name}");
        contradictions += 1;
    }
    assert_eq!(contradictions, 2);
}

/// The reply that is expected for a recording.
fn expected_of(all: &[Recording], recording: &Recording) -> (Json, u64) {
    let mut reply = timeless(recording.reply.clone());
    let mut count = 0;
    if recording.is_histogram() {
        count = recording.recorded("x-log-count");
        if recording.search().is_some() {
            count = found_by_the_same_search(all, recording).recorded("x-log-count");
            reply[0]["count"] = count.into();
        }
    }
    (reply, count)
}

fn assert_replayed(
    server: &SlsServer,
    all: &[Recording],
    recording: &Recording,
    request: &Request<Bytes>,
) {
    let name = &recording.name;
    let response = server.answer(request);
    assert_eq!(response.status().as_u16(), recording.status, "{name}");
    let (expected, count) = expected_of(all, recording);
    assert_eq!(timeless(json_of(&response)), expected, "{name}");
    for (header, value) in &recording.reply_headers {
        let ours = response.headers().get(header);
        let ours = ours.map(|ours| ours.to_str().expect("plain"));
        let value = match recording.is_histogram() && header == "x-log-count" {
            true => count.to_string(),
            false => value.clone(),
        };
        assert_eq!(ours, Some(value.as_str()), "{name}: {header}");
    }
    assert!(response.headers().contains_key("x-log-requestid"), "{name}");
}

#[test]
fn every_recording_is_answered_as_it_was() {
    let server = open(options());
    let recordings = recordings();
    assert_eq!(recordings.len(), 47);
    for recording in &recordings {
        assert_replayed(&server, &recordings, recording, &request(recording));
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
    let recordings = recordings();
    for recording in &recordings {
        let mut request = request(recording);
        // A client that takes the server for its proxy writes the whole address.
        let host = request.headers()["host"].to_str().expect("plain");
        let target = format!("http://{host}{}", recording.target);
        *request.uri_mut() = target.parse().expect("a target");
        assert_replayed(&server, &recordings, recording, &request);
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
