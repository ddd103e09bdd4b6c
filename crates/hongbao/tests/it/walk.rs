//! The thin slice through everything: create, grab, kill, restart, audit.

use uuid::Uuid;

use crate::{
    client::{Client, serve},
    sample::{number, plain},
    server::Plan,
    until::Wait,
};

#[tokio::test(flavor = "multi_thread")]
async fn create_grab_kill_restart_audit() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let mut server = plan.start();
    let client = Client::new(&server);

    let campaign = client.create(&plain(10)).await;
    let tap = Uuid::new_v4();
    let first = client.tap(&campaign, "ming", tap, 1).await.win();
    server.kill();

    let _server = plan.start();
    let again = client.tap(&campaign, "ming", tap, 2).await;
    assert!(again.is_repeated(), "after the kill: {again:?}");
    assert_eq!(again.win(), first, "another win than the one answered");

    // The nine that were not claimed are still to be won, the tenth user finds nothing.
    for user in 0..9 {
        client.grab(&campaign, &format!("user-{user}")).await.win();
    }
    let late = client.grab(&campaign, "late").await;
    assert!(late.missed("sold_out"), "{late:?}");

    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["claimed"]), 1_000);
    assert_eq!(number(&audit["packets"]["claimed"]), 10);
    assert_eq!(client.winners(&campaign).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mission_s_example() {
    let (_folder, _server, client) = serve();
    let campaign = client
        .create(&serde_json::json!({
            "title": "Ten in three", "packets": 10, "batches": 3, "interval_seconds": 2,
            "currency": "CNY", "split": {"mode": "lucky", "total": 10_000, "min": 1, "max": null},
        }))
        .await;

    let mut wins_by_wave = [0_u32; 3];
    let mut users = 0;
    let wait = Wait::begin("every wave is won");
    loop {
        let answer = client.grab(&campaign, &format!("user-{users}")).await;
        users += 1;
        if answer.missed("sold_out") {
            break;
        }
        if answer.missed("between_waves") {
            wait.again().await;
            continue;
        }
        let (packet, _) = answer.win();
        let (wave, _) = packet.split_once('-').expect("wave-index");
        wins_by_wave[wave.parse::<usize>().expect("a wave") - 1] += 1;
    }
    assert_eq!(wins_by_wave, [4, 3, 3]);
    let audit = client.audit(&campaign).await;
    assert_eq!(number(&audit["claimed"]), 10_000);
}
