//! What searches and statements make of an index.

use serde_json::json;

use super::{
    operations::{INDEX, found, get, group, put, server_with_store, some_grabs},
    *,
};

#[test]
fn parts_of_json_are_fields_of_their_own_where_the_index_says() {
    let server = server_with_store(options());
    let index = r#"{"keys": {
        "request": {"type": "json", "doc_value": true, "token": [" ", ",", ":"], "index_all": true,
            "json_keys": {"status": {"type": "long", "doc_value": true},
                          "user.name": {"type": "text", "doc_value": true}}},
        "plain": {"type": "json", "doc_value": true}}}"#;
    assert_eq!(
        ask(&server, "POST", "/logstores/grabs/index", index.as_bytes()).0,
        200
    );
    let request = r#"{"status": 429, "user": {"name": "An"}, "path": "/grab now"}"#;
    let none = [
        ("request", "no JSON"),
        ("plain", r#"{"status": 1}"#),
        ("x", "y"),
    ];
    let logs = group([
        (
            RECORDED - 9,
            [("request", request), ("plain", "{}"), ("x", "y")],
        ),
        (RECORDED - 8, none),
    ]);
    assert_eq!(put(&server, &logs), (200, Json::Null));
    for (search, expected) in [
        ("request.status: 429", 1),
        ("request.status > 400", 1),
        ("request.status > 429", 0),
        ("request.user.name: an", 1),
        ("request.path: now", 1),
        ("request.nothing: *", 0),
        ("request: JSON", 1),
    ] {
        assert_eq!(found(&server, search), Ok(expected), "{search}");
    }
    for search in ["plain.status: 1", "x.y: 1", "request.path > 1"] {
        let refused = Err("ParameterInvalid".to_owned());
        assert_eq!(found(&server, search), refused, "{search}");
    }
    let sum = r#"request.status: * | select "request.user.name" as name, sum("request.status") as n group by name"#;
    let rows = get(&server, sum).1["data"].clone();
    assert_eq!(
        (&rows[0]["name"], &rows[0]["n"]),
        (&json!("An"), &json!("429"))
    );
    // Only indexed by `index_all`, it can be searched and not selected.
    let unselected = get(&server, r#"* | select "request.path" as p"#);
    assert_eq!(code(&unselected), (400, "ParameterInvalid"));
}

#[test]
fn chinese_is_found_within_text_where_the_index_says() {
    let logs = || {
        let texts = |cut, whole| [("cut", cut), ("whole", whole), ("x", "y")];
        group([
            (RECORDED - 9, texts("抢到红包ok了", "抢到红包")),
            (RECORDED - 8, texts("红 包", "x")),
            (RECORDED - 7, texts("包红,雨", "x")),
        ])
    };
    let server = server_with_store(options());
    let index = r#"{"keys": {"cut": {"type": "text", "token": [" ", ","], "chn": true},
        "whole": {"type": "text", "token": [" ", ","]}}}"#;
    let made = ask(&server, "POST", "/logstores/grabs/index", index.as_bytes());
    assert_eq!(made, (200, Json::Null));
    assert_eq!(put(&server, &logs()), (200, Json::Null));
    for (search, expected) in [
        ("cut: 红", 3),
        ("cut: 红包", 1),
        ("cut: \"红包\"", 1),
        ("cut: 到红", 1),
        ("cut: 抢红", 0),
        ("cut: \"红 包\"", 3),
        ("cut: 红包ok", 1),
        ("cut: OK", 1),
        ("cut: 红包o", 0),
        ("cut: o*", 1),
        ("红包", 1),
        ("whole: 红包", 0),
        ("whole: *红包", 1),
        ("whole: 抢到红包", 1),
    ] {
        assert_eq!(found(&server, search), Ok(expected), "{search}");
    }
    // The same for what is searched without a field's name.
    let index = r#"{"line": {"token": [" "], "chn": true}}"#;
    let set = ask(&server, "PUT", "/logstores/grabs/index", index.as_bytes());
    assert_eq!(set, (200, Json::Null));
    assert_eq!(found(&server, "到红"), Ok(1));
}

#[test]
fn statements_select_by_an_alias_what_has_no_such_name() {
    let server = server_with_store(options());
    let index = r#"{"keys": {
        "outcome": {"type": "text", "doc_value": true, "alias": "how"},
        "weight": {"type": "long", "doc_value": true, "alias": "outcome"},
        "hidden": {"type": "long", "alias": "unseen"},
        "latency": {"type": "json", "alias": "", "json_keys": {
            "ms": {"type": "double", "doc_value": true, "alias": "took"}}}}}"#;
    let made = ask(&server, "POST", "/logstores/grabs/index", index.as_bytes());
    assert_eq!(made, (200, Json::Null));
    let fields = [
        ("outcome", "won"),
        ("weight", "7"),
        ("latency", r#"{"ms": 1.5}"#),
    ];
    put(&server, &group([(RECORDED - 9, fields)]));
    let reply = get(
        &server,
        "* | select how, outcome, took, sum(weight) as n group by how, outcome, took",
    );
    let row = &reply.1["data"][0];
    assert_eq!(
        [&row["how"], &row["outcome"], &row["took"], &row["n"]],
        [&json!("won"), &json!("won"), &json!("1.5"), &json!("7")]
    );
    let unseen = get(&server, "* | select unseen");
    assert_eq!(code(&unseen), (400, "ParameterInvalid"));
    // Searches know names alone.
    let refused = Err("ParameterInvalid".to_owned());
    assert_eq!(found(&server, "how: won"), refused);
}

#[test]
fn searches_follow_the_index() {
    let server = server_with_store(options());
    let index = ask(&server, "POST", "/logstores/grabs/index", INDEX.as_bytes());
    assert_eq!(index, (200, Json::Null));
    assert_eq!(put(&server, &some_grabs()), (200, Json::Null));
    for (search, expected) in [
        ("", 3),
        ("*", 3),
        ("missed", 2),
        ("MISSED", 2),
        ("outcome: missed", 2),
        ("outcome: miss*", 2),
        ("outcome: \"miss*\"", 0),
        ("outcome: \"missed sold_out\"", 1),
        ("not outcome: missed", 1),
        ("weight: 7 or weight: 1", 2),
        ("weight >= 7", 2),
        ("weight in (7 12]", 1),
        ("latency < 1.6", 1),
        ("hidden: 3", 1),
        ("hidden: *", 1),
        ("__topic__: t and __source__: 10.0.0.1", 3),
        ("__tag__:pod: web-1", 3),
        ("__tag__:pod: web-2", 0),
    ] {
        assert_eq!(found(&server, search), Ok(expected), "{search}");
    }
    for search in ["other: 1", "outcome > 3", "outcome:", "weight > x"] {
        let refused = Err("ParameterInvalid".to_owned());
        assert_eq!(found(&server, search), refused, "{search}");
    }
}

#[test]
fn statements_follow_the_index() {
    let server = server_with_store(options());
    ask(&server, "POST", "/logstores/grabs/index", INDEX.as_bytes());
    put(&server, &some_grabs());
    let rows = |sql: &str| get(&server, &format!("* | {sql}")).1["data"].clone();
    let from = (RECORDED - 100).to_string();
    assert_eq!(
        rows("select outcome, sum(weight) as n group by outcome order by n desc"),
        json!([
            {"outcome": "Missed sold_out", "n": "12", "__source__": "", "__time__": from},
            {"outcome": "missed", "n": "7", "__source__": "", "__time__": from},
            {"outcome": "won", "n": "1", "__source__": "", "__time__": from},
        ])
    );
    assert_eq!(
        rows("select avg(latency) as l, max(__time__) as __time__"),
        json!([{"l": "1.75", "__time__": (RECORDED - 29).to_string(), "__source__": ""}])
    );
    let twice = get(&server, "* | select 1 as n, 2 as m, 3 as n, 4 as n limit 1").1;
    let keys = json!(["m", "n", "__source__", "__time__"]);
    assert_eq!(twice["meta"]["keys"], keys);
    let row = &twice["data"][0];
    assert_eq!((&row["m"], &row["n"]), (&json!("2"), &json!("4")));
    for sql in [
        "select hidden",
        "select other",
        "select",
        "select sum(weight",
    ] {
        let reply = get(&server, &format!("* | {sql}"));
        assert_eq!(code(&reply), (400, "ParameterInvalid"), "{sql}");
    }
}
