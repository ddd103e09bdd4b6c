//! Every field of a campaign, of its changes and of its top-ups: what is refused, and that the
//! message names the field.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{send, serve},
    sample::{plain, with},
};

const CAMPAIGNS: &str = "/monitor/api/campaigns";

/// Changes to a good campaign that spoil it, with the field to be named.
fn spoiled_terms() -> Vec<(&'static str, Value)> {
    let long = "x".repeat(200);
    vec![
        ("title", json!({"title": ""})),
        ("title", json!({"title": long})),
        ("title", json!({"title": 5})),
        ("packets", json!({"packets": 0})),
        ("packets", json!({"packets": -1})),
        ("packets", json!({"packets": 1.5})),
        ("packets", json!({"packets": 10_000_001})),
        ("batches", json!({"batches": 0})),
        ("batches", json!({"batches": 6})),
        (
            "interval_seconds",
            json!({"batches": 2, "interval_seconds": -1}),
        ),
        ("interval_seconds", json!({"interval_seconds": 99_999_999})),
        ("starts_at", json!({"starts_at": "yesterday"})),
        ("ends_at", json!({"ends_at": "2020-01-01T00:00:00Z"})),
        ("currency", json!({"currency": "cny"})),
        ("currency", json!({"currency": "XXXX"})),
        ("surprise", json!({"surprise": 1})),
    ]
}

/// See [`spoiled_terms`].
fn spoiled_splits() -> Vec<(&'static str, Value)> {
    let lucky = |total: u64, min: u64, max: Value| json!({"split": {"mode": "lucky", "total": total, "min": min, "max": max}});
    let tiers = |tiers: Value| json!({"split": {"mode": "tiers", "tiers": tiers}});
    vec![
        ("split", json!({"split": {"mode": "unfair"}})),
        ("split", json!({"split": {"mode": "equal", "amount": 0}})),
        ("split", json!({"split": {"mode": "equal", "amount": -5}})),
        (
            "split",
            json!({"split": {"mode": "equal", "amount": 9_007_199_254_740_992_u64}}),
        ),
        (
            "split",
            json!({"split": {"mode": "equal", "amount": 9_007_199_254_740_991_u64}}),
        ),
        (
            "split",
            json!({"split": {"mode": "equal", "amount": 1, "total": 5}}),
        ),
        ("split", lucky(4, 1, Value::Null)),
        ("split", lucky(100, 0, Value::Null)),
        ("split", lucky(100, 1, json!(19))),
        ("split", lucky(100, 30, json!(20))),
        ("split", tiers(json!([]))),
        (
            "split",
            tiers(json!([{"label": "First", "count": 4, "amount": 5}])),
        ),
        (
            "split",
            tiers(json!([{"label": "", "count": 5, "amount": 5}])),
        ),
        (
            "split",
            tiers(json!([{"label": "First", "count": 5, "amount": 0}])),
        ),
        (
            "split",
            tiers(json!([{"label": "First", "count": 5, "amount": 5, "more": 1}])),
        ),
    ]
}

/// See [`spoiled_terms`].
fn spoiled_rules() -> Vec<(&'static str, Value)> {
    let limit = |limit: Value| ("win_limit", json!({"win_limit": limit}));
    let rule = |rules: Value| ("rules", json!({"rules": rules}));
    vec![
        limit(json!({"count": 0, "per": "campaign"})),
        limit(json!({"count": 1, "per": "day"})),
        limit(json!({"count": 1, "per": {"seconds": 0}})),
        limit(json!({"count": 1})),
        rule(json!({"attempt_window_seconds": 0})),
        rule(json!({"discard_probability": 1.5})),
        rule(json!({"discard_probability": -0.1})),
        rule(json!({"eligible": "nobody"})),
        rule(json!({"eligible": [""]})),
        rule(json!({"blocked": ["a\u{0}b"]})),
        rule(json!({"unknown_rule": 1})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_campaign() {
    let (_folder, _server, client) = serve();
    let cases = [spoiled_terms(), spoiled_splits(), spoiled_rules()].concat();
    for (field, change) in cases {
        let reply = client
            .post(CAMPAIGNS, &with(plain(5), change.clone()))
            .await;
        assert_eq!(
            reply.status.as_u16(),
            400,
            "{change} was taken: {}",
            reply.body
        );
        let message = reply.body["error"]["message"].to_string();
        assert!(
            message.contains(field),
            "{change}: the message does not name it: {message}"
        );
    }
    for field in ["title", "packets", "split"] {
        let reply = client
            .post(CAMPAIGNS, &with(plain(5), json!({field: null})))
            .await;
        let message = reply.expect_error(400, "invalid_field");
        let named = message.contains(&format!("`{field}`"));
        assert!(named, "without {field}: {message}");
    }
    assert_eq!(
        client.read(CAMPAIGNS).await["campaigns"]
            .as_array()
            .map(Vec::len),
        Some(0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_top_ups() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let path = format!("{CAMPAIGNS}/{campaign}");
    for (change, field) in [
        (json!({"title": ""}), "title"),
        (json!({"ends_at": "2020-01-01T00:00:00Z"}), "ends_at"),
        (
            json!({"rules": {"discard_probability": 2}}),
            "rules.discard_probability",
        ),
        (json!({"packets": 7}), "packets"),
        (
            json!({"win_limit": {"count": 9, "per": "campaign"}}),
            "win_limit",
        ),
    ] {
        let reply = send(client.organiser(Method::PATCH, &path).json(&change)).await;
        let message = reply.expect_error(400, "invalid_field");
        let named = message.contains(&format!("`{field}`"));
        assert!(named, "{change}: {message}");
    }
    for (n, (body, field)) in [
        (json!({"packets": 0}), "packets"),
        (json!({"packets": 10_000_000}), "packets"),
        (json!({"packets": 1, "more": 1}), "more"),
        (json!({}), "packets"),
        (json!({"packets": 1, "total": 5}), "total"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = client.organiser(Method::POST, &format!("{path}/top-up"));
        let reply = send(
            request
                .header("Idempotency-Key", format!("bad-{n}"))
                .json(&body),
        )
        .await;
        let message = reply.expect_error(400, "invalid_field");
        let named = message.contains(&format!("`{field}`"));
        assert!(named, "{body}: {message}");
    }
}
