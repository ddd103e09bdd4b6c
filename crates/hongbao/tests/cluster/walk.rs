//! The walk-through on two replicas of each service: issue, log in, grab, look, export; then a
//! crowd, which audits the books itself.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::Redis;

use crate::{
    client::{Client, send},
    cluster::{Cluster, Role, Spec, known_everywhere},
    engines::Database,
    sample::{number, plain, text},
};

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb_and_redis() {
    walk(Database::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_and_redis() {
    walk(Database::Postgres).await;
}

async fn walk(database: Database) {
    let redis = Redis::start();
    let mut cluster = Cluster::start(&Spec::new(database.url(), redis.url())).await;
    let client = cluster.client();

    for path in [
        "/webpage",
        "/monitor",
        "/docs",
        "/openapi.json",
        "/redpacket/test",
        "/test",
    ] {
        let page = client.request(Method::GET, path).send().await;
        let page = page.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(page.status().as_u16(), 200, "{path}");
    }
    ten_in_three(&client).await;
    crowd(&cluster, &client).await;
    tokens_and_wins_are_the_same_everywhere(&mut cluster, &client).await;
}

/// The mission's example, with codes as people enter them.
async fn ten_in_three(client: &Client) {
    let campaign = client
        .create(&json!({
            "title": "Ten in three", "packets": 10, "batches": 3, "interval_seconds": 2,
            "currency": "CNY", "split": {"mode": "lucky", "total": 10_000, "min": 1, "max": null},
        }))
        .await;
    known_everywhere().await;
    let grab = format!("/redpacket/campaigns/{campaign}/grab");
    let mut wins = 0;
    for user in 0.. {
        let login = json!({"code": format!("code {user}")});
        let login = client
            .request(Method::POST, "/account/sessions")
            .json(&login);
        let token = text(&send(login).await.expect(200)["token"]);
        let answer: Value = loop {
            let answer = send(client.request(Method::POST, &grab).bearer_auth(&token)).await;
            let answer = answer.expect(200);
            if answer["outcome"] == "won" || answer["reason"] == "sold_out" {
                break answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        if answer["outcome"] != "won" {
            break;
        }
        wins += 1;
        let path = format!("/redpacket/campaigns/{campaign}/wins");
        let mine = send(client.request(Method::GET, &path).bearer_auth(&token)).await;
        assert_eq!(mine.expect(200)["wins"][0]["packet"], answer["packet"]);
    }
    assert_eq!(wins, 10);
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["claimed"]), 10_000);
    let live = client
        .read(&format!("/monitor/api/campaigns/{campaign}/live"))
        .await;
    assert_eq!(number(&live["by_outcome"]["won"]), 10);
}

/// `hongbao crowd` through HAProxy: it exits 1 when the books do not balance.
async fn crowd(cluster: &Cluster, client: &Client) {
    let campaign = client.create(&plain(500)).await;
    known_everywhere().await;
    let url = format!("http://{}", cluster.proxy.address());
    let mut crowd = std::process::Command::new(crate::server::binary());
    let crowd = crowd
        .args(["crowd", "--url", &url, "--campaign", &campaign])
        .args(["--users", "700", "--rate", "300", "--for", "5"])
        .env("HONGBAO_ORGANISER_KEY", crate::server::ORGANISER_KEY)
        .env("HONGBAO_TOKEN_SECRET", crate::server::TOKEN_SECRET);
    let output = tokio::task::block_in_place(|| crowd.output()).expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}\n{complained}");
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["packets"]["claimed"]), 500, "{said}");
}

/// Each replica answers for itself, without HAProxy.
async fn tokens_and_wins_are_the_same_everywhere(cluster: &mut Cluster, client: &Client) {
    let login = json!({"code": "the same everywhere"});
    let mut users = Vec::new();
    for number in 0..2 {
        let account = cluster.one(Role::Account, number).client();
        let login = account
            .request(Method::POST, "/account/sessions")
            .json(&login);
        users.push(send(login).await.expect(200));
    }
    assert_eq!(users[0]["user"], users[1]["user"]);
    let campaign = client.create(&plain(5)).await;
    known_everywhere().await;
    let grab = format!("/redpacket/campaigns/{campaign}/grab");
    let mut packets = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let redpacket = cluster.one(Role::Redpacket, number).client();
        let token = text(&user["token"]);
        let ask = redpacket.request(Method::POST, &grab).bearer_auth(token);
        // "Not this time" is said while the packets are with the other.
        let packet = loop {
            let ask = ask.try_clone().expect("it has no body");
            let answer = send(ask.header("Grab-Attempt", "2")).await.expect(200);
            if answer["outcome"] == "won" {
                break answer["packet"].clone();
            }
            assert_eq!(answer["reason"], "not_this_time", "{answer}");
        };
        packets.push(packet);
    }
    assert_eq!(packets[0], packets[1], "one user, two packets");
    let mut audits = Vec::new();
    for number in 0..2 {
        let monitor = cluster.one(Role::Monitor, number).client();
        audits.push(monitor.audit(&campaign).await["claimed"].clone());
    }
    assert_eq!(audits, [100, 100]);
}
