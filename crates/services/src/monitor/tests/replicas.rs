//! Several monitors on one ledger and one queue: one leads, all take calls.

use std::time::Duration;

use http::StatusCode;
use ledger::{LedgerError, WaveState};
use queue::QueueName;
use serde_json::json;

use super::crash::{begin_and_die, planned};
use crate::monitor::{
    issuer::IssueError,
    testkit::{Bench, terms, terms_with, with},
};

async fn eventually<F: Future<Output = bool>>(done: impl Fn() -> F) {
    while !done().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn calls_on_a_replica_that_does_not_lead_are_answered_when_their_packets_can_be_won() {
    let leader = Bench::new().await;
    leader.run();
    let other = leader.beside().await;
    other.run();
    let campaign = other.create(terms()).await;
    assert_eq!(campaign["waves"][0]["packets"], 4, "{campaign}");
    let id = campaign["id"].as_str().unwrap().to_owned();
    assert_eq!(campaign["packets_issued"], 4, "{campaign}");
    assert!(other.monitor.leader.lead().is_none());

    let path = format!("/monitor/api/campaigns/{id}/top-up");
    let top_up = other.call(http::Method::POST, &path);
    let top_up = top_up.header("idempotency-key", "one");
    let answer = top_up
        .json(&json!({"packets": 5, "total": 50}))
        .send()
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(answer.json()["packets_issued"].as_u64().unwrap() >= 9);

    let refund = other
        .post(&format!("/monitor/api/campaigns/{id}/close"), json!({}))
        .await;
    assert_eq!(refund.status, StatusCode::OK, "{}", refund.text());
    let name = QueueName::of(id.parse().unwrap());
    eventually(async || leader.queue.counts(&name).await.unwrap().visible == 0).await;
}

#[tokio::test]
async fn without_a_leader_a_campaign_is_kept_and_opens_once_there_is_one() {
    let first = Bench::new().await;
    first.monitor.leader.step_down().await;
    let other = first.beside().await;
    let refused = other.post("/monitor/api/campaigns", terms()).await;
    assert_eq!(refused.refusal(), (503, "unavailable".into()));
    let listed = other.get("/monitor/api/campaigns").await.json();
    let id = listed["campaigns"][0]["id"].as_str().unwrap().to_owned();
    assert!(refused.message().contains(&id), "{}", refused.message());
    first.run();
    let id = id.parse().unwrap();
    eventually(async || other.monitor.campaign(id).await.unwrap().packets_issued() >= 4).await;
}

#[tokio::test]
async fn who_takes_over_completes_what_was_begun() {
    let first = Bench::new().await;
    let running = first.run();
    let other = first.beside().await;
    other.run();
    let id = planned(&first).await;
    begin_and_die(&first.monitor, id, None).await;
    let before = first.monitor.leader.lead().unwrap();
    first.stop_running(running).await;
    assert!(first.monitor.leader.lead().is_none(), "it stepped down");
    eventually(async || other.monitor.leader.lead().is_some()).await;
    assert!(other.monitor.leader.lead().unwrap().epoch > before.epoch);
    // The wave is due in an hour, and by then the other opens it as it was begun.
    first.clock.forward_seconds(3_601);
    eventually(async || other.monitor.campaign(id).await.unwrap().packets_issued() >= 4).await;
    let campaign = other.monitor.campaign(id).await.unwrap();
    assert_eq!(campaign.waves[0].bundle_size, 3);
}

#[tokio::test]
async fn a_leader_that_another_followed_writes_nothing_and_learns_it() {
    let first = Bench::new().await;
    let id = planned(&first).await;
    let lead = first.monitor.leader.lead().unwrap();
    // Past the first's lease, and past that of a renewal it never made.
    first.clock.forward_seconds(2 * 365 * 24 * 3_600);
    assert!(first.monitor.leader.lead().is_none(), "its lease is over");
    let other = first.beside().await;
    assert!(other.monitor.leader.take().await.unwrap());
    let refused = first.monitor.open_wave(lead, id, 1).await;
    let deposed = matches!(refused, Err(IssueError::Ledger(LedgerError::Deposed)));
    assert!(deposed, "{refused:?}");
    let campaign = other.monitor.campaign(id).await.unwrap();
    assert_eq!(campaign.waves[0].state, WaveState::Planned);
    assert!(
        !first.monitor.leader.take().await.unwrap(),
        "the other leads"
    );
}

#[tokio::test]
async fn a_queue_that_comes_up_empty_is_filled_without_regard_to_delays() {
    let bench = Bench::new().await;
    let one_wave = with(terms_with("packets", json!(4)), "batches", json!(1));
    let campaign = bench.create(one_wave).await;
    let id: rules::CampaignId = campaign["id"].as_str().unwrap().parse().unwrap();
    let name = QueueName::of(id);
    assert_eq!(
        bench
            .queue
            .filled(std::slice::from_ref(&name))
            .await
            .unwrap(),
        [true]
    );
    bench.run();
    for _ in 0..2 {
        bench.queue.drop_queue(&name).await.unwrap();
        eventually(async || bench.queue.counts(&name).await.unwrap().visible == 4).await;
    }
}
