//! Single taps, on one node or two.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_tap_finds_the_win_that_another_node_has_committed() {
    let bench = Bench::new().await;
    let (one, other) = (Rig::over(&bench, 1).await, Rig::over(&bench, 2).await);
    let created = bench
        .create(json!({
            "title": "two nodes", "packets": 2, "batches": 1, "interval_seconds": 0,
            "currency": "CNY", "split": {"mode": "equal", "amount": 5},
        }))
        .await;
    let id = created["id"].as_str().expect("an id");
    let tap = Uuid::from_u128(1);
    one.knows(id).await;
    other.knows(id).await;
    let first = one.ask(id, "bob", tap, 1).await.expect("an answer");
    assert_eq!(first["outcome"], "won");
    let again = other.ask(id, "bob", tap, 2).await.expect("an answer");
    assert_eq!(again["outcome"], "won");
    assert_eq!(again["repeated"], true);
    assert_eq!(again["packet"], first["packet"]);
    one.node.stop().await;
    other.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_503_uses_up_no_attempt() {
    let bench = Bench::new().await;
    let rig = Rig::over(&bench, 1).await;
    let id = &rig
        .five(&bench, json!({"attempt_window_seconds": 3_600}))
        .await;
    // The node has not read yet that the campaign is halted: the ledger refuses the claim.
    let campaign = id.parse().expect("an id");
    bench
        .ledger
        .halt_campaign(campaign, "a test")
        .await
        .expect("the ledger");
    assert_eq!(rig.ask(id, "bob", Uuid::from_u128(1), 1).await, None);
    let rain = rig.node.rain(campaign).expect("the node knows it");
    let view = rain.view();
    let now = rig.now();
    let other_tap = Attempt {
        user: UserId::trusted("bob"),
        grab_id: Some(rules::GrabId(Uuid::from_u128(2))),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let verdict = rig
        .node
        .admission
        .admit(
            campaign,
            &view.rules,
            other_tap,
            now,
            Instant::now() + grab::ANSWER_WITHIN,
        )
        .await;
    assert_eq!(verdict, Some(rules::admission::Verdict::Admitted));
    rig.node.stop().await;
}

/// The time may go with what comes before a claim: then nobody knows, and nothing is used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grab_without_time_for_a_claim_is_undecided() {
    let bench = Bench::new().await;
    let rig = Rig::over(&bench, 1).await;
    let id = &rig
        .five(&bench, json!({"attempt_window_seconds": 3_600}))
        .await;
    let campaign = id.parse().expect("an id");
    let rain = rig.node.rain(campaign).expect("the node knows it");
    let user = UserId::trusted("bob");
    let late = grab::Ask {
        user: &user,
        tap: tap::Tap::read(|_| std::iter::empty()).expect("no headers"),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        now: rig.now(),
        deadline: Instant::now(),
    };
    let answer = grab::decide_waiting(&rig.node, &rain, &late).await;
    assert_eq!(answer, outcome::Answer::Unavailable);
    let again = rig.ask(id, "bob", Uuid::from_u128(2), 1).await;
    assert_eq!(again.expect("an answer")["outcome"], "won");
    rig.node.stop().await;
}

/// A user who goes away before the answer is counted, though nobody is told what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grab_that_nobody_waits_for_is_counted() {
    let bench = Bench::new().await;
    let rig = Rig::over(&bench, 1).await;
    let id = &rig.five(&bench, json!({})).await;
    let rain = rig
        .node
        .rain(id.parse().expect("an id"))
        .expect("the node knows it");
    let before = rain.counters.take();
    assert!(before.is_empty(), "{before:?}");
    // One by either way.
    for tap in [1, 2] {
        let user = format!("user {tap}");
        let asking = rig.ask(id, &user, Uuid::from_u128(tap), 1);
        let mut asking = std::pin::pin!(asking);
        assert!(futures_util::poll!(asking.as_mut()).is_pending());
    }
    let counted = rain.counters.take();
    assert_eq!(
        counted.outcomes[rules::Outcome::Unavailable.slot()],
        2,
        "{counted:?}"
    );
    rig.node.stop().await;
}

/// However many listen, connections are left for grabs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_listen_as_may() {
    let bench = Bench::new().await;
    let rig = Rig::over(&bench, 1).await;
    let id = &rig.five(&bench, json!({})).await;
    let listen = async || {
        let node = State(rig.node.clone());
        let id = CampaignPath(id.parse().expect("an id"));
        events::events(node, id, HeaderMap::new()).await
    };
    let (one, two) = (listen().await, listen().await);
    assert!(one.is_ok() && two.is_ok());
    let refused = listen().await.expect_err("two are open");
    assert_eq!(
        (refused.status.as_u16(), refused.code),
        (503, "unavailable")
    );
    drop(one);
    assert!(listen().await.is_ok(), "its place is free");
    rig.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_of_another_node_are_followed_until_the_end() {
    let bench = Bench::new().await;
    let (one, other) = (Rig::over(&bench, 1).await, Rig::over(&bench, 2).await);
    let created = bench
        .create(json!({
            "title": "followed", "packets": 2, "batches": 1, "interval_seconds": 0,
            "currency": "CNY", "split": {"mode": "equal", "amount": 5},
        }))
        .await;
    let id = created["id"].as_str().expect("an id");
    one.knows(id).await;
    other.knows(id).await;
    let first = one.ask(id, "bob", Uuid::from_u128(1), 1).await;
    let first = first.expect("an answer");
    assert_eq!(first["outcome"], "won");

    // Of a wave that the node has not heard of, claims are not counted: not against fewer waves.
    let rain = other.node.rain(id.parse().expect("an id"));
    let rain = rain.expect("the node knows it");
    let known = rain.view().current();
    let mut behind = (*known.campaign).clone();
    behind.waves.push(behind.waves[0].clone());
    behind.waves[0].state = ledger::WaveState::Planned;
    let behind = Current {
        campaign: Arc::new(behind),
        ..known.clone()
    };
    rain.change(behind, other.now());
    other.node.follow_once().await.expect("the ledger");
    assert_eq!(rain.winners.claimed(), 0);
    rain.change(known, other.now());
    other.node.follow_once().await.expect("the ledger");
    assert_eq!(rain.winners.claimed(), 1);
    // A new tap, on the node that has not seen the win: the same win again, without a look.
    let again = other.ask(id, "bob", Uuid::from_u128(2), 1).await;
    let again = again.expect("an answer");
    assert_eq!(again["repeated"], true, "{again}");
    assert_eq!(again["packet"], first["packet"]);

    let second = one.ask(id, "eve", Uuid::from_u128(3), 1).await;
    assert_eq!(second.expect("an answer")["outcome"], "won");
    other.node.follow_once().await.expect("the ledger");
    let late = other.ask(id, "mal", Uuid::from_u128(4), 1).await;
    assert_eq!(late.expect("an answer")["reason"], "sold_out");

    let path = format!("/monitor/api/campaigns/{id}/close");
    assert_eq!(bench.post(&path, json!({})).await.status, 200);
    while rain.view().campaign.closed_at.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    other.node.follow_once().await.expect("the ledger");
    assert!(rain.followed.is_to_the_end(), "no more will come");

    other.node.forget_wins(Duration::ZERO);
    let again = other.ask(id, "bob", Uuid::from_u128(5), 1).await;
    let again = again.expect("an answer");
    assert_eq!(again["packet"], first["packet"], "{again}");
    let never = other.ask(id, "mal", Uuid::from_u128(6), 1).await;
    assert_eq!(never.expect("an answer")["reason"], "ended");
    let anew = other.node.rain(rain.id).expect("the node knows it");
    assert!(!anew.wins_loaded(), "they left memory");
    assert_eq!(
        anew.winners.claimed(),
        0,
        "and who asked did not bring them back"
    );
    let in_front = other.ask(id, "bob", Uuid::from_u128(7), 2).await;
    assert_eq!(in_front.expect("an answer")["packet"], first["packet"]);
    one.node.stop().await;
    other.node.stop().await;
}
