//! The life of a campaign: create, issue, pause, top up, close.

use http::StatusCode;
use queue::QueueName;
use serde_json::json;

use crate::monitor::testkit::{Bench, terms};

#[tokio::test]
async fn a_campaign_that_starts_now_is_answered_with_its_first_wave_open() {
    let bench = Bench::new().await;
    let campaign = bench.create(terms()).await;
    assert_eq!(campaign["state"], "running");
    assert_eq!(campaign["packets_issued"], 4);
    assert_eq!(campaign["packets_total"], 10);
    let states = campaign["waves"].as_array().unwrap().iter();
    let states: Vec<_> = states
        .map(|wave| (wave["packets"].clone(), wave["state"].clone()))
        .collect();
    assert_eq!(
        states,
        [
            (json!(4), json!("open")),
            (json!(3), json!("planned")),
            (json!(3), json!("planned"))
        ]
    );
    assert_eq!(campaign["split_seed"], json!(null));
    assert_eq!(campaign["budget"], 10_000);

    let id = campaign["id"].as_str().unwrap();
    let name = QueueName::of(id.parse().unwrap());
    assert_eq!(bench.queue.counts(&name).await.unwrap().visible, 4);

    let path = format!("/monitor/api/campaigns/{id}/close");
    let closed = bench.post(&path, json!({})).await;
    assert_eq!(closed.status, StatusCode::OK);
    let body = closed.json();
    assert_eq!(body["state"], "ended");
    assert_eq!(body["refunded"]["packets"], 10);
    assert_eq!(body["refunded"]["amount"], 10_000);
    assert!(body["split_seed"].is_string());
    assert_eq!(bench.post(&path, json!({})).await.text(), closed.text());
}
