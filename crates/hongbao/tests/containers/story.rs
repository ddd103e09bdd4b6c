//! The steps in their order.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    away,
    client::{Client, send},
    cluster::Cluster,
    engine::{Engine, succeed},
    kills, network, rolling,
    sample::{plain, text},
    scaling,
    server::binary,
    storm::times,
    tour, upgrade,
};

/// Nothing is asserted about time by this; it ends a test that would otherwise hang.
const FIRST_GRAB_WITHIN: Duration = Duration::from_secs(120);
/// The services, and how many of each the template begins with.
const REPLICAS: [(&str, usize); 4] = [
    ("webpage", 3),
    ("account", 2),
    ("redpacket", 2),
    ("monitor", 1),
];
/// Until the balancer has asked everybody again.
const SETTLED: Duration = Duration::from_secs(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn the_template_serves_heals_scales_and_loses_nothing() {
    let engine = block_in_place(|| Engine::start(&binary()));
    let mut cluster = block_in_place(|| Cluster::new(engine));
    from_two_lines_to_the_first_grab(&cluster).await;

    cluster.tell_tests();
    up_again(&cluster).await;
    let client = cluster.client();
    match std::env::var("ONLY").as_deref() {
        Ok("rolling") => return rolling::restart(&cluster).await,
        Ok("upgrade") => return another_version_and_queue(&mut cluster).await,
        Ok(other) => panic!("there is no step of its own `{other}`"),
        Err(_all) => {}
    }
    tour::pages(&client).await;
    hosts_lead_to_services(&client).await;
    inner_names_stay_inside(&client).await;
    let campaign = tour::ten_in_three(&cluster).await;
    the_log_agrees(&client, &campaign).await;
    tour::crowd(cluster.address(), &cluster).await;

    away::is_the_database(&cluster, &campaign).await;
    kills::of_each_kind(&cluster).await;
    network::cut_off_and_joined(&cluster).await;
    rolling::restart(&cluster).await;
    scaling::out_and_in(&cluster).await;
    if times(1) > 1 {
        another_version_and_queue(&mut cluster).await;
    }
}

/// What only the long form does.
async fn another_version_and_queue(cluster: &mut Cluster) {
    upgrade::by_the_recipe(cluster).await;
    on_the_cloud_s_queue(cluster).await;
}

/// From the command to the first packet won, as a person does it who has written two lines and has
/// the images: the link in the log, a campaign, a code.
async fn from_two_lines_to_the_first_grab(cluster: &Cluster) {
    let began = Instant::now();
    let up = cluster.spawn(&["up", "--detach"]);
    let client = cluster.client();
    let ready = || cluster.up("monitor") > 0 && cluster.log("monitor").contains("setup?token=");
    cluster.wait_until("there is a link to set up", ready).await;
    let log = block_in_place(|| cluster.log("monitor"));
    let cookie = tour::organiser(&log, &client).await;
    let campaign = loop {
        let create = client.request(Method::POST, "/monitor/api/campaigns");
        let create = create
            .header("Cookie", &cookie)
            .header("Origin", format!("http://{}", cluster.address()))
            .header("Idempotency-Key", "first");
        let reply = send(create.json(&plain(1))).await;
        if reply.status.is_success() {
            break text(&reply.body["id"]);
        }
        assert!(began.elapsed() < FIRST_GRAB_WITHIN, "{:?}", reply.body);
        tokio::time::sleep(PAUSE).await;
    };
    let issued = began.elapsed().as_secs_f64();
    while !has_won(&client, &campaign).await {
        assert!(began.elapsed() < FIRST_GRAB_WITHIN, "no win in time");
        tokio::time::sleep(PAUSE).await;
    }
    let won = began.elapsed().as_secs_f64();
    println!("up: a campaign after {issued:.1} s, the first grab won after {won:.1} s");
    let output = block_in_place(|| up.wait_with_output()).expect("it can be waited for");
    succeed("bring the template up", output);
    for (service, replicas) in REPLICAS {
        assert_eq!(cluster.containers(service).len(), replicas, "{service}");
    }
}

/// Enters a code and grabs; whether that won.
async fn has_won(client: &Client, campaign: &str) -> bool {
    let login = client.request(Method::POST, "/account/sessions");
    let login = send(login.json(&json!({"code": "the first"}))).await;
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let grab = client.request(Method::POST, &path);
    let token = login.body["token"].as_str().unwrap_or_default();
    let answer = send(grab.bearer_auth(token)).await;
    answer.body["outcome"] == "won"
}

/// Brings it up with what it was told since, and waits until the balancer knows everybody.
async fn up_again(cluster: &Cluster) {
    block_in_place(|| cluster.compose(&["up", "--detach"]));
    for (service, replicas) in REPLICAS {
        let ready = || {
            let containers = cluster.containers(service);
            let mut containers = containers.iter();
            containers.all(|one| cluster.is_ready(service, one)) && cluster.up(service) == replicas
        };
        let what = format!("{service} is up");
        cluster.wait_until(&what, ready).await;
    }
    tokio::time::sleep(SETTLED).await;
}

/// The same with MNS for the queue: one setting more.
async fn on_the_cloud_s_queue(cluster: &mut Cluster) {
    cluster.tell("MNS_URL", "http://mns.local:8091");
    up_again(cluster).await;
    tour::ten_in_three(cluster).await;
    tour::crowd(cluster.address(), cluster).await;
    kills::of_each_kind(cluster).await;
}

/// Where the path does not say which service is meant, the host's first label does.
async fn hosts_lead_to_services(client: &Client) {
    for (host, page) in [("monitor.example", "/monitor"), ("www.example", "/webpage")] {
        let request = client.request(Method::GET, "/").header("Host", host);
        let reply = request.send().await.expect("the balancer answers");
        let to = reply.headers().get("location");
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or_default();
        assert!(to.ends_with(page), "{host}: {} {to:?}", reply.status());
    }
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
