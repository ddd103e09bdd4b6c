//! The life of a campaign: create, issue, pause, top up, close.

use std::time::Duration;

use http::{Method, StatusCode};
use queue::QueueName;
use serde_json::{Value, json};

use crate::monitor::testkit::{Answer, Bench, terms, terms_with, with};

const CAMPAIGNS: &str = "/monitor/api/campaigns";

async fn act(bench: &Bench, id: &str, action: &str) -> Answer {
    let path = format!("{CAMPAIGNS}/{id}/{action}");
    bench.call(Method::POST, &path).send().await
}

pub(super) async fn top_up(bench: &Bench, id: &str, key: &str, body: Value) -> Answer {
    let call = bench.call(Method::POST, &format!("{CAMPAIGNS}/{id}/top-up"));
    call.header("idempotency-key", key).json(&body).send().await
}

/// Reads the campaign until `there` holds of it. The test runner's own limit ends a vain wait.
async fn until(bench: &Bench, id: &str, there: impl Fn(&Value) -> bool) -> Value {
    loop {
        let campaign = bench.get(&format!("{CAMPAIGNS}/{id}")).await.json();
        if there(&campaign) {
            return campaign;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn id_of(campaign: &Value) -> String {
    campaign["id"].as_str().unwrap().to_owned()
}

fn states(campaign: &Value) -> Vec<(u64, String)> {
    let waves = campaign["waves"].as_array().unwrap().iter();
    let state = |wave: &Value| {
        let state = wave["state"].as_str().unwrap().to_owned();
        (wave["packets"].as_u64().unwrap(), state)
    };
    waves.map(state).collect()
}

#[tokio::test]
async fn a_campaign_that_starts_now_is_answered_with_its_first_wave_open() {
    let bench = Bench::new().await;
    let campaign = bench.create(terms()).await;
    assert_eq!(campaign["state"], "running");
    assert_eq!(campaign["packets_issued"], 4);
    assert_eq!(campaign["packets_total"], 10);
    assert_eq!(
        states(&campaign),
        [
            (4, "open".into()),
            (3, "planned".into()),
            (3, "planned".into())
        ]
    );
    assert_eq!(campaign["split_seed"], json!(null));
    assert_eq!(campaign["budget"], 10_000);

    let id = id_of(&campaign);
    let name = QueueName::of(id.parse().unwrap());
    assert_eq!(bench.queue.counts(&name).await.unwrap().visible, 4);

    let closed = act(&bench, &id, "close").await;
    assert_eq!(closed.status, StatusCode::OK);
    let body = closed.json();
    assert_eq!(body["state"], "ended");
    assert_eq!(body["refunded"]["packets"], 10);
    assert_eq!(body["refunded"]["amount"], 10_000);
    assert!(body["split_seed"].is_string());
    assert_eq!(act(&bench, &id, "close").await.text(), closed.text());
}

#[tokio::test]
async fn the_scheduler_opens_waves_when_due_and_closes_at_the_end() {
    let bench = Bench::new().await;
    bench.run();
    let campaign = bench
        .create(terms_with("interval_seconds", json!(1_000)))
        .await;
    let id = id_of(&campaign);
    bench.clock.forward_seconds(1_000);
    until(&bench, &id, |c| c["packets_issued"] == 7).await;
    bench.clock.forward_seconds(1_000);
    let all = until(&bench, &id, |c| c["packets_issued"] == 10).await;
    assert_eq!(all["next_wave_at"], json!(null));
    bench.clock.forward_seconds(24 * 3_600);
    let ended = until(&bench, &id, |c| c["state"] == "ended").await;
    assert_eq!(ended["refunded"]["amount"], 10_000);
    for change in ["pause", "resume"] {
        let refusal = act(&bench, &id, change).await.refusal();
        assert_eq!(refusal, (409, "campaign_ended".into()));
    }
    let late = top_up(&bench, &id, "late", json!({"packets": 1, "total": 1})).await;
    assert_eq!(late.refusal(), (409, "campaign_ended".into()));
    let patch = bench.call(Method::PATCH, &format!("{CAMPAIGNS}/{id}"));
    let patch = patch.json(&json!({"title": "Late"})).send().await;
    assert_eq!(patch.refusal(), (409, "campaign_ended".into()));
}

/// Waves that wait, for a queue that does not answer perhaps, keep no campaign from its end.
#[tokio::test]
async fn a_close_needs_no_place_of_a_wave() {
    let bench = Bench::new().await;
    let mut held = Vec::new();
    let mut stuck = Vec::new();
    for _ in 0..6 {
        let campaign = bench
            .create(terms_with("interval_seconds", json!(1_000)))
            .await;
        let id = id_of(&campaign);
        let campaign = bench.ledger.campaign(id.parse().unwrap()).await;
        let no = campaign.unwrap().expect("it was created").no;
        held.push(bench.monitor.locks.lock(no).await);
        stuck.push(id);
    }
    let ends_at = bench.ledger.now().plus_seconds(500);
    let short = with(terms_with("batches", json!(1)), "ends_at", json!(ends_at));
    let ends = id_of(&bench.create(short).await);
    bench.run();
    bench.clock.forward_seconds(1_000);
    until(&bench, &ends, |c| c["state"] == "ended").await;
    drop(held);
    for id in &stuck {
        until(&bench, id, |c| c["packets_issued"] == 7).await;
    }
}

#[tokio::test]
async fn no_wave_opens_while_paused_and_the_rest_shifts() {
    let bench = Bench::new().await;
    bench.run();
    let campaign = bench
        .create(terms_with("interval_seconds", json!(1_000)))
        .await;
    let id = id_of(&campaign);
    let paused = act(&bench, &id, "pause").await.json();
    assert_eq!(paused["state"], "paused");
    assert_eq!(paused["next_wave_at"], json!(null));
    assert!(act(&bench, &id, "pause").await.status.is_success());
    bench.clock.forward_seconds(5_000);
    // Several of the scheduler's rounds.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let still = bench.get(&format!("{CAMPAIGNS}/{id}")).await.json();
    assert_eq!(still["packets_issued"], 4);
    let resumed = act(&bench, &id, "resume").await.json();
    assert_eq!(resumed["state"], "running");
    assert_eq!(resumed["packets_issued"], 4);
    assert_ne!(
        resumed["waves"][1]["due_at"],
        campaign["waves"][1]["due_at"]
    );
    bench.clock.forward_seconds(2_000);
    until(&bench, &id, |c| c["packets_issued"] == 10).await;
}

#[tokio::test]
async fn a_campaign_for_later_is_scheduled_and_its_top_up_waits_for_the_start() {
    let bench = Bench::new().await;
    bench.run();
    let starts_at = bench.ledger.now().plus_seconds(3_600);
    let campaign = bench
        .create(with(
            terms_with("interval_seconds", json!(1_000)),
            "starts_at",
            json!(starts_at),
        ))
        .await;
    let id = id_of(&campaign);
    assert_eq!(campaign["state"], "scheduled");
    assert_eq!(campaign["starts_at"], json!(starts_at));
    assert_eq!(campaign["next_wave_at"], json!(starts_at));
    let topped = top_up(&bench, &id, "k", json!({"packets": 5, "total": 50})).await;
    assert_eq!(topped.status, StatusCode::OK, "{}", topped.text());
    tokio::time::sleep(Duration::from_millis(400)).await;
    let still = bench.get(&format!("{CAMPAIGNS}/{id}")).await.json();
    assert_eq!(still["state"], "scheduled");
    bench.clock.forward_seconds(3_600);
    until(&bench, &id, |c| c["packets_issued"] == 9).await;
}

#[tokio::test]
async fn a_top_up_opens_at_once_and_happens_once() {
    let bench = Bench::new().await;
    let id = id_of(&bench.create(terms()).await);
    let body = json!({"packets": 5, "total": 500});
    for _ in 0..2 {
        let topped = top_up(&bench, &id, "key", body.clone()).await;
        assert_eq!(topped.status, StatusCode::OK, "{}", topped.text());
        let topped = topped.json();
        assert_eq!(topped["budget"], 10_500);
        assert_eq!(topped["packets_issued"], 9);
        assert_eq!(topped["waves"][3]["state"], "open");
    }
    let other = top_up(&bench, &id, "key", json!({"packets": 6, "total": 500})).await;
    assert_eq!(other.refusal(), (409, "idempotency_key_reused".into()));
    let path = format!("{CAMPAIGNS}/{id}/top-up");
    let without = bench.post(&path, body).await;
    assert_eq!(without.refusal(), (400, "invalid_header".into()));
    assert!(without.message().contains("Idempotency-Key"));

    // The retry of the very top-up that reached the limit is not refused for the limit.
    let most = json!({"packets": 1, "total": (1_u64 << 53) - 1 - 10_500});
    for _ in 0..2 {
        let topped = top_up(&bench, &id, "most", most.clone()).await;
        assert_eq!(topped.status, StatusCode::OK, "{}", topped.text());
    }
    let beyond = top_up(&bench, &id, "beyond", json!({"packets": 1, "total": 1})).await;
    assert_eq!(beyond.refusal(), (400, "invalid_field".into()));
    assert!(beyond.message().contains("`total`"), "{}", beyond.message());
}

#[tokio::test]
async fn a_repeated_create_is_one_campaign_even_when_its_start_has_passed() {
    let bench = Bench::new().await;
    let starts_at = bench.ledger.now().plus_seconds(1);
    let body = terms_with("starts_at", json!(starts_at));
    let create = async |body: &Value| {
        let call = bench.call(Method::POST, CAMPAIGNS).json(body);
        call.header("idempotency-key", "one").send().await
    };
    let first = create(&body).await.json();
    bench.clock.forward_seconds(600);
    let again = create(&body).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.text());
    let again = again.json();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again["state"], "running");
    let other = create(&with(body, "title", json!("Other"))).await;
    assert_eq!(other.refusal(), (409, "idempotency_key_reused".into()));
    let listed = bench.get(CAMPAIGNS).await.json();
    assert_eq!(listed["campaigns"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_start_just_past_is_now_and_one_long_past_is_refused() {
    let bench = Bench::new().await;
    let now = bench.ledger.now();
    let campaign = bench
        .create(terms_with("starts_at", json!(now.plus_seconds(-50))))
        .await;
    assert_eq!(campaign["state"], "running");
    let starts_at: rules::Timestamp = campaign["starts_at"].as_str().unwrap().parse().unwrap();
    assert!(starts_at >= now.plus_micros(-1_000));
    let past = terms_with("starts_at", json!(now.plus_seconds(-3_600)));
    let refused = bench.post(CAMPAIGNS, past).await;
    assert_eq!(refused.refusal(), (400, "invalid_field".into()));
    assert!(refused.message().contains("`starts_at`"));
}

#[tokio::test]
async fn closes_that_race_refund_once_and_say_the_same() {
    let bench = Bench::new().await;
    bench.run();
    let ends_at = bench.ledger.now().plus_seconds(60);
    let campaign = bench.create(terms_with("ends_at", json!(ends_at))).await;
    let id = id_of(&campaign);
    let amount = bench.amount(&id, 1, 2).await;
    bench.claim(&id, "bob", "1-2", amount).await;
    bench.clock.forward_seconds(60);
    let closes = (0..8).map(|_| act(&bench, &id, "close"));
    let answers = futures_util::future::join_all(closes).await;
    let first = answers[0].json();
    assert_eq!(first["refunded"]["packets"], 9);
    assert_eq!(first["refunded"]["amount"], 10_000 - amount);
    assert!(answers.iter().all(|answer| answer.json() == first));
    let audit = bench.get(&format!("{CAMPAIGNS}/{id}/audit")).await.json();
    assert_eq!(audit["balanced"], true, "{audit}");
    assert_eq!(audit["packets"]["refunded"], 9);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let bench = Bench::new().await;
    let rules = json!({"attempt_window_seconds": 10, "eligible": ["bob", "eve"]});
    let id = id_of(&bench.create(terms_with("rules", rules)).await);
    let patch = async |body: Value| {
        let call = bench.call(Method::PATCH, &format!("{CAMPAIGNS}/{id}"));
        let answer = call.json(&body).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    };
    let blocked = patch(json!({"rules": {"blocked": ["eve"]}})).await;
    let expected = json!({"attempt_window_seconds": 10, "discard_probability": 0.0,
        "eligible": ["bob", "eve"], "blocked": ["eve"]});
    assert_eq!(blocked["rules"], expected);
    let free = patch(json!({"rules": {"attempt_window_seconds": null}, "title": "New"})).await;
    assert_eq!(free["rules"]["attempt_window_seconds"], json!(null));
    assert_eq!(free["rules"]["blocked"], json!(["eve"]));
    assert_eq!(free["title"], "New");
    let ends_at = bench.ledger.now().plus_seconds(100);
    assert_eq!(
        patch(json!({"ends_at": ends_at})).await["ends_at"],
        json!(ends_at)
    );
    assert_eq!(patch(json!({})).await["title"], "New");
}
