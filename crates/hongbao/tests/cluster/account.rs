//! The account service is down: a bounded, clear answer by configuration, and repaired after.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use testkit::Redis;
use uuid::Uuid;

use crate::{
    client::{Answer, send},
    cluster::{Cluster, Role, Spec},
    engines::Database,
    sample::{number, plain, token, with},
    until::until,
};

/// Nothing is asserted about time by this, but that grabs are answered at all, whatever is down.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_grab_is_refused_in_time_and_decided_later() {
    let redis = Redis::start();
    let spec = Spec::new(Database::MariaDb.url(), redis.url());
    let mut cluster = Cluster::start(&spec).await;
    let client = cluster.client();
    let rules = json!({"rules": {"attempt_window_seconds": 3_600, "blocked": ["bad"]}});
    let campaign = client.create(&with(plain(200), rules)).await;
    cluster.known_everywhere(&campaign).await;
    let (tap, ming) = (Uuid::new_v4(), token("ming"));
    // On a machine that has just stood still, a verdict may come too late, and the packets may be
    // with the other replica for a moment.
    let decided = async |user: &str, tap: Option<Uuid>| {
        let (token, mut attempts) = (token(user), 1..);
        until("a grab is decided", async || {
            let tap = tap.zip(attempts.next());
            let answer = client.ask(&campaign, &token, tap).await?;
            (!answer.missed("not_this_time")).then_some(answer)
        })
        .await
    };
    for _ in 0..2 {
        // The window belongs to the Grab-Id, on whichever replica of account.
        let answer = decided("first", Some(tap)).await;
        assert!(matches!(answer, Answer::Won { .. }), "{answer:?}");
    }
    let blocked = decided("bad", None).await;
    assert!(blocked.rejected("blocked"), "{blocked:?}");

    for number in 0..2 {
        cluster.one(Role::Account, number).kill();
    }
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let (tap, mut slowest) = (Uuid::new_v4(), Duration::ZERO);
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
        slowest = slowest.max(began.elapsed());
    }
    println!("account: refused within {slowest:?}");
    assert!(slowest < ANSWERED_WITHIN, "{slowest:?}");
    // Who has won hears so all the same, as soon as both replicas of redpacket have heard of the
    // win: that needs nobody's leave.
    for number in 0..2 {
        let redpacket = cluster.one(Role::Redpacket, number).client();
        until("a winner hears of the win", async || {
            let answer = redpacket.ask(&campaign, &token("first"), None).await?;
            answer.is_repeated().then_some(())
        })
        .await;
    }

    for number in 0..2 {
        cluster.one(Role::Account, number).start();
    }
    let answer = until("the grab is decided", async || {
        let answer = client.ask(&campaign, &ming, Some((tap, 21))).await?;
        (!answer.missed("not_this_time")).then_some(answer)
    })
    .await;
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
    cluster.known_everywhere(&campaign).await;
    for number in 0..2 {
        cluster.one(Role::Account, number).kill();
    }
    for user in 0..20 {
        let user = format!("user-{user}");
        let token = token(&user);
        let answer = until("a grab is decided", async || {
            let tap = Some((Uuid::new_v4(), 2));
            let answer = client.ask(&campaign, &token, tap).await?;
            // The last packets may be with the other replica, which gives them back.
            (!answer.missed("not_this_time")).then_some(answer)
        })
        .await;
        assert!(matches!(answer, Answer::Won { .. }), "{user}: {answer:?}");
    }
    client.audit(&campaign).await;
}
