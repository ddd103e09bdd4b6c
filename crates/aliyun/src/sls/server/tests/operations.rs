//! Each operation, and what it refuses.

use prost::Message as _;
use serde_json::json;

use super::*;
use crate::sls::proto::{Content, Log, LogGroup, LogTag, compress};

pub(super) const INDEX: &str = r#"{"line": {"token": [" ", ":", ","], "caseSensitive": false},
    "keys": {"outcome": {"type": "text", "doc_value": true, "token": [" "]},
             "weight": {"type": "long", "doc_value": true},
             "latency": {"type": "double", "doc_value": true},
             "hidden": {"type": "long"}}}"#;

pub(super) fn server_with_store(options: SlsServerOptions) -> SlsServer {
    let server = open(options);
    assert_eq!(
        ask(&server, "POST", "/", br#"{"projectName": "rain"}"#).0,
        200
    );
    let store = br#"{"logstoreName": "grabs", "ttl": 7, "shardCount": 1}"#;
    assert_eq!(ask(&server, "POST", "/logstores", store).0, 200);
    server
}

pub(super) fn put(server: &SlsServer, group: &LogGroup) -> (u16, Json) {
    let raw = group.encode_to_vec();
    let further = [
        ("content-type", "application/x-protobuf"),
        ("x-log-compresstype", "lz4"),
        ("x-log-bodyrawsize", &raw.len().to_string()),
    ];
    let asked = ("POST", "/logstores/grabs/shards/lb");
    ask_with(server, asked, &further, &compress(&raw))
}

pub(super) fn group(
    logs: impl IntoIterator<Item = (i64, [(&'static str, &'static str); 3])>,
) -> LogGroup {
    let log = |(time, fields): (i64, [(&str, &str); 3])| {
        Log::new(u32::try_from(time).expect("after 1970"), fields)
    };
    LogGroup {
        logs: logs.into_iter().map(log).collect(),
        topic: Some("t".into()),
        source: Some("10.0.0.1".into()),
        tags: vec![LogTag {
            key: "pod".into(),
            value: "web-1".into(),
        }],
        ..LogGroup::default()
    }
}

pub(super) fn some_grabs() -> LogGroup {
    group([
        (
            RECORDED - 90,
            [("outcome", "won"), ("weight", "1"), ("latency", "1.5")],
        ),
        (
            RECORDED - 30,
            [
                ("outcome", "Missed sold_out"),
                ("weight", "12"),
                ("latency", "2"),
            ],
        ),
        (
            RECORDED - 29,
            [("outcome", "missed"), ("weight", "7"), ("hidden", "3")],
        ),
    ])
}

pub(super) fn get(server: &SlsServer, query: &str) -> (u16, Json) {
    let body = json!({"from": RECORDED - 100, "to": RECORDED, "query": query, "line": 100});
    let body = body.to_string();
    let further = [("accept-encoding", "lz4")];
    let asked = ("POST", "/logstores/grabs/logs");
    ask_with(server, asked, &further, body.as_bytes())
}

/// How many logs a search finds, or why none.
pub(super) fn found(server: &SlsServer, search: &str) -> Result<usize, String> {
    let reply = get(server, search);
    match reply.1["meta"]["count"].as_u64() {
        Some(count) => Ok(count as usize),
        None => Err(code(&reply).1.to_owned()),
    }
}

#[test]
fn a_statement_has_its_limit_and_neither_line_nor_offset() {
    let server = server_with_store(options());
    put(&server, &some_grabs());
    let count = |query: &str| {
        let (from, to) = (RECORDED - 100, RECORDED);
        let body = json!({"from": from, "to": to, "query": query, "line": -1, "offset": 2});
        let asked = ("POST", "/logstores/grabs/logs");
        let reply = ask_with(&server, asked, &[], body.to_string().as_bytes());
        (reply.0, reply.1["meta"]["count"].as_u64())
    };
    assert_eq!(count("* | select outcome"), (200, Some(3)));
    assert_eq!(count("* | select outcome limit 2"), (200, Some(2)));
    assert_eq!(count("*"), (400, None));
    let target = format!(
        "/logstores/grabs?type=log&from={}&to={RECORDED}&line=-1&offset=2&query={}",
        RECORDED - 100,
        "*%7Cselect%20weight%20order%20by%20weight%20desc%20limit%202"
    );
    let (status, rows) = ask(&server, "GET", &target, b"");
    assert_eq!(status, 200, "{rows}");
    assert_eq!(
        (&rows[0]["weight"], &rows[1]["weight"], &rows[2]),
        (&json!("7"), &json!("12"), &Json::Null)
    );
}

#[test]
fn pages_and_histograms() {
    let server = server_with_store(options());
    put(&server, &some_grabs());
    let (from, to) = (RECORDED - 100, RECORDED);
    let times = |further: &str| {
        let target = format!("/logstores/grabs?type=log&from={from}&to={to}{further}");
        let rows = ask(&server, "GET", &target, b"").1;
        let rows = rows.as_array().expect("rows").iter();
        let time = |row: &Json| {
            row["__time__"]
                .as_str()
                .expect("text")
                .parse::<i64>()
                .expect("a time")
        };
        rows.map(|row| RECORDED - time(row)).collect::<Vec<i64>>()
    };
    assert_eq!(times(""), [90, 30, 29]);
    assert_eq!(times("&reverse=true&line=2"), [29, 30]);
    assert_eq!(times("&offset=1&line=1"), [30]);
    assert_eq!(times("&topic=other"), [0_i64; 0]);
    let target = format!("/logstores/grabs?type=histogram&from={from}&to={to}&query=missed");
    assert_eq!(
        ask(&server, "GET", &target, b"").1,
        json!([
            {"from": from, "to": from + 60, "count": 0, "progress": "Complete"},
            {"from": from + 60, "to": to, "count": 2, "progress": "Complete"},
        ])
    );
    for (from, to) in [(RECORDED, RECORDED), (RECORDED, 5), (i64::MAX, i64::MIN)] {
        let target = format!("/logstores/grabs?type=log&from={from}&to={to}");
        let reply = ask(&server, "GET", &target, b"");
        assert_eq!(code(&reply), (400, "InvalidTimeRange"));
    }
    let target = format!(
        "/logstores/grabs?type=histogram&from={}&to={}",
        i64::MIN,
        i64::MAX
    );
    assert_eq!(ask(&server, "GET", &target, b"").0, 200);
    let reply = ask(&server, "GET", "/logstores/grabs?type=log&from=x&to=2", b"");
    assert_eq!(code(&reply), (400, "ParameterInvalid"));
}

#[test]
fn projects_stores_and_indexes_come_and_go() {
    let server = server_with_store(options());
    let ask = |method, target: &str, body: &str| ask(&server, method, target, body.as_bytes());
    let refused = |method, target: &str, body: &str| {
        let (status, reply) = ask(method, target, body);
        let code = reply["errorCode"].as_str().unwrap_or("none").to_owned();
        (status, code)
    };
    let refusal = |status, code: &str| (status, code.to_owned());
    assert_eq!(ask("GET", "/", "").1["projectName"], "rain");
    assert_eq!(ask("GET", "/?offset=0&size=10", "").1["total"], 1);
    assert_eq!(
        refused("POST", "/", r#"{"projectName": "rain"}"#),
        refusal(400, "ProjectAlreadyExist")
    );
    assert_eq!(
        refused("POST", "/", r#"{"projectName": "Not_A_Name"}"#),
        refusal(400, "ParameterInvalid")
    );
    assert_eq!(refused("POST", "/", "no"), refusal(400, "PostBodyInvalid"));

    let store = "/logstores/grabs";
    assert_eq!(ask("PUT", store, r#"{"ttl": 30}"#).0, 200);
    assert_eq!(ask("GET", store, "").1["ttl"], 30);
    assert_eq!(ask("GET", store, "").1["shardCount"], 1);
    let listed = ask("GET", "/logstores?logstoreName=rab&offset=0&size=5", "").1;
    assert_eq!(
        listed,
        json!({"count": 1, "total": 1, "logstores": ["grabs"]})
    );
    assert_eq!(ask("GET", "/logstores?size=0", "").1["count"], 0);
    assert_eq!(ask("GET", "/logstores/grabs/shards", "").1[0]["shardID"], 0);

    let index = "/logstores/grabs/index";
    for method in ["GET", "DELETE"] {
        let none = refusal(400, "IndexConfigNotExist");
        assert_eq!(refused(method, index, ""), none, "{method}");
    }
    assert_eq!(
        refused("PUT", index, INDEX),
        refusal(400, "IndexConfigNotExist")
    );
    assert_eq!(
        refused("POST", index, "{}"),
        refusal(400, "ParameterInvalid")
    );
    assert_eq!(ask("POST", index, INDEX).0, 200);
    assert_eq!(
        refused("POST", index, INDEX),
        refusal(400, "IndexAlreadyExist")
    );
    let fewer = r#"{"keys": {"weight": {"type": "long", "doc_value": true}}}"#;
    assert_eq!(ask("PUT", index, fewer).0, 200);
    assert_eq!(ask("GET", index, "").1["keys"]["outcome"], Json::Null);
    assert_eq!(ask("DELETE", index, "").0, 200);

    assert_eq!(ask("DELETE", store, "").0, 200);
    for (method, target) in [("GET", store), ("GET", index), ("DELETE", store)] {
        let gone = refusal(404, "LogStoreNotExist");
        assert_eq!(refused(method, target, ""), gone, "{method} {target}");
    }
    assert_eq!(ask("DELETE", "/", "").0, 200);
    let gone = refusal(404, "ProjectNotExist");
    assert_eq!(refused("GET", "/logstores", ""), gone);
    assert_eq!(
        refused("PATCH", "/", ""),
        refusal(400, "UnsupportedOperation")
    );
}

#[test]
fn bodies_that_are_no_logs_are_refused() {
    let server = server_with_store(options());
    let raw = some_grabs().encode_to_vec();
    let length = raw.len().to_string();
    let put_as = |target: &str, further: &[(&'static str, &str)], body: &[u8]| {
        let reply = ask_with(&server, ("POST", target), further, body);
        reply.1["errorCode"].as_str().unwrap_or("none").to_owned()
    };
    let protobuf = ("content-type", "application/x-protobuf");
    let size = |text| ("x-log-bodyrawsize", text);
    let kind = |text| ("x-log-compresstype", text);
    let lb = "/logstores/grabs/shards/lb";
    let lz4 = compress(&raw);
    assert_eq!(put_as(lb, &[protobuf], &raw), "none");
    assert_eq!(put_as(lb, &[], &raw), "InvalidContentType");
    assert_eq!(
        put_as(lb, &[protobuf, size("x")], &raw),
        "InvalidBodyRawSize"
    );
    assert_eq!(
        put_as(lb, &[protobuf, size("1")], &raw),
        "InvalidBodyRawSize"
    );
    assert_eq!(
        put_as(lb, &[protobuf, kind("zstd")], &raw),
        "InvalidCompressType"
    );
    let wrong = [protobuf, kind("lz4"), size("7")];
    assert_eq!(put_as(lb, &wrong, &lz4), "PostBodyUncompressError");
    let huge = [protobuf, kind("lz4"), size("999999999999")];
    assert_eq!(put_as(lb, &huge, &lz4), "PostBodyTooLarge");
    assert_eq!(put_as(lb, &[protobuf], b"\xff\xff\xff"), "PostBodyInvalid");
    let fine = [protobuf, kind("lz4"), size(&length)];
    assert_eq!(put_as(lb, &fine, &lz4), "none");
    let route = "/logstores/grabs/shards/route";
    assert_eq!(put_as(route, &fine, &lz4), "ParameterInvalid");
    let route = format!("{route}?key={}", "0".repeat(32));
    assert_eq!(put_as(&route, &fine, &lz4), "none");

    for time in [RECORDED - 168 * 3_600 - 1, RECORDED + 901] {
        let reply = put(
            &server,
            &group([(time, [("a", "1"), ("b", ""), ("c", "")])]),
        );
        assert_eq!(code(&reply), (400, "PostBodyInvalid"), "{time}");
    }
    let mut many = some_grabs();
    let content = Content::default();
    many.logs = vec![
        Log {
            contents: vec![content],
            ..many.logs[0].clone()
        };
        4_097
    ];
    assert_eq!(code(&put(&server, &many)), (400, "PostBodyTooLarge"));
    assert_eq!(found(&server, "*"), Ok(9));
}

#[test]
fn more_logs_than_are_kept_are_refused() {
    let limited = SlsServerOptions {
        logs_max: 5,
        ..options()
    };
    let server = server_with_store(limited);
    assert_eq!(put(&server, &some_grabs()).0, 200);
    assert_eq!(
        code(&put(&server, &some_grabs())),
        (403, "WriteQuotaExceed")
    );
    assert_eq!(found(&server, "*"), Ok(3));
    assert_eq!(ask(&server, "DELETE", "/logstores/grabs", b"").0, 200);
    assert_eq!(server.kept.read().expect("no panic").state.logs, 0);
}

#[test]
fn a_folder_keeps_everything_but_a_torn_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = || SlsServerOptions {
        folder: Some(folder.path().to_owned()),
        ..options()
    };
    let server = server_with_store(kept());
    ask(&server, "POST", "/logstores/grabs/index", INDEX.as_bytes());
    put(&server, &some_grabs());
    drop(server);

    let journal = folder.path().join("sls.journal");
    let whole = std::fs::read(&journal).expect("the journal");
    let server = open(kept());
    assert_eq!(found(&server, "weight > 1"), Ok(2));
    put(&server, &some_grabs());
    drop(server);
    let longer = std::fs::read(&journal).expect("the journal");
    // Torn anywhere in its last record, the journal keeps what was before it.
    for end in [whole.len() + 1, whole.len() + 9, longer.len() - 1] {
        std::fs::write(&journal, &longer[..end]).expect("there is room");
        let server = open(kept());
        assert_eq!(found(&server, "weight > 1"), Ok(2), "torn at {end}");
        put(&server, &some_grabs());
        assert_eq!(found(&server, "weight > 1"), Ok(4));
    }
    assert_eq!(std::fs::read(&journal).expect("the journal"), longer);
    // Damage before the last record stops the start.
    let mut damaged = longer;
    damaged[20] ^= 1;
    std::fs::write(&journal, &damaged).expect("there is room");
    assert!(SlsServer::open(kept(), clock()).is_err());
}

#[test]
fn a_body_is_the_one_that_its_digest_is_of() {
    let server = open(options());
    let body = br#"{"projectName": "rain"}"#;
    for digest in ["0".repeat(32), sls_v1::content_md5(b"another body")] {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("rain.sls.local:80"));
        let (method, target, now) = ("POST", "/", server.clock.now());
        let asked = (method, target);
        sls_v4::sign(asked, &mut headers, body, &credentials(), "cn-a", now).expect("plain");
        headers.insert(
            "content-md5",
            HeaderValue::from_str(&digest).expect("plain"),
        );
        let mut request = Request::new(Bytes::from_static(body));
        *request.method_mut() = method.parse().expect("a method");
        *request.headers_mut() = headers;
        let reply = server.answer(&request);
        let reply = (reply.status().as_u16(), json_of(&reply));
        assert_eq!(code(&reply), (400, "PostBodyInvalid"), "{digest}");
    }
}
