//! The offline server: recordings of the vendor's clients replayed, and what they do not cover.

mod indexes;
mod operations;
mod replay;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use rules::{Clock, Timestamp};
use serde_json::Value as Json;

use super::*;
use crate::{
    sign::{sls_v1, sls_v4},
    sls::proto::{Compression, decompress},
};

/// When the recordings were made: 2026-11-22T20:58:38Z.
const RECORDED: i64 = 1_795_381_118;

/// A clock that stands until it is set, in seconds.
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Relaxed) * 1_000_000)
    }
}

fn credentials() -> Credentials {
    Credentials::new("testid", "testsecret")
}

fn options() -> SlsServerOptions {
    SlsServerOptions::new(credentials())
}

fn clock() -> Arc<SetClock> {
    Arc::new(SetClock(AtomicI64::new(RECORDED)))
}

fn open(options: SlsServerOptions) -> SlsServer {
    SlsServer::open(options, clock()).expect("nothing is in its way")
}

/// Asks as a client of the project `rain` does; each other request in the other version.
fn ask(server: &SlsServer, method: &str, target: &str, body: &[u8]) -> (u16, Json) {
    ask_with(server, (method, target), &[], body)
}

fn ask_with(
    server: &SlsServer,
    (method, target): (&str, &str),
    further: &[(&'static str, &str)],
    body: &[u8],
) -> (u16, Json) {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("rain.sls.local:80"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in further {
        headers.insert(*name, HeaderValue::from_str(value).expect("plain"));
    }
    let now = server.clock.now();
    let signed = if server.requests.load(Relaxed).is_multiple_of(2) {
        sls_v1::sign(method, target, &mut headers, body, &credentials(), now)
    } else {
        let asked = (method, target);
        sls_v4::sign(asked, &mut headers, body, &credentials(), "cn-a", now)
    };
    signed.expect("plain headers");
    let mut request = Request::new(Bytes::copy_from_slice(body));
    *request.method_mut() = method.parse().expect("a method");
    *request.uri_mut() = target.parse().expect("a target");
    *request.headers_mut() = headers;
    let response = server.answer(&request);
    (response.status().as_u16(), json_of(&response))
}

/// The body of a reply, null when it is empty.
fn json_of(response: &Response<Bytes>) -> Json {
    let header = |name: &str| Some(response.headers().get(name)?.to_str().expect("plain"));
    let body = response.body();
    if body.is_empty() {
        assert_eq!(header("content-type"), None, "an empty body of JSON");
        return Json::Null;
    }
    assert_eq!(header("content-type"), Some("application/json"));
    let raw = match header("x-log-compresstype") {
        None => body.to_vec(),
        Some(name) => {
            let compression = Compression::parse(name).expect("known");
            let raw_bytes = header("x-log-bodyrawsize").expect("with a compressed body");
            let raw_bytes = raw_bytes.parse().expect("a number");
            decompress(body, compression, raw_bytes).expect("whole")
        }
    };
    serde_json::from_slice(&raw).expect("JSON")
}

/// The error code of a refusal.
fn code(reply: &(u16, Json)) -> (u16, &str) {
    (reply.0, reply.1["errorCode"].as_str().unwrap_or("none"))
}
