//! A losing grab costs no backend anything: no ledger, no queue, no other service.

use crate::{client::serve, sample::plain};

/// Many more asks than the server's own background work (counters every second, the directory
/// twice a second) can reach in the time they take.
const LOSING_GRABS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_losing_grab_calls_no_backend() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(1)).await;
    client.grab(&campaign, "winner").await.win();
    // The packet just won is still on its way through queue and ledger for a moment.
    let live = format!("/monitor/api/campaigns/{campaign}/live");
    while client.read(&live).await["leased"] != 0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let names = [
        "hongbao_ledger_calls_total",
        "hongbao_queue_calls_total",
        "hongbao_account_calls_total",
    ];
    let mut before = [0; 3];
    for (count, name) in before.iter_mut().zip(names) {
        *count = client.counter(name).await;
    }
    assert!(before[0] > 0, "the ledger's calls are not counted");
    for n in 0..LOSING_GRABS {
        let answer = client.grab(&campaign, &format!("user-{}", n % 500)).await;
        assert!(answer.missed("sold_out"), "{answer:?}");
    }
    for (before, name) in before.into_iter().zip(names) {
        let calls = client.counter(name).await - before;
        assert!(
            calls < LOSING_GRABS / 5,
            "{LOSING_GRABS} losing grabs made {calls} {name}"
        );
    }
}
