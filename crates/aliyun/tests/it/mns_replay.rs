//! Every recorded call of the vendor's SDKs, played to the offline MNS: the same status and an
//! equivalent body.
//!
//! Handles are the server's own, so a request that shows one is given ours and signed anew; all
//! others carry the SDK's own signature.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use aliyun::{
    server::{
        Offline as _,
        mns::{OfflineMns, Settings},
    },
    sign::{self, Credentials},
    xml::Element,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request};
use rules::{Clock, Timestamp};
use serde::Deserialize;
use tokio::time::Instant;

/// One recorded call.
#[derive(Deserialize)]
struct Recorded {
    name: String,
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: String,
    status: u16,
    reply_headers: BTreeMap<String, String>,
    reply: String,
}

/// The time of the recording, running with tokio's.
struct Then {
    begun: Instant,
    at: Timestamp,
}

impl Clock for Then {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.begun.elapsed().as_micros()).expect("a short test");
        self.at.plus_micros(passed)
    }
}

/// What the service makes up: identities and times.
const MADE_UP: [&str; 8] = [
    "MessageId",
    "ReceiptHandle",
    "RequestId",
    "CreateTime",
    "LastModifyTime",
    "EnqueueTime",
    "NextVisibleTime",
    "FirstDequeueTime",
];

/// Asserts that `ours` says what was recorded, and learns which handle of ours stands for which.
fn equivalent(recorded: &Element, ours: &Element, handles: &mut HashMap<String, String>, at: &str) {
    assert_eq!(recorded.name, ours.name, "{at}");
    let names = |element: &Element| -> Vec<String> {
        let names = element.children.iter().map(|child| child.name.clone());
        names.collect()
    };
    assert_eq!(names(recorded), names(ours), "{at}: {}", ours.name);
    for (recorded, ours) in recorded.children.iter().zip(&ours.children) {
        equivalent(recorded, ours, handles, at);
    }
    let name = recorded.name.as_str();
    if name == "ReceiptHandle" {
        handles.insert(recorded.text.clone(), ours.text.clone());
    }
    if !MADE_UP.contains(&name) {
        assert_eq!(recorded.text, ours.text, "{at}: {name}");
    } else if name == "MessageId" {
        assert_eq!(recorded.text.len(), ours.text.len(), "{at}: {name}");
    } else if name.ends_with("Time") {
        // Of a message that nobody consumed the recording has 0, the service its sending.
        let same_unit = recorded.text == "0" || recorded.text.len() == ours.text.len();
        assert!(same_unit, "{at}: {name} {}", ours.text);
    }
}

fn with_our_handles(text: &str, handles: &HashMap<String, String>) -> String {
    handles
        .iter()
        .fold(text.to_owned(), |text, (theirs, ours)| {
            text.replace(theirs, ours)
        })
}

/// The recorded request, with our handles.
fn request(call: &Recorded, handles: &HashMap<String, String>) -> Request<Bytes> {
    let target = with_our_handles(&call.target, handles);
    let body = with_our_handles(&call.body, handles);
    let header = |(name, value): (&String, &String)| {
        let name: HeaderName = name.parse().expect("a header's name");
        (name, value.parse().expect("a header's value"))
    };
    let mut headers: HeaderMap = call.headers.iter().map(header).collect();
    if body != call.body {
        let digest = sign::mns::content_md5(body.as_bytes());
        headers.insert("content-md5", digest.parse().expect("base64"));
    }
    if target != call.target || body != call.body {
        let text = sign::mns::string_to_sign(&call.method, &target, &headers);
        let signature = sign::mns::signature("testsecret", &text);
        let authorization = format!("MNS testid:{signature}");
        headers.insert("authorization", authorization.parse().expect("base64"));
    }
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(target)
        .body(Bytes::from(body))
        .expect("a request");
    *request.headers_mut() = headers;
    request
}

#[tokio::test(start_paused = true)]
async fn every_recorded_call_is_answered_as_it_was() {
    let lines = include_str!("../data/mns.jsonl").lines();
    let calls: Vec<Recorded> = lines
        .map(|line| serde_json::from_str(line).expect("a recorded call"))
        .collect();
    assert_eq!(calls.len(), 48);
    let date = |call: &Recorded| {
        sign::parse_http_date(&call.headers["date"]).expect("every call has a date")
    };
    let clock = Arc::new(Then {
        begun: Instant::now(),
        at: date(&calls[0]),
    });
    let settings = Settings::new(Credentials::new("testid", "testsecret"));
    let server = OfflineMns::new(settings, clock.clone()).expect("nothing is kept");
    let mut handles = HashMap::new();
    for call in &calls {
        let ahead = date(call).since(clock.now());
        tokio::time::advance(Duration::from_micros(u64::try_from(ahead).unwrap_or(0))).await;
        let response = server.answer(request(call, &handles)).await;
        let (head, body) = response.into_parts();
        let at = format!("{}: {body:?}", call.name);
        assert_eq!(head.status.as_u16(), call.status, "{at}");
        for (name, value) in &call.reply_headers {
            let ours = head
                .headers
                .get(name)
                .map(|value| value.to_str().expect("ASCII"));
            assert_eq!(ours, Some(value.as_str()), "{at}: {name}");
        }
        assert_eq!(head.headers["x-mns-request-id"].len(), 24, "{at}");
        if call.reply.is_empty() {
            assert!(body.is_empty(), "{at}");
        } else {
            let recorded = Element::parse(call.reply.as_bytes()).expect("recorded XML");
            let ours = Element::parse(&body).expect("XML");
            equivalent(&recorded, &ours, &mut handles, &at);
        }
    }
    // The recording shows nearly as many handles as it has messages received.
    assert!(handles.len() >= 10, "{}", handles.len());
}
