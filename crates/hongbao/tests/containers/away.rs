//! The database stops answering. No replica of redpacket is ready then, and all are asked all the
//! same: who has lost learns so, since that needs no database.

use reqwest::Method;
use tokio::task::block_in_place;

use crate::{client::send, cluster::Cluster, sample::token};

/// What stops.
const SERVICE: &str = "database";
/// How many ask meanwhile.
const USERS: u32 = 20;

/// See the module; `sold_out` is a campaign with nothing left.
pub(crate) async fn is_the_database(cluster: &Cluster, sold_out: &str) {
    let (client, engine) = (cluster.client(), &cluster.engine);
    let replicas = cluster.up("redpacket");
    let database = cluster.containers(SERVICE);
    block_in_place(|| engine.docker(&["pause", &database[0]]));
    let none = || cluster.up("redpacket") == 0;
    cluster.wait_until("no grab node is ready", none).await;
    let path = format!("/redpacket/campaigns/{sold_out}/grab");
    for user in 0..USERS {
        let token = token(&format!("late-{user}"));
        let grab = client.request(Method::POST, &path).bearer_auth(token);
        let answer = send(grab).await.expect(200);
        assert_eq!(answer["reason"], "sold_out", "{answer}");
    }
    block_in_place(|| engine.docker(&["unpause", &database[0]]));
    let back = || cluster.up("redpacket") >= replicas && cluster.is_ready(SERVICE, &database[0]);
    let seconds = cluster.wait_until("the grab nodes are ready", back).await;
    println!(
        "away: {USERS} losers told without a database; ready {:.1} s after it was back",
        seconds.as_secs_f64()
    );
}
