//! Counts of grabs that are no wins, which are saved every second: a kill takes with it what came
//! since, and the statistics show that they do not know.

use crate::{
    client::Client,
    sample::{number, plain, text},
    server::Plan,
    until::until,
};

/// How many grabs that found nothing left the metrics tell of.
async fn losses_told(client: &Client) -> u64 {
    let metrics = client.metrics().await;
    let line = metrics.lines().find_map(|line| {
        let of_losses = line.starts_with("hongbao_grabs_total{") && line.contains("\"sold_out\"");
        of_losses.then(|| line.rsplit(' ').next()?.parse().ok())?
    });
    line.unwrap_or_default()
}

/// Waits until `losses` grabs that found nothing left are saved, without asking for the counts,
/// which would save them. It loses one grab more: counts are told when they are on their way to
/// the ledger, and those that come later only when the earlier ones are there.
pub(crate) async fn saved(client: &Client, campaign: &str, losses: u64) {
    let told = async |least: u64| {
        until("the losing grabs are told", async || {
            (losses_told(client).await >= least).then_some(())
        })
        .await;
    };
    told(losses).await;
    let one_more = client.grab(campaign, "one-more").await;
    assert!(one_more.missed("sold_out"), "{one_more:?}");
    told(losses + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_takes_the_last_second_at_most_and_the_gap_is_shown() {
    const LOSSES: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let mut server = plan.start();
    let client = Client::new(&server);
    let campaign = client.create(&plain(3)).await;
    for user in 0..3 {
        client
            .grab(&campaign, &format!("winner-{user}"))
            .await
            .win();
    }
    for user in 0..LOSSES {
        let answer = client.grab(&campaign, &format!("loser-{user}")).await;
        assert!(answer.missed("sold_out"), "{answer:?}");
    }
    saved(&client, &campaign, LOSSES).await;
    server.kill();

    let _server = plan.start();
    let path = format!("/monitor/api/campaigns/{campaign}");
    let live = client.read(&format!("{path}/live")).await;
    let counted = &live["by_outcome"];
    assert_eq!(number(&counted["won"]), 3, "{live}");
    let losses = number(&counted["missed"]["sold_out"]);
    // The one more may have been saved, or not.
    assert!((LOSSES..=LOSSES + 1).contains(&losses), "{live}");
    let stats = client.read(&format!("{path}/stats")).await;
    let gaps = stats["gaps"].as_array().expect("a list");
    assert_eq!(gaps.len(), 1, "{stats}");
    assert!(text(&gaps[0]["from"]) < text(&gaps[0]["to"]), "{stats}");
}
