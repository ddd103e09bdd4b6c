//! The monitor that leads is killed: the other takes over; how soon is printed.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::Redis;

use crate::{
    cluster::{Cluster, Role, Spec},
    engines::Database,
    sample::{number, plain, with},
    storm::Storm,
    until::until,
};

/// Nothing is asserted about time by this; it ends a test that would otherwise hang.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);

/// Which monitor says that it leads, of those that run.
async fn leader(cluster: &mut Cluster) -> Option<usize> {
    let mut leading = Vec::new();
    for (number, monitor) in cluster.all(Role::Monitor).iter().enumerate() {
        if monitor.runs() && monitor.client().counter("hongbao_monitor_leads").await == 1 {
            leading.push(number);
        }
    }
    assert!(leading.len() <= 1, "two monitors lead: {leading:?}");
    leading.first().copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_takes_over() {
    let redis = Redis::start();
    let spec = Spec::new(Database::MariaDb.url(), redis.url());
    let mut cluster = Cluster::start(&spec).await;
    let storm = Storm::begin(&cluster).await;
    let client = cluster.client();
    let waves = json!({"packets": 100, "batches": 50, "interval_seconds": 1});
    let campaign = client.create(&with(plain(1), waves)).await;
    let path = format!("/monitor/api/campaigns/{campaign}/live");

    let led = until("a monitor leads", async || leader(&mut cluster).await).await;
    cluster.one(Role::Monitor, led).kill();
    let killed = Instant::now();
    let issued = number(&client.read(&path).await["issued"]);
    // Waves open again, one each second and those overdue: somebody leads.
    while number(&client.read(&path).await["issued"]) <= issued {
        let late = killed.elapsed() > TAKEN_OVER_WITHIN;
        assert!(
            !late,
            "no wave opened within {TAKEN_OVER_WITHIN:?} of the kill"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("leader: taken over after {:?}", killed.elapsed());
    assert_eq!(leader(&mut cluster).await, Some(1 - led));

    // One that stops gives the lead away at once.
    cluster.one(Role::Monitor, led).start();
    cluster.wait_until_up(Role::Monitor).await;
    cluster.one(Role::Monitor, 1 - led).stop();
    until("the other leads again", async || {
        (leader(&mut cluster).await == Some(led)).then_some(())
    })
    .await;
    client.audit(&campaign).await;
    storm.settle().await;
}
