//! The commands against a server that answers from a list.

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::client::fake::{Fake, Reply};

const ID: &str = "01980000-0000-7000-8000-000000000001";
const KEY: &str = "a-key-of-the-organiser-32-bytes-x";

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Runs `line` against `fake`; gives the result and what was written.
async fn run_line(fake: &Fake, line: &[&str]) -> (anyhow::Result<ExitCode>, String) {
    let server = ["--url", &fake.url, "--organiser-key", KEY];
    let line = ["hongbao"].iter().chain(line).chain(&server);
    let command = Cli::try_parse_from(line).unwrap().command;
    let mut out = Vec::new();
    let result = execute(command, &mut out).await;
    (result, String::from_utf8(out).unwrap())
}

fn body(value: Value) -> Reply {
    Reply::Body(200, value.to_string())
}

fn refusal(status: u16, code: &str) -> Reply {
    let error = json!({"error": {"code": code, "message": "it says why", "request_id": "r-1"}});
    Reply::Body(status, error.to_string())
}

fn campaign() -> Value {
    json!({
        "id": ID, "title": "New\u{1b} year", "state": "running",
        "server_time": "2026-12-31T12:00:00.000Z", "starts_at": "2026-12-31T12:00:00.000Z",
        "ends_at": "2027-01-01T12:00:00.000Z", "next_wave_at": "2026-12-31T12:00:02.000Z",
        "waves": [
            {"number": 1, "packets": 4, "state": "open", "due_at": "2026-12-31T12:00:00.000Z",
             "opened_at": "2026-12-31T12:00:00.123Z"},
            {"number": 2, "packets": 3, "state": "planned", "due_at": "2026-12-31T12:00:02.000Z",
             "opened_at": null}],
        "packets_total": 7, "packets_issued": 4, "currency": "CNY", "currency_exponent": 2,
        "split_commitment": "abcd", "split_seed": null, "split_tranches": null,
        "win_limit": {"count": 2, "per": {"seconds": 60}}, "created_at": "2026-12-31T12:00:00.000Z",
        "interval_seconds": 2, "split": {"mode": "lucky", "total": 10_000, "min": 1, "max": null},
        "rules": {"attempt_window_seconds": 10, "discard_probability": 0.5, "eligible": "anyone",
            "blocked": ["eve"]},
        "budget": 10_000, "refunded": null, "halted": null, "paused_at": null, "closed_at": null,
    })
}

#[tokio::test]
async fn create_sends_the_key_and_shows_the_campaign() {
    let fake = Fake::start([Reply::Body(201, campaign().to_string())]).await;
    let line = "create --title T --packets 7 --lucky 10000 --idempotency-key k-1";
    let line: Vec<_> = line.split(' ').collect();
    let (result, shown) = run_line(&fake, &line).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    let asked = &fake.asked()[0];
    assert_eq!(asked.line, "POST /monitor/api/campaigns");
    let bearer = format!("authorization: Bearer {KEY}");
    assert!(asked.headers.contains(&bearer));
    assert!(asked.headers.contains(&"idempotency-key: k-1".to_owned()));
    assert!(asked.body.contains("\"packets\":7"));
    for part in [
        ID,
        "¥100.00 (10000)",
        "2 wins per user in 60 s",
        "2026-12-31 12:00:02 UTC",
        "50 % of attempts",
        "New\u{fffd} year",
    ] {
        assert!(shown.contains(part), "{part} is missing:\n{shown}");
    }
}

#[tokio::test]
async fn a_create_whose_reply_is_lost_is_sent_again_with_the_same_key() {
    let fake = Fake::start([
        Reply::Close,
        refusal(503, "unavailable"),
        Reply::Body(201, campaign().to_string()),
    ])
    .await;
    let line = "create --title T --packets 7 --equal 1 --json";
    let line: Vec<_> = line.split(' ').collect();
    let (result, shown) = run_line(&fake, &line).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), campaign());
    let key = |asked: &crate::client::fake::Asked| {
        let key = asked
            .headers
            .iter()
            .find(|h| h.starts_with("idempotency-key"));
        key.cloned().unwrap()
    };
    let asked = fake.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(key(&asked[0]), key(&asked[2]));
    assert_eq!(asked[0].body, asked[2].body);
}

#[tokio::test]
async fn only_a_create_whose_outcome_is_unknown_advises_a_repeat() {
    let line = "create --title T --packets 7 --equal 1 --idempotency-key k-1";
    let line: Vec<_> = line.split(' ').collect();
    let unknown = Fake::start([]).await;
    let (result, _) = run_line(&unknown, &line).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("--idempotency-key k-1"), "{error}");
    let refused = Fake::start([refusal(400, "invalid_field")]).await;
    let (result, _) = run_line(&refused, &line).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("it says why (invalid_field)"), "{error}");
    assert!(!error.contains("--idempotency-key"), "{error}");
}

#[tokio::test]
async fn a_refusal_says_code_message_and_where() {
    let fake = Fake::start([refusal(409, "campaign_ended")]).await;
    let (result, _) = run_line(&fake, &["pause", ID]).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("it says why (campaign_ended)"), "{error}");
    assert!(error.contains(&fake.url), "{error}");
    let fake = Fake::start([refusal(401, "unauthenticated")]).await;
    let (result, _) = run_line(&fake, &["show", ID]).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(
        error.contains("the key came from --organiser-key"),
        "{error}"
    );
    assert!(!error.contains(KEY), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_asked_after() {
    let fake = Fake::start([]).await;
    let url = fake.url.clone();
    drop(fake);
    // The listener goes with its task, which the runtime drops at its next turn.
    tokio::task::yield_now().await;
    let line = ["hongbao", "list", "--url", &url, "--organiser-key", KEY];
    let command = Cli::try_parse_from(line).unwrap().command;
    let error = execute(command, &mut Vec::new()).await.unwrap_err();
    let error = format!("{error:#}");
    let expected = format!("is the server running at {url}?");
    assert!(error.contains(&expected), "{error}");
}

#[tokio::test]
async fn list_follows_the_pages_and_aligns_them() {
    let page = |next: Value| body(json!({"campaigns": [campaign()], "next_before": next}));
    let fake = Fake::start([page(json!(41)), page(Value::Null)]).await;
    let (result, shown) = run_line(&fake, &["list"]).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(shown.starts_with("id  "), "{shown}");
    let asked = fake.asked();
    assert_eq!(
        asked[1].line,
        "GET /monitor/api/campaigns?limit=49&before=41"
    );
}

#[tokio::test]
async fn show_adds_the_live_state() {
    let live = json!({"issued": 4, "queued": 1, "leased": 1, "claimed": 2, "remaining": 5,
        "refunded": 0, "grabs_per_second": 12.5,
        "by_outcome": {"won": 2, "repeated": 0, "unavailable": 0,
            "missed": {"between_waves": 3, "sold_out": 0}, "rejected": {"discarded": 1}}});
    let fake = Fake::start([body(campaign()), body(live.clone())]).await;
    let (result, shown) = run_line(&fake, &["show", ID]).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    for part in [
        "12.5 a second",
        "between_waves 3",
        "discarded 1",
        "2 packets",
    ] {
        assert!(shown.contains(part), "{part} is missing:\n{shown}");
    }
    assert!(!shown.contains("sold_out"), "{shown}");
    let fake = Fake::start([body(campaign()), body(live)]).await;
    let (_, shown) = run_line(&fake, &["show", ID, "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["live"]["claimed"], 2);
}

#[tokio::test]
async fn steering_calls_the_verb_and_shows_the_refund() {
    let mut closed = campaign();
    closed["state"] = "ended".into();
    closed["refunded"] = json!({"packets": 5, "amount": 7_000, "at": "2027-01-01T12:00:00.000Z"});
    for (verb, word) in [
        ("pause", "Paused"),
        ("resume", "Resumed"),
        ("close", "Closed"),
    ] {
        let fake = Fake::start([body(closed.clone())]).await;
        let (result, shown) = run_line(&fake, &[verb, ID]).await;
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        let line = format!("POST /monitor/api/campaigns/{ID}/{verb}");
        assert_eq!(fake.asked()[0].line, line);
        assert!(shown.starts_with(word), "{shown}");
        assert!(shown.contains("¥70.00 (7000) of 5 packets"), "{shown}");
    }
}

#[tokio::test]
async fn a_top_up_of_prizes_counts_their_packets() {
    let fake = Fake::start([body(campaign())]).await;
    let line = [
        "top-up",
        ID,
        "--tier",
        "Luck:100:88",
        "--tier",
        "First:1:8888",
    ];
    let (result, _) = run_line(&fake, &line).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    let asked = &fake.asked()[0];
    let sent: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(sent["packets"], 101);
    assert_eq!(sent["tiers"][1]["amount"], 8_888);
    assert!(
        asked
            .headers
            .iter()
            .any(|h| h.starts_with("idempotency-key: "))
    );
}

#[tokio::test]
async fn winners_are_paged_searched_and_shown() {
    let winner = |packet: &str| {
        json!({"packet": packet, "wave": 1, "user": "小明", "amount": 88,
            "claimed_at": "2026-12-31T12:00:01.000Z", "redeemed_at": null})
    };
    let fake = Fake::start([
        body(json!({"winners": [winner("1-1")], "next_cursor": "a+b"})),
        body(json!({"winners": [winner("1-2")], "next_cursor": null})),
        body(campaign()),
    ])
    .await;
    let (result, shown) = run_line(&fake, &["winners", ID, "--q", "明 &"]).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    assert!(shown.contains("1-2     ¥0.88 (88)"), "{shown}");
    let asked = fake.asked();
    let line = format!("GET /monitor/api/campaigns/{ID}/winners?q=%E6%98%8E+%26&cursor=a%2Bb");
    assert_eq!(asked[1].line, line);
}

#[tokio::test]
async fn csv_goes_to_a_file_that_appears_only_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("winners.csv");
    let path = file.to_str().unwrap();
    let line = ["winners", ID, "--csv", "--out", path];

    let fake = Fake::start([Reply::Torn("packet,user\n".to_owned())]).await;
    let (result, _) = run_line(&fake, &line).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("not whole"), "{error}");
    assert!(!file.exists());

    let csv = "packet,user\n1-1,bob\n";
    let fake = Fake::start([Reply::Body(200, csv.to_owned())]).await;
    let (result, _) = run_line(&fake, &line).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), csv);
    assert!(fake.asked()[0].line.ends_with("/winners?format=csv"));

    let fake = Fake::start([Reply::Body(200, csv.to_owned())]).await;
    let (_, shown) = run_line(&fake, &["winners", ID, "--csv"]).await;
    assert_eq!(shown, csv);
}

#[tokio::test]
async fn an_audit_that_does_not_balance_exits_1() {
    let audit = |balanced: bool| {
        json!({"balanced": balanced, "budget": 10_000, "claimed": 3_000, "unclaimed": 7_000,
            "refunded": 0, "packets": {"total": 7, "claimed": 2, "unclaimed": 5, "refunded": 0},
            "double_claims": u32::from(!balanced), "over_limit": 0, "wrong_amounts": 0,
            "split_commitment": "abcd", "checked_at": "2026-12-31T12:00:01.000Z"})
    };
    let fake = Fake::start([body(audit(true)), body(campaign())]).await;
    let (result, shown) = run_line(&fake, &["audit", ID]).await;
    assert_eq!(result.unwrap(), ExitCode::SUCCESS);
    assert!(shown.contains("The books balance."), "{shown}");
    assert!(shown.contains("¥30.00 (3000)"), "{shown}");
    let fake = Fake::start([body(audit(false)), body(campaign())]).await;
    let (result, shown) = run_line(&fake, &["audit", ID]).await;
    assert_eq!(result.unwrap(), ExitCode::FAILURE);
    assert!(shown.contains("FAULT: packets claimed twice: 1"), "{shown}");
    let fake = Fake::start([body(audit(false))]).await;
    let (result, _) = run_line(&fake, &["audit", ID, "--json"]).await;
    assert_eq!(result.unwrap(), ExitCode::FAILURE);
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
