//! Every field of every request body: what is refused, and that the message names the field. Those
//! of lists of users are in `users_file`, those of account's calls in its own tests.

use http::Method;
use serde_json::{Value, json};

use crate::monitor::testkit::{Bench, terms, with};

const CAMPAIGNS: &str = "/monitor/api/campaigns";

/// Sends `body` and insists on a 400 whose message names `field`.
async fn refused(bench: &Bench, method: Method, path: &str, body: &Value, field: &str) {
    let call = bench.call(method.clone(), path).json(body);
    let answer = call.header("idempotency-key", "key").send().await;
    let what = format!("{method} {path} {body}: {}", answer.text());
    assert_eq!(answer.refusal(), (400, "invalid_field".into()), "{what}");
    assert!(answer.message().contains(&format!("`{field}`")), "{what}");
}

fn lucky() -> Value {
    terms()
}

fn equal() -> Value {
    with(terms(), "split", json!({"mode": "equal", "amount": 5}))
}

fn tiers() -> Value {
    let tiers = json!([{"label": "First", "count": 1, "amount": 5}, {"label": "Rest", "count": 9, "amount": 1}]);
    with(terms(), "split", json!({"mode": "tiers", "tiers": tiers}))
}

fn limited() -> Value {
    let limit = json!({"count": 1, "per": {"seconds": 60}});
    with(with(terms(), "win_limit", limit), "rules", json!({}))
}

#[tokio::test]
async fn fields_of_a_new_campaign() {
    let bench = Bench::new().await;
    let long = "x".repeat(121);
    let past = bench.ledger.now().plus_seconds(-3_600);
    let far = "9000-01-01T00:00:00Z";
    for (field, values) in [
        (
            "title",
            vec![json!(""), json!(5), json!(long), json!("a\u{7}b")],
        ),
        (
            "packets",
            vec![
                json!(0),
                json!(-1),
                json!(1.5),
                json!("10"),
                json!(10_000_001),
            ],
        ),
        ("batches", vec![json!(0), json!(11), json!(-3), json!(true)]),
        (
            "interval_seconds",
            vec![json!(-1), json!(2_592_001), json!("2")],
        ),
        (
            "starts_at",
            vec![json!("soon"), json!(5), json!(past), json!(far)],
        ),
        (
            "ends_at",
            vec![json!("late"), json!(7), json!(past), json!(far)],
        ),
        ("currency", vec![json!("cny"), json!("XXXX"), json!(1)]),
        ("split", vec![json!(1), json!(["equal", 5])]),
        ("win_limit", vec![json!(1), json!([1, "campaign"])]),
        ("rules", vec![json!("none"), json!([3_600])]),
        ("surprise", vec![json!(1)]),
    ] {
        for value in values {
            refused(
                &bench,
                Method::POST,
                CAMPAIGNS,
                &with(terms(), field, value),
                field,
            )
            .await;
        }
    }
    // After the start, but before the last wave 4 seconds later.
    let early = json!(bench.ledger.now().plus_seconds(3));
    refused(
        &bench,
        Method::POST,
        CAMPAIGNS,
        &with(terms(), "ends_at", early),
        "ends_at",
    )
    .await;
    for field in [
        "title",
        "packets",
        "batches",
        "interval_seconds",
        "currency",
        "split",
    ] {
        let mut without = terms();
        without.as_object_mut().unwrap().remove(field);
        refused(&bench, Method::POST, CAMPAIGNS, &without, field).await;
    }
}

#[tokio::test]
async fn fields_of_a_split() {
    let bench = Bench::new().await;
    for (base, field, values) in [
        (
            lucky as fn() -> Value,
            "split.mode",
            vec![json!("unfair"), json!(1)],
        ),
        (
            lucky,
            "split.total",
            vec![
                json!(9),
                json!(-1),
                json!("x"),
                json!(1_u64 << 53),
                json!(null),
            ],
        ),
        (lucky, "split.min", vec![json!(0), json!(-1), json!("x")]),
        (lucky, "split.max", vec![json!(0), json!("x"), json!(-5)]),
        (lucky, "split.amount", vec![json!(1)]),
        (lucky, "split.tiers", vec![json!([])]),
        (lucky, "split.surprise", vec![json!(1)]),
        (
            equal,
            "split.amount",
            vec![json!(0), json!("x"), json!((1_u64 << 53) - 1), json!(null)],
        ),
        (equal, "split.total", vec![json!(1)]),
        (equal, "split.min", vec![json!(1)]),
        (equal, "split.max", vec![json!(1)]),
        (equal, "split.tiers", vec![json!([])]),
        (tiers, "split.tiers", vec![json!([]), json!(5), json!(null)]),
        (tiers, "split.amount", vec![json!(1)]),
        (tiers, "split.total", vec![json!(1)]),
        (tiers, "split.min", vec![json!(1)]),
        (tiers, "split.max", vec![json!(1)]),
    ] {
        for value in values {
            refused(
                &bench,
                Method::POST,
                CAMPAIGNS,
                &with(base(), field, value),
                field,
            )
            .await;
        }
    }
    for (name, value, field) in [
        ("label", json!(""), "split.tiers[0].label"),
        ("label", json!(5), "split.tiers[0].label"),
        ("count", json!(0), "split.tiers"),
        ("count", json!(-1), "split.tiers[0].count"),
        ("amount", json!(0), "split.tiers"),
        ("amount", json!("x"), "split.tiers[0].amount"),
        ("surprise", json!(1), "split.tiers[0].surprise"),
    ] {
        let mut body = tiers();
        body["split"]["tiers"][0][name] = value;
        refused(&bench, Method::POST, CAMPAIGNS, &body, field).await;
    }
    let mut body = tiers();
    body["split"]["tiers"][0] = json!(["First", 1, 5]);
    refused(&bench, Method::POST, CAMPAIGNS, &body, "split.tiers[0]").await;
}

#[tokio::test]
async fn fields_of_limits_and_rules() {
    let bench = Bench::new().await;
    for (field, values) in [
        ("win_limit.count", vec![json!(0), json!(1_001), json!("x")]),
        ("win_limit.per", vec![json!("day"), json!(5), json!(null)]),
        (
            "win_limit.per.seconds",
            vec![json!(0), json!(2_592_001), json!("x")],
        ),
        ("win_limit.per.surprise", vec![json!(1)]),
        ("win_limit.surprise", vec![json!(1)]),
        (
            "rules.attempt_window_seconds",
            vec![json!(0), json!(2_592_001), json!("x")],
        ),
        (
            "rules.discard_probability",
            vec![json!(-0.1), json!(1.1), json!("x")],
        ),
        ("rules.eligible", vec![json!("nobody"), json!(5)]),
        ("rules.blocked", vec![json!("bob"), json!(5)]),
        ("rules.surprise", vec![json!(1)]),
    ] {
        for value in values {
            refused(
                &bench,
                Method::POST,
                CAMPAIGNS,
                &with(limited(), field, value),
                field,
            )
            .await;
        }
    }
    let empty = with(limited(), "rules.eligible", json!(["bob", ""]));
    refused(&bench, Method::POST, CAMPAIGNS, &empty, "rules.eligible[1]").await;
    let control = with(limited(), "rules.blocked", json!(["a\u{0}b"]));
    refused(
        &bench,
        Method::POST,
        CAMPAIGNS,
        &control,
        "rules.blocked[0]",
    )
    .await;
    let nothing = with(limited(), "win_limit.per", json!({}));
    refused(&bench, Method::POST, CAMPAIGNS, &nothing, "seconds").await;
    for field in ["count", "per"] {
        let mut without = limited();
        without["win_limit"].as_object_mut().unwrap().remove(field);
        refused(&bench, Method::POST, CAMPAIGNS, &without, field).await;
    }
}

async fn created(bench: &Bench, terms: Value) -> String {
    let campaign = bench.create(terms).await;
    format!("{CAMPAIGNS}/{}", campaign["id"].as_str().unwrap())
}

#[tokio::test]
async fn fields_of_a_change() {
    let bench = Bench::new().await;
    let path = created(&bench, lucky()).await;
    for (body, field) in [
        (json!({"title": ""}), "title"),
        (json!({"title": 5}), "title"),
        (json!({"ends_at": "2020-01-01T00:00:00Z"}), "ends_at"),
        (json!({"ends_at": 5}), "ends_at"),
        (
            json!({"ends_at": bench.ledger.now().plus_seconds(1)}),
            "ends_at",
        ),
        (json!({"rules": 5}), "rules"),
        (json!({"rules": [3_600]}), "rules"),
        (
            json!({"rules": {"attempt_window_seconds": 0}}),
            "rules.attempt_window_seconds",
        ),
        (
            json!({"rules": {"discard_probability": 2}}),
            "rules.discard_probability",
        ),
        (json!({"rules": {"eligible": "x"}}), "rules.eligible"),
        (json!({"rules": {"blocked": [""]}}), "rules.blocked[0]"),
        (json!({"rules": {"surprise": 1}}), "rules.surprise"),
        (json!({"packets": 7}), "packets"),
        (
            json!({"win_limit": {"count": 9, "per": "campaign"}}),
            "win_limit",
        ),
    ] {
        refused(&bench, Method::PATCH, &path, &body, field).await;
    }
}

#[tokio::test]
async fn fields_of_a_top_up() {
    let bench = Bench::new().await;
    let mut paths = Vec::new();
    for terms in [lucky(), equal(), tiers()] {
        paths.push(created(&bench, terms).await);
    }
    for (split, body, field) in [
        (0, json!({}), "packets"),
        (0, json!({"packets": 0, "total": 5}), "packets"),
        (
            0,
            json!({"packets": 10_000_000, "total": 10_000_000}),
            "packets",
        ),
        (0, json!({"packets": "x"}), "packets"),
        (0, json!({"packets": 5}), "total"),
        (0, json!({"packets": 5, "total": 4}), "total"),
        (0, json!({"packets": 5, "total": "x"}), "total"),
        (
            0,
            json!({"packets": 5, "total": (1_u64 << 53) - 1}),
            "total",
        ),
        (0, json!({"packets": 5, "total": 5, "tiers": []}), "tiers"),
        (
            0,
            json!({"packets": 5, "total": 5, "surprise": 1}),
            "surprise",
        ),
        (1, json!({"packets": 5, "total": 5}), "total"),
        (1, json!({"packets": 5, "tiers": []}), "tiers"),
        (2, json!({"packets": 5}), "tiers"),
        (2, json!({"packets": 5, "tiers": []}), "tiers"),
        (2, json!({"packets": 5, "tiers": 5}), "tiers"),
        (2, json!({"packets": 1, "tiers": [["x", 1, 1]]}), "tiers[0]"),
        (
            2,
            json!({"packets": 1, "tiers": [{"label": "", "count": 1, "amount": 1}]}),
            "tiers[0].label",
        ),
        (
            2,
            json!({"packets": 1, "tiers": [{"label": "x", "count": "x", "amount": 1}]}),
            "tiers[0].count",
        ),
        (
            2,
            json!({"packets": 1, "tiers": [{"label": "x", "count": 1, "amount": -1}]}),
            "tiers[0].amount",
        ),
        (
            2,
            json!({"packets": 1, "tiers": [{"label": "x", "count": 1, "amount": 1, "y": 1}]}),
            "tiers[0].y",
        ),
    ] {
        let path = format!("{}/top-up", paths[split]);
        refused(&bench, Method::POST, &path, &body, field).await;
    }
    let key = bench.call(Method::POST, &format!("{}/top-up", paths[1]));
    let key = key
        .json(&json!({"packets": 1}))
        .header("idempotency-key", "a b");
    let answer = key.send().await;
    assert_eq!(answer.refusal(), (400, "invalid_header".into()));
    assert!(answer.message().contains("`Idempotency-Key`"));
}

#[tokio::test]
async fn fields_of_setup_and_login() {
    let bench = Bench::new().await;
    let setup = json!({"token": "t", "username": "ann", "password": "long enough"});
    let login = json!({"username": "ann", "password": "long enough"});
    let long = "x".repeat(1_025);
    for (path, base, field, values) in [
        ("/monitor/api/setup", &setup, "token", vec![json!(5)]),
        (
            "/monitor/api/setup",
            &setup,
            "username",
            vec![json!(""), json!(5), json!("a\u{0}b")],
        ),
        (
            "/monitor/api/setup",
            &setup,
            "password",
            vec![json!("short"), json!(5), json!(long)],
        ),
        ("/monitor/api/setup", &setup, "surprise", vec![json!(1)]),
        (
            "/monitor/api/sessions",
            &login,
            "username",
            vec![json!(""), json!(5)],
        ),
        (
            "/monitor/api/sessions",
            &login,
            "password",
            vec![json!(""), json!(5), json!(long)],
        ),
        ("/monitor/api/sessions", &login, "surprise", vec![json!(1)]),
    ] {
        for value in values {
            refused(
                &bench,
                Method::POST,
                path,
                &with(base.clone(), field, value),
                field,
            )
            .await;
        }
        if field != "surprise" {
            let mut without = base.clone();
            without.as_object_mut().unwrap().remove(field);
            refused(&bench, Method::POST, path, &without, field).await;
        }
    }
}

#[tokio::test]
async fn parameters_of_queries() {
    let bench = Bench::new().await;
    let id = bench.create(terms()).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let one = format!("{CAMPAIGNS}/{id}");
    let long = "x".repeat(65);
    for (path, field) in [
        (format!("{CAMPAIGNS}?limit=0"), "limit"),
        (format!("{CAMPAIGNS}?limit=201"), "limit"),
        (format!("{CAMPAIGNS}?before=x"), "before"),
        (format!("{CAMPAIGNS}?surprise=1"), "surprise"),
        (format!("{one}/winners?limit=1001"), "limit"),
        (format!("{one}/winners?cursor=x"), "cursor"),
        (format!("{one}/winners?q={long}"), "q"),
        (format!("{one}/winners?q=a%00"), "q"),
        (format!("{one}/winners?code=%00"), "code"),
        (format!("{one}/winners?format=xml"), "format"),
        (format!("{one}/winners?surprise=1"), "surprise"),
        (format!("{one}/stats?from=x"), "from"),
        (format!("{one}/stats?to=x"), "to"),
        (format!("{one}/stats?to=2020-01-01T00:00:00Z"), "to"),
        (format!("{one}/stats?step=0"), "step"),
        (format!("{one}/stats?step=x"), "step"),
        (
            format!("{one}/stats?step=1&from=2020-01-01T00:00:00Z"),
            "step",
        ),
        (format!("{one}/stats?surprise=1"), "surprise"),
        ("/monitor/api/users?limit=x".into(), "limit"),
        ("/monitor/api/users?cursor=%00".into(), "cursor"),
        ("/monitor/api/users?surprise=1".into(), "surprise"),
    ] {
        refused(&bench, Method::GET, &path, &json!(null), field).await;
    }
}

#[tokio::test]
async fn bodies_that_are_none() {
    let bench = Bench::new().await;
    for body in ["", "{", "nonsense", "{\"title\":\"x\"} more", "\u{0}"] {
        let call = bench.call(Method::POST, CAMPAIGNS);
        let answer = call.body("application/json", body).send().await;
        assert_eq!(answer.refusal(), (400, "invalid_json".into()), "{body}");
    }
    for body in ["[", "[]", "5", "null", "\"text\""] {
        let call = bench.call(Method::POST, CAMPAIGNS);
        let answer = call.body("application/json", body).send().await;
        assert_eq!(answer.refusal(), (400, "invalid_field".into()), "{body}");
    }
    let call = bench.call(Method::POST, CAMPAIGNS);
    let answer = call.body("text/plain", &terms().to_string()).send().await;
    assert_eq!(answer.refusal(), (415, "unsupported_media_type".into()));
}
