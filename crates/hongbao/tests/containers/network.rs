//! A container that loses a network for longer than its leases, under load, and gets it back.

use std::time::Duration;

use serde_json::Value;
use tokio::task::block_in_place;

use crate::{
    cluster::Cluster,
    storm::{Storm, times},
};

/// Longer than a bundle's lease in these tests (10 s).
const AWAY: Duration = Duration::from_secs(12);
/// A network that is lost.
#[derive(Clone, Copy)]
enum Cut {
    /// The one of database and queue: the container is not ready.
    Backends,
    /// The one of the balancer, which takes the container out.
    Services,
}

impl Cut {
    /// The template's name for it.
    const fn network(self) -> &'static str {
        match self {
            Self::Backends => "backends",
            Self::Services => "services",
        }
    }
}

/// Who loses what: a grab node its database and queue, and then the balancer.
const SHORT: [(&str, Cut); 2] = [("redpacket", Cut::Backends), ("redpacket", Cut::Services)];
/// The rest, for the long form.
const LONG: [(&str, Cut); 3] = [
    ("account", Cut::Backends),
    ("monitor", Cut::Backends),
    ("account", Cut::Services),
];

/// See the module.
pub(crate) async fn cut_off_and_joined(cluster: &Cluster) {
    let storm = Storm::begin(cluster).await;
    storm.rain_wins(30).await;
    let mut cuts = SHORT.to_vec();
    if times(1) > 1 {
        cuts.extend(LONG);
    }
    for (service, cut) in cuts {
        let containers = cluster.containers(service);
        let victim = &containers[0];
        let network = cluster.network(cut.network());
        let aliases = aliases(cluster, victim, &network);
        let engine = &cluster.engine;
        block_in_place(|| engine.docker(&["network", "disconnect", &network, victim]));
        // A cut that cuts nothing would show nothing.
        let is_cut = || match cut {
            Cut::Backends => !cluster.is_ready(service, victim),
            Cut::Services => cluster.up(service) < containers.len(),
        };
        let what = format!("{service} is cut off from {network}");
        cluster.wait_until(&what, is_cut).await;
        tokio::time::sleep(AWAY).await;
        if containers.len() > 1 {
            // The others serve.
            storm.rain_wins(20).await;
        }
        let mut join = vec!["network", "connect"];
        for alias in &aliases {
            join.extend(["--alias", alias]);
        }
        join.extend([&*network, &**victim]);
        block_in_place(|| engine.docker(&join));
        let back = || cluster.is_ready(service, victim) && cluster.up(service) >= containers.len();
        let what = format!("{service} is back on {network}");
        let seconds = cluster.wait_until(&what, back).await.as_secs_f64();
        println!("network: {what} after {seconds:.1} s");
        storm.rain_wins(20).await;
    }
    storm.settle().await;
}

/// The names of a container on a network.
fn aliases(cluster: &Cluster, container: &str, network: &str) -> Vec<String> {
    let format = "{{json .NetworkSettings.Networks}}";
    let networks = cluster
        .engine
        .docker(&["inspect", "--format", format, container]);
    let networks: Value = serde_json::from_str(&networks).expect("it is JSON");
    let aliases = networks[network]["Aliases"].as_array();
    let aliases = aliases.expect("it has names there").iter();
    aliases.map(crate::sample::text).collect()
}
