//! A grab that time or stock rules out costs no backend anything: no ledger, no queue, no other
//! service. The user of each asks for the first time: of an earlier ask something may be remembered.

use serde_json::json;

use crate::{
    client::{Client, serve},
    sample::{from_now, plain, token, with},
    until::until,
};

/// Many more asks than the server's own background work (counters every second, the directory
/// twice a second) can reach in the time they take.
const LOSING_GRABS: u64 = 1_500;
/// What is counted of every call of a backend.
const COUNTERS: [&str; 3] = [
    "hongbao_ledger_calls_total",
    "hongbao_queue_calls_total",
    "hongbao_account_calls_total",
];

async fn calls(client: &Client) -> [u64; 3] {
    let mut calls = [0; 3];
    for (calls, name) in calls.iter_mut().zip(COUNTERS) {
        *calls = client.counter(name).await;
    }
    calls
}

/// A campaign with one packet in its first wave, which is won.
async fn sold_out(client: &Client, changes: serde_json::Value) -> String {
    let campaign = client.create(&with(plain(1), changes)).await;
    client.grab(&campaign, "winner").await.win();
    // The packet just won is still on its way through queue and ledger for a moment.
    let live = format!("/monitor/api/campaigns/{campaign}/live");
    until("nothing is leased", async || {
        (client.read(&live).await["leased"] == 0).then_some(())
    })
    .await;
    campaign
}

/// One campaign for each way to be ruled out, with the reason.
async fn ruled_out(client: &Client) -> [(&'static str, String); 5] {
    let acted = async |verb: &str| {
        let campaign = client.create(&plain(5)).await;
        let path = format!("/monitor/api/campaigns/{campaign}/{verb}");
        client.post(&path, &json!({})).await.expect(200);
        campaign
    };
    let waves = json!({"packets": 2, "batches": 2, "interval_seconds": 3_600});
    let later = json!({"starts_at": from_now(3_600), "ends_at": from_now(7_200)});
    [
        ("sold_out", sold_out(client, json!({})).await),
        ("between_waves", sold_out(client, waves).await),
        ("not_started", client.create(&with(plain(5), later)).await),
        ("paused", acted("pause").await),
        ("ended", acted("close").await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_time_or_stock_rules_out_calls_no_backend() {
    let (_folder, _server, client) = serve();
    for (reason, campaign) in ruled_out(&client).await {
        let before = calls(&client).await;
        for (calls, name) in before.into_iter().zip(COUNTERS) {
            // One that does not exist is 0 as well.
            assert!(calls > 0, "{name} is not counted");
        }
        for n in 0..LOSING_GRABS {
            let token = token(&format!("{reason}-{n}"));
            let answer = client.ask_once(&campaign, &token, None).await;
            let answer = answer.unwrap_or_else(|why| panic!("{reason}: {why}"));
            assert!(answer.missed(reason), "{reason}: {answer:?}");
        }
        let after = calls(&client).await;
        for ((before, after), name) in before.into_iter().zip(after).zip(COUNTERS) {
            let calls = after - before;
            println!("{LOSING_GRABS} grabs that were {reason} made {calls} {name}");
            assert!(
                calls < LOSING_GRABS / 5,
                "{LOSING_GRABS} grabs that were {reason} made {calls} {name}"
            );
        }
    }
}
