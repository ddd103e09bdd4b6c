//! The account service is down: a bounded, clear answer by configuration, and repaired after.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use testkit::Redis;
use uuid::Uuid;

use crate::{
    client::{Answer, send},
    cluster::{Cluster, Role, Spec, known_everywhere},
    engines::Database,
    sample::{number, plain, token, with},
};

/// Grabs are answered within this, whatever is down.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_grab_is_refused_in_time_and_decided_later() {
    let redis = Redis::start();
    let spec = Spec::new(Database::MariaDb.url(), redis.url());
    let mut cluster = Cluster::start(&spec).await;
    let client = cluster.client();
    let rules = json!({"rules": {"attempt_window_seconds": 3_600, "blocked": ["bad"]}});
    let campaign = client.create(&with(plain(200), rules)).await;
    known_everywhere().await;
    let (tap, ming) = (Uuid::new_v4(), token("ming"));
    for _ in 0..2 {
        // The window belongs to the Grab-Id, on whichever replica of account.
        let answer = client.tap(&campaign, "first", tap, 1).await;
        assert!(matches!(answer, Answer::Won { .. }), "{answer:?}");
    }
    // On a machine that has just stood still, a first verdict may come too late.
    let blocked = loop {
        if let Some(answer) = client.ask(&campaign, &token("bad"), None).await {
            break answer;
        }
    };
    assert!(blocked.rejected("blocked"), "{blocked:?}");
    // The other replica of redpacket has heard of the first win, too.
    known_everywhere().await;

    for number in 0..2 {
        cluster.one(Role::Account, number).kill();
    }
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let tap = Uuid::new_v4();
    for attempt in 1..=20 {
        let began = Instant::now();
        let ask = client.request(Method::POST, &path).bearer_auth(&ming);
        let ask = ask.header("Grab-Id", tap.to_string());
        let reply = send(ask.header("Grab-Attempt", attempt)).await;
        assert!(
            reply.headers.contains_key("retry-after"),
            "{:?}",
            reply.headers
        );
        reply.expect_error(503, "unavailable");
        assert!(began.elapsed() < ANSWERED_WITHIN, "{:?}", began.elapsed());
    }
    // Who has won hears so all the same: that needs nobody's leave.
    assert!(client.grab(&campaign, "first").await.is_repeated());

    for number in 0..2 {
        cluster.one(Role::Account, number).start();
    }
    let answer = loop {
        if let Some(answer) = client.ask(&campaign, &ming, Some((tap, 21))).await {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(
        matches!(answer, Answer::Won { .. }),
        "the attempt was used up: {answer:?}"
    );
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["packets"]["claimed"]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn or_admitted_where_that_is_configured() {
    let redis = Redis::start();
    let spec =
        Spec::new(Database::Postgres.url(), redis.url()).with("HONGBAO_ACCOUNT_DOWN", "admit");
    let mut cluster = Cluster::start(&spec).await;
    let client = cluster.client();
    let campaign = client.create(&plain(20)).await;
    known_everywhere().await;
    for number in 0..2 {
        cluster.one(Role::Account, number).kill();
    }
    for user in 0..20 {
        let user = format!("user-{user}");
        let answer = loop {
            let token = token(&user);
            match client
                .ask(&campaign, &token, Some((Uuid::new_v4(), 2)))
                .await
            {
                // The last packets may be with the other replica, which gives them back.
                Some(answer) if answer.missed("not_this_time") => {}
                Some(answer) => break answer,
                None => {}
            }
        };
        assert!(matches!(answer, Answer::Won { .. }), "{user}: {answer:?}");
    }
    client.audit(&campaign).await;
}
