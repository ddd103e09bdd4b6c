//! Every container of the four services is restarted, one of each at a time, under load: no request
//! fails.

use std::{thread, time::Duration};

use tokio::task::block_in_place;

use crate::{
    cluster::{Cluster, SERVICES},
    steady::Steady,
    storm::times,
};

/// Until the balancer has asked everybody again.
const SETTLED: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) async fn restart(cluster: &Cluster) {
    let users = Steady::begin(cluster, 4, Duration::from_millis(20)).await;
    'all: for round in 0..times(1) {
        println!("rolling: round {round}");
        let all = SERVICES.map(|service| cluster.containers(service));
        let most = all.iter().map(Vec::len).max().expect("there are four");
        for number in 0..most {
            let some: Vec<_> = all.iter().filter_map(|one| one.get(number)).collect();
            block_in_place(|| {
                thread::scope(|scope| {
                    for container in &some {
                        let restart = ["restart", "-t", "30", container];
                        scope.spawn(move || cluster.engine.docker(&restart));
                    }
                });
            });
            for (service, containers) in SERVICES.iter().zip(&all) {
                let up = || cluster.up(service) >= containers.len();
                let what = format!("{service} is up again");
                cluster.wait_until(&what, up).await;
            }
            tokio::time::sleep(SETTLED).await;
            users.more_wins(20).await;
            if users.has_failed() {
                break 'all;
            }
        }
    }
    let asked = users.end(cluster).await;
    println!("rolling: {asked} grabs while every container was restarted");
}
