//! Every outcome and reason of a grab, in the order the contract gives them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Answer, Client, serve},
    sample::{from_now, plain, text, token, with},
    until::until,
};

async fn act(client: &Client, campaign: &str, verb: &str) -> Value {
    let path = format!("/monitor/api/campaigns/{campaign}/{verb}");
    client.post(&path, &json!({})).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tap_gets_the_same_win() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let first = client.grab(&campaign, "ming").await;
    assert!(!first.is_repeated());
    for tap in [None, Some((Uuid::new_v4(), 1)), Some((Uuid::new_v4(), 3))] {
        let again = client
            .ask(&campaign, &token("ming"), tap)
            .await
            .expect("decided");
        assert!(again.is_repeated());
        assert_eq!(again.win(), first.win());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_taps_of_one_user_win_once() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(50)).await;
    let taps = (0..40).map(|_| {
        let (client, campaign) = (client.clone(), campaign.clone());
        tokio::spawn(async move { client.tap(&campaign, "ming", Uuid::new_v4(), 1).await })
    });
    let taps: Vec<_> = taps.collect();
    let mut fresh = 0;
    let mut packets = std::collections::HashSet::new();
    for tap in taps {
        let answer = tap.await.unwrap();
        fresh += u32::from(!answer.is_repeated());
        packets.insert(answer.win());
    }
    assert_eq!((fresh, packets.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_wins_and_their_grab_ids() {
    let (_folder, _server, client) = serve();
    let limit = json!({"win_limit": {"count": 2, "per": "campaign"}});
    let campaign = client.create(&with(plain(10), limit)).await;
    let taps = [Uuid::new_v4(), Uuid::new_v4()];
    let mut wins = Vec::new();
    for tap in taps {
        wins.push(client.tap(&campaign, "ming", tap, 1).await.win());
    }
    assert_ne!(wins[0], wins[1]);
    let third = client.tap(&campaign, "ming", Uuid::new_v4(), 1).await;
    assert!(third.rejected("limit_reached"), "{third:?}");
    for (tap, win) in taps.into_iter().zip(wins) {
        let again = client.tap(&campaign, "ming", tap, 2).await;
        assert!(again.is_repeated());
        assert_eq!(again.win(), win, "a repeated Grab-Id gets its own win");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_win_a_wave() {
    let (_folder, _server, client) = serve();
    // Long enough that the first grab is one of the first wave.
    let waves =
        json!({"batches": 2, "interval_seconds": 5, "win_limit": {"count": 1, "per": "wave"}});
    let campaign = client.create(&with(plain(20), waves)).await;
    let first = client.grab(&campaign, "ming").await.win();
    let second = until("the second wave is won in", async || {
        let answer = client.grab(&campaign, "ming").await;
        if answer.win() != first {
            return Some(answer);
        }
        assert!(answer.is_repeated(), "a second win in one wave: {answer:?}");
        None
    })
    .await;
    assert!(!second.is_repeated());
    client.audit(&campaign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_rules_out() {
    let (_folder, _server, client) = serve();
    let later = json!({"starts_at": from_now(3_600), "ends_at": from_now(7_200)});
    let campaign = client.create(&with(plain(5), later)).await;
    let answer = client.grab(&campaign, "ming").await;
    assert!(answer.missed("not_started"), "{answer:?}");

    let campaign = client.create(&plain(5)).await;
    let win = client.grab(&campaign, "winner").await.win();
    act(&client, &campaign, "pause").await;
    let answer = client.grab(&campaign, "ming").await;
    assert!(answer.missed("paused"), "{answer:?}");
    act(&client, &campaign, "resume").await;
    client.grab(&campaign, "ming").await.win();
    act(&client, &campaign, "pause").await;
    act(&client, &campaign, "close").await;
    let answer = client.grab(&campaign, "late").await;
    assert!(answer.missed("ended"), "{answer:?}");
    let answer = client.grab(&campaign, "winner").await;
    assert_eq!(answer.win(), win, "the end never hides a win");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_rules_out() {
    let (_folder, _server, client) = serve();
    let waves = json!({"batches": 2, "interval_seconds": 3_600});
    let campaign = client.create(&with(plain(2), waves)).await;
    client.grab(&campaign, "first").await.win();
    let path = format!("/redpacket/campaigns/{campaign}/grab");
    let request = client
        .request(reqwest::Method::POST, &path)
        .bearer_auth(token("late"));
    let body = crate::client::send(request).await.expect(200);
    assert_eq!(body["reason"], "between_waves", "{body}");
    assert!(text(&body["next_wave_at"]).ends_with('Z'), "{body}");

    let campaign = client.create(&plain(1)).await;
    client.grab(&campaign, "first").await.win();
    let answer = client.grab(&campaign, "late").await;
    assert!(answer.missed("sold_out"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn account_rules_reject() {
    let (_folder, _server, client) = serve();
    let rules = |rules: Value| with(plain(50), json!({"rules": rules}));

    let campaign = client.create(&rules(json!({"blocked": ["bad"]}))).await;
    let answer = client.grab(&campaign, "bad").await;
    assert!(answer.rejected("blocked"), "{answer:?}");
    client.grab(&campaign, "Bad").await.win();

    let campaign = client.create(&rules(json!({"eligible": ["ming"]}))).await;
    let answer = client.grab(&campaign, "other").await;
    assert!(answer.rejected("not_eligible"), "{answer:?}");
    client.grab(&campaign, "ming").await.win();

    let campaign = client
        .create(&rules(json!({"eligible": "registered"})))
        .await;
    let answer = client.grab(&campaign, "stranger").await;
    assert!(answer.rejected("not_eligible"), "{answer:?}");

    let always = json!({"discard_probability": 1.0, "attempt_window_seconds": 3_600});
    let campaign = client.create(&rules(always)).await;
    let tap = Uuid::new_v4();
    let answer = client.tap(&campaign, "ming", tap, 1).await;
    assert!(answer.rejected("discarded"), "{answer:?}");
    let answer = client.tap(&campaign, "ming", tap, 2).await;
    assert!(
        answer.rejected("discarded"),
        "the verdict belongs to the tap: {answer:?}"
    );
    let answer = client.tap(&campaign, "ming", Uuid::new_v4(), 1).await;
    assert!(
        answer.rejected("too_frequent"),
        "a discarded ask uses the window up: {answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_are_discarded_at_one_half() {
    let (_folder, _server, client) = serve();
    let half = json!({"rules": {"discard_probability": 0.5}});
    let campaign = client.create(&with(plain(400), half)).await;
    let mut won = 0;
    for user in 0..400 {
        match client.grab(&campaign, &format!("user-{user}")).await {
            Answer::Won { .. } => won += 1,
            answer => assert!(answer.rejected("discarded"), "{answer:?}"),
        }
    }
    // A fair coin leaves this range less than once in 10⁸ runs.
    assert!(
        (140..=260).contains(&won),
        "{won} of 400 won at a discard of one half"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn own_wins_and_only_those() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let (packet, amount) = client.grab(&campaign, "ming").await.win();
    let path = format!("/redpacket/campaigns/{campaign}/wins");
    for (user, expected) in [("ming", 1), ("Ming", 0), ("hong", 0)] {
        let request = client
            .request(reqwest::Method::GET, &path)
            .bearer_auth(token(user));
        let wins = crate::client::send(request).await.expect(200)["wins"].clone();
        let wins = wins.as_array().expect("a list");
        assert_eq!(wins.len(), expected, "{user} sees {wins:?}");
        for win in wins {
            assert_eq!(win["packet"]["id"], packet);
            assert_eq!(win["packet"]["amount"], amount);
            assert!(win["redeemed_at"].is_null());
        }
    }
}
