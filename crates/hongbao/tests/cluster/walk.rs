//! The walk-through on two replicas of each service: issue, log in, grab, look, export; then a
//! crowd, which audits the books itself.

use reqwest::Method;
use serde_json::json;
use testkit::Redis;

use crate::{
    client::{Client, send},
    cluster::{Cluster, Role, Spec},
    engines::Database,
    sample::{plain, text},
    tour,
    until::until,
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

    tour::pages(&client).await;
    tour::ten_in_three(&cluster).await;
    tour::crowd(cluster.proxy.address(), &cluster).await;
    tokens_and_wins_are_the_same_everywhere(&mut cluster, &client).await;
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
    cluster.known_everywhere(&campaign).await;
    let grab = format!("/redpacket/campaigns/{campaign}/grab");
    let mut packets = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let redpacket = cluster.one(Role::Redpacket, number).client();
        let token = text(&user["token"]);
        let ask = redpacket.request(Method::POST, &grab).bearer_auth(token);
        // "Not this time" is said while the packets are with the other.
        let packet = until("the packets come over", async || {
            let ask = ask.try_clone().expect("it has no body");
            let answer = send(ask.header("Grab-Attempt", "2")).await.expect(200);
            if answer["outcome"] == "won" {
                return Some(answer["packet"].clone());
            }
            assert_eq!(answer["reason"], "not_this_time", "{answer}");
            None
        })
        .await;
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
