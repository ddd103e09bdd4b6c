//! Each kind of container is killed under load; it comes back by itself, and nothing is lost.

use std::time::Instant;

use tokio::task::block_in_place;

use crate::{
    cluster::Cluster,
    storm::{Storm, times},
};

/// A kill comes at a random instant within so long.
const RAIN_MS_MAX: u64 = 500;

/// How a container ends.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// Its process dies; Docker starts it again.
    Crash,
    /// `docker kill`, which Docker takes for the operator's will; what looks after the services
    /// starts it again.
    Kill,
}

/// Every kind of container, and both deaths for those that somebody looks after.
const KILLS: [(&str, Death); 12] = [
    ("redpacket", Death::Kill),
    ("account", Death::Kill),
    ("monitor", Death::Kill),
    ("webpage", Death::Kill),
    ("redpacket", Death::Crash),
    ("account", Death::Crash),
    ("monitor", Death::Crash),
    ("queue", Death::Crash),
    ("database", Death::Crash),
    ("balancer", Death::Crash),
    ("cloud", Death::Crash),
    ("autoscale", Death::Crash),
];

/// See the module.
pub(crate) async fn of_each_kind(cluster: &Cluster) {
    let mut storm = Storm::begin(cluster).await;
    storm.rain_wins(30).await;
    for _ in 0..times(1) {
        for (service, death) in KILLS {
            let containers = cluster.containers(service);
            let chosen = storm.random.below(containers.len() as u64);
            let victim = &containers[usize::try_from(chosen).expect("small")];
            let before = cluster.started(victim);
            storm.rain_up_to(RAIN_MS_MAX).await;
            let began = Instant::now();
            block_in_place(|| match death {
                Death::Crash => cluster.engine.crash(victim),
                Death::Kill => drop(cluster.engine.docker(&["kill", victim])),
            });
            let back = || {
                let now = cluster.containers(service);
                now.len() >= containers.len()
                    && now.iter().all(|one| cluster.is_ready(service, one))
                    && (!now.contains(victim) || cluster.started(victim) != before)
            };
            cluster
                .wait_until(&format!("{service} is back"), back)
                .await;
            let seconds = began.elapsed().as_secs_f64();
            println!("kills: {service} ({death:?}) was replaced after {seconds:.1} s");
            storm.rain_wins(20).await;
        }
    }
    storm.settle().await;
}
