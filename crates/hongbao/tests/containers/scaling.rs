//! Load until the autoscaler adds a container; then idleness until it takes it away again, with
//! some users of whom none may be turned away.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::task::block_in_place;

use crate::{
    cluster::Cluster,
    engine::succeed,
    sample::plain,
    server::{ORGANISER_KEY, TOKEN_SECRET, binary},
    steady::Steady,
    storm::times,
};

/// What is scaled.
const SERVICE: &str = "redpacket";
/// How many there are at rest: its `min_instances`.
const AT_REST: usize = 2;
/// The share of a processor that each has here: little, so that a small and busy machine can make
/// the load that is more than 70 % of it.
const CPUS: &str = "0.12";
/// Taps a second, and for how many seconds.
const LOAD: [&str; 2] = ["2000", "40"];

/// See the module.
pub(crate) async fn out_and_in(cluster: &Cluster) {
    let client = cluster.client();
    for _ in 0..times(1) {
        let at_rest = || cluster.containers(SERVICE).len() == AT_REST;
        cluster.wait_until("all is at rest", at_rest).await;
        for container in cluster.containers(SERVICE) {
            let update = ["update", "--cpus", CPUS, &container];
            cluster.engine.docker(&update);
        }
        // It asks for limits seldom, but whenever it begins.
        for container in cluster.containers("autoscale") {
            cluster.engine.docker(&["restart", &container]);
        }
        let campaign = client.create(&plain(100)).await;
        cluster.known_everywhere(&campaign).await;

        let began = Instant::now();
        let load = load(cluster, &campaign);
        let more = || cluster.containers(SERVICE).len() > AT_REST;
        cluster.wait_until("scaling out has begun", more).await;
        let begun = began.elapsed().as_secs_f64();
        let up = || cluster.up(SERVICE) > AT_REST;
        cluster.wait_until("a replica more is up", up).await;
        let ready = began.elapsed().as_secs_f64();
        println!("scaling: out after {begun:.1} s of load, ready after {ready:.1} s");
        let output = block_in_place(|| load.wait_with_output());
        let said = succeed("make load", output.expect("it can be waited for"));
        println!("scaling: the load's own audit: {}", last_line(&said));

        let users = Steady::begin(cluster, 1, Duration::from_millis(100)).await;
        let idle = Instant::now();
        cluster.wait_until("scaled in again", at_rest).await;
        let seconds = idle.elapsed().as_secs_f64();
        println!("scaling: in again after {seconds:.1} s of idleness");
        users.more_wins(5).await;
        users.end(cluster).await;
        client.audit(&campaign).await;
    }
}

/// A crowd that finds nothing left and goes on tapping: pure processor load. It audits the books
/// in the end, and fails when a tap stayed unanswered.
fn load(cluster: &Cluster, campaign: &str) -> std::process::Child {
    let url = format!("http://{}", cluster.address());
    Command::new(binary())
        .args(["crowd", "--quiet", "--to-the-end"])
        .args(["--users", "200", "--connections", "32"])
        .args(["--url", &url, "--campaign", campaign])
        .args(["--rate", LOAD[0], "--for", LOAD[1]])
        .env("HONGBAO_ORGANISER_KEY", ORGANISER_KEY)
        .env("HONGBAO_TOKEN_SECRET", TOKEN_SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built by cargo for this test")
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}
