//! The steps in their order.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::{
    client::{Client, send},
    cluster::{Cluster, known_everywhere},
    engine::{Engine, succeed},
    kills, network, rolling,
    sample::{plain, text, token},
    scaling,
    server::binary,
    tour,
};

/// Nothing is asserted about time by this; it ends a test that would otherwise hang.
const FIRST_GRAB_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn the_template_serves_heals_scales_and_loses_nothing() {
    let engine = block_in_place(|| Engine::start(&binary()));
    let cluster = block_in_place(|| Cluster::new(engine));
    up_to_the_first_grab(&cluster).await;
    let client = cluster.client();
    tour::pages(&client).await;
    inner_names_stay_inside(&client).await;
    let campaign = tour::ten_in_three(&client).await;
    the_log_agrees(&client, &campaign).await;
    tour::crowd(cluster.address(), &client).await;
    kills::of_each_kind(&cluster).await;
    network::cut_off_and_joined(&cluster).await;
    rolling::restart(&cluster).await;
    scaling::out_and_in(&cluster).await;
}

/// From the command to the first packet won, with the images there and nothing else.
async fn up_to_the_first_grab(cluster: &Cluster) {
    let began = Instant::now();
    let up = cluster.spawn(&["up", "--detach"]);
    let client = cluster.client();
    let campaign = loop {
        assert!(began.elapsed() < FIRST_GRAB_WITHIN, "no campaign in time");
        if let Some(campaign) = try_to_issue(&client).await {
            break campaign;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let issued = began.elapsed();
    while !has_won(&client, &campaign).await {
        assert!(began.elapsed() < FIRST_GRAB_WITHIN, "no win in time");
        tokio::time::sleep(PAUSE).await;
    }
    println!(
        "up: a campaign after {:.1} s, the first grab won after {:.1} s",
        issued.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    let output = block_in_place(|| up.wait_with_output()).expect("it can be waited for");
    succeed("bring the template up", output);
    for (service, replicas) in [
        ("webpage", 3),
        ("account", 2),
        ("redpacket", 2),
        ("monitor", 1),
    ] {
        assert_eq!(cluster.containers(service).len(), replicas, "{service}");
        let ready = || cluster.up(service) == replicas;
        cluster.wait_until(&format!("{service} is up"), ready).await;
    }
    known_everywhere().await;
}

async fn try_to_issue(client: &Client) -> Option<String> {
    let body = plain(1);
    let request = client.organiser(Method::POST, "/monitor/api/campaigns");
    let request = request.header("Idempotency-Key", "first").json(&body);
    let reply = request.send().await.ok()?;
    // Undecided, or done by a first call whose answer was lost.
    if !reply.status().is_success() {
        return None;
    }
    let campaign: Value = reply.json().await.ok()?;
    Some(text(&campaign["id"]))
}

async fn has_won(client: &Client, campaign: &str) -> bool {
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let request = client.request(Method::POST, &path);
    let Ok(reply) = request.bearer_auth(token("the first")).send().await else {
        return false;
    };
    let answer: Value = reply.json().await.unwrap_or_default();
    answer["outcome"] == "won"
}

/// What account answers to other services is not to be had from outside, by any name.
async fn inner_names_stay_inside(client: &Client) {
    for host in ["account.local", "account.example", "localhost"] {
        let request = client.request(Method::POST, "/account/verify");
        let request = request
            .header("Host", host)
            .bearer_auth(crate::server::SERVICE_KEY);
        send(request).await.expect(404);
    }
}

/// The log service counts the grabs of a campaign as the ledger does, some seconds later.
async fn the_log_agrees(client: &Client, campaign: &str) {
    let path = format!("/monitor/api/campaigns/{campaign}/stats/log");
    let began = Instant::now();
    loop {
        let reply = send(client.organiser(Method::GET, &path)).await;
        let (all, same) = (&reply.body["log"]["won"], &reply.body["difference"]);
        if *all == 10 && *same == 0 {
            assert_eq!(reply.body["service"], "sls");
            let seconds = began.elapsed().as_secs_f64();
            println!("log: counts as the ledger does, {seconds:.1} s later");
            return;
        }
        assert!(began.elapsed() < FIRST_GRAB_WITHIN, "{:?}", reply.body);
        tokio::time::sleep(PAUSE).await;
    }
}
