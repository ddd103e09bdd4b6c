//! The organiser's control: create, top up, pause, change, close; each safe to repeat.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Client, Reply, send, serve},
    sample::{from_now, number, plain, text, with},
    until::until,
};

const CAMPAIGNS: &str = "/monitor/api/campaigns";

async fn post_once(client: &Client, path: &str, key: &str, body: &Value) -> Reply {
    let request = client.organiser(Method::POST, path);
    send(request.header("Idempotency-Key", key).json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_create_is_one_campaign() {
    let (_folder, _server, client) = serve();
    let first = post_once(&client, CAMPAIGNS, "key-1", &plain(5))
        .await
        .expect(201);
    let again = post_once(&client, CAMPAIGNS, "key-1", &plain(5)).await;
    assert!(again.status.is_success(), "{:?}", again.body);
    assert_eq!(again.body["id"], first["id"]);
    let other = post_once(&client, CAMPAIGNS, "key-1", &plain(6)).await;
    other.expect_error(409, "idempotency_key_reused");
    let other = post_once(&client, CAMPAIGNS, "key-2", &plain(5))
        .await
        .expect(201);
    assert_ne!(other["id"], first["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_are_the_contract_s() {
    let (_folder, _server, client) = serve();
    let created = client.post(CAMPAIGNS, &plain(5)).await.expect(201);
    let id = text(&created["id"]);
    let shown = client.read(&format!("{CAMPAIGNS}/{id}")).await;
    assert_eq!(shown["win_limit"], json!({"count": 1, "per": "campaign"}));
    assert_eq!(shown["waves"].as_array().map(Vec::len), Some(1), "{shown}");
    let public = send(client.request(Method::GET, &format!("/redpacket/campaigns/{id}"))).await;
    let public = public.expect(200);
    assert_eq!(public["state"], "running");
    assert_eq!(public["title"], "Test");
    assert!(
        public["split_seed"].is_null(),
        "the seed is secret until the end"
    );
    assert_eq!(text(&public["split_commitment"]).len(), 64);
    for time in ["server_time", "ends_at"] {
        let time = text(&public[time]);
        assert!(
            time.ends_with('Z') && time.contains('.'),
            "milliseconds and Z: {time}"
        );
    }
    let all = client.read(CAMPAIGNS).await;
    assert!(
        all.to_string().contains(&id),
        "the list leaves it out: {all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_top_up_is_one() {
    let (_folder, _server, client) = serve();
    let lucky = json!({"split": {"mode": "lucky", "total": 1_000}});
    let campaign = client.create(&with(plain(1), lucky)).await;
    client.grab(&campaign, "first").await.win();
    assert!(client.grab(&campaign, "second").await.missed("sold_out"));

    let path = format!("{CAMPAIGNS}/{campaign}/top-up");
    let body = json!({"packets": 2, "total": 500});
    let without_key = client.post(&path, &body).await;
    assert_eq!(without_key.status.as_u16(), 400, "{:?}", without_key.body);
    for _ in 0..3 {
        let reply = post_once(&client, &path, "top-up-1", &body).await;
        assert!(reply.status.is_success(), "{:?}", reply.body);
    }
    let other = post_once(
        &client,
        &path,
        "top-up-1",
        &json!({"packets": 3, "total": 500}),
    )
    .await;
    other.expect_error(409, "idempotency_key_reused");

    client.grab(&campaign, "second").await.win();
    client.grab(&campaign, "third").await.win();
    assert!(client.grab(&campaign, "fourth").await.missed("sold_out"));
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["budget"]), 1_500);
    assert_eq!(number(&audit["packets"]["total"]), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let path = format!("{CAMPAIGNS}/{campaign}");
    let change = json!({"title": "Changed", "rules": {"blocked": ["bad"]}});
    let request = client.organiser(Method::PATCH, &path).json(&change);
    let changed = send(request).await.expect(200);
    assert_eq!(changed["title"], "Changed");
    // `serve` is one process, where a change is in force at once.
    let answer = client.grab(&campaign, "bad").await;
    assert!(answer.rejected("blocked"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn close_refunds_once_and_is_final() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    client.grab(&campaign, "first").await.win();
    let path = |verb: &str| format!("{CAMPAIGNS}/{campaign}/{verb}");
    let first = client.post(&path("close"), &json!({})).await.expect(200);
    let again = client.post(&path("close"), &json!({})).await.expect(200);
    for volatile in ["server_time", "checked_at"] {
        let without = |body: &Value| with(body.clone(), json!({volatile: null}));
        assert_eq!(without(&again), without(&first), "the answer is repeated");
    }
    for verb in ["pause", "resume"] {
        client
            .post(&path(verb), &json!({}))
            .await
            .expect_error(409, "campaign_ended");
    }
    let top_up = post_once(&client, &path("top-up"), "late", &json!({"packets": 1})).await;
    top_up.expect_error(409, "campaign_ended");
    let request = client.organiser(Method::PATCH, &format!("{CAMPAIGNS}/{campaign}"));
    send(request.json(&json!({"title": "Late"})))
        .await
        .expect_error(409, "campaign_ended");

    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["refunded"]), 400);
    assert_eq!(number(&audit["packets"]["refunded"]), 4);
    assert_eq!(number(&audit["unclaimed"]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_closes_by_itself() {
    let (_folder, _server, client) = serve();
    let soon = json!({"ends_at": from_now(2)});
    let campaign = client.create(&with(plain(5), soon)).await;
    client.grab(&campaign, "first").await.win();
    let path = format!("/redpacket/campaigns/{campaign}");
    let seen = until("it has ended", async || {
        let seen = send(client.request(Method::GET, &path)).await.expect(200);
        (seen["state"] == "ended").then_some(seen)
    })
    .await;
    assert!(seen["split_seed"].is_string(), "{seen}");
    assert_eq!(number(&client.audit(&campaign).await["refunded"]), 400);
    assert!(client.grab(&campaign, "late").await.missed("ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn live_counts_add_up() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(3)).await;
    for user in ["a", "b", "c", "d", "e", "a"] {
        client.grab(&campaign, user).await;
    }
    let live = client.read(&format!("{CAMPAIGNS}/{campaign}/live")).await;
    assert_eq!(number(&live["issued"]), 3);
    assert_eq!(number(&live["claimed"]), 3);
    assert_eq!(number(&live["remaining"]), 0);
    assert_eq!(number(&live["refunded"]), 0);
    // Wins come from the ledger; the other counters are saved every second.
    assert_eq!(number(&live["by_outcome"]["won"]), 3, "{live}");
    until("the misses are counted", async || {
        let path = format!("{CAMPAIGNS}/{campaign}/live");
        let counted = client.read(&path).await["by_outcome"].clone();
        let misses = number(&counted["missed"]["sold_out"]);
        let repeated = number(&counted["repeated"]);
        assert!(misses <= 2 && repeated <= 1, "{counted}");
        (misses + repeated == 3).then_some(())
    })
    .await;
    let queue = client.read("/monitor/api/queue").await;
    assert!(
        queue.to_string().contains("memory"),
        "the backend's name: {queue}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_every_grab() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(3)).await;
    for user in 0..20 {
        client.grab(&campaign, &format!("user-{user}")).await;
    }
    let path = format!("{CAMPAIGNS}/{campaign}/stats");
    until("every grab is counted", async || {
        let stats = client.read(&path).await;
        let series = stats["series"].as_array().expect("a list").iter();
        let (mut won, mut sold_out) = (0, 0);
        for point in series {
            won += number(&point["won"]);
            sold_out += number(&point["missed"]["sold_out"]);
        }
        assert!(won <= 3 && sold_out <= 17, "{stats}");
        (won == 3 && sold_out == 17).then_some(())
    })
    .await;
}
