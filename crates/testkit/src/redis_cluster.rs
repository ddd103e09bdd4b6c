//! A Redis Cluster: three masters with one replica each, on this machine.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    redis::{Redis, cli},
    server::free_port,
};

/// Masters, and as many replicas.
const SHARDS: usize = 3;
/// How many slots a cluster has.
const SLOTS: usize = 16_384;
/// How long a node may be silent until the others take it for dead, in milliseconds.
const NODE_TIMEOUT_MS: &str = "2000";
/// How long the cluster may take to agree on something.
const AGREES_WITHIN: Duration = Duration::from_secs(60);

/// A running cluster. Dropping it ends all its nodes.
pub struct RedisCluster {
    /// The masters of the three shards as they were made, then their replicas.
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts a cluster, empty, that serves all slots.
    ///
    /// # Panics
    /// When Redis is not installed or the cluster does not come up.
    #[must_use]
    pub fn start() -> Self {
        let mut buses = Vec::new();
        let nodes: Vec<Redis> = (0..SHARDS * 2)
            .map(|_| {
                buses.push(free_port().to_string());
                Redis::start_with(&[
                    ("cluster-enabled", "yes"),
                    ("cluster-port", &buses[buses.len() - 1]),
                    ("cluster-node-timeout", NODE_TIMEOUT_MS),
                    ("cluster-replica-validity-factor", "0"),
                    ("repl-diskless-sync-delay", "0"),
                ])
            })
            .collect();
        let cluster = Self { nodes };
        for (node, bus) in cluster.nodes.iter().zip(&buses).skip(1) {
            let port = node.port().to_string();
            cluster.say(0, &["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        for shard in 0..SHARDS {
            let first = (SLOTS * shard / SHARDS).to_string();
            let last = (SLOTS * (shard + 1) / SHARDS - 1).to_string();
            cluster.say(shard, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        let known = format!("cluster_known_nodes:{}", SHARDS * 2);
        cluster.wait("all nodes know each other", || {
            (0..SHARDS * 2).all(|node| cluster.info(node).contains(&known))
        });
        for shard in 0..SHARDS {
            let master = cluster.nodes[shard].cli(&["CLUSTER", "MYID"]);
            let replica = SHARDS + shard;
            // A node replicates only whom it has heard of as a master.
            cluster.wait("the replica follows", || {
                cluster.nodes[replica].cli(&["CLUSTER", "REPLICATE", &master]) == "OK"
            });
        }
        cluster.wait_until_whole();
        cluster
    }

    /// Its URL: `redis+cluster://` and all nodes, with commas between them.
    #[must_use]
    pub fn url(&self) -> String {
        let nodes = self.nodes.iter();
        let nodes: Vec<_> = nodes.map(|n| format!("127.0.0.1:{}", n.port())).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }

    /// The shard that has the slot of `key`.
    ///
    /// # Panics
    /// When the cluster does not answer.
    #[must_use]
    pub fn shard_of(&self, key: &str) -> usize {
        let node = self.living().next().expect("some node lives");
        let slot = self.nodes[node].cli(&["CLUSTER", "KEYSLOT", key]);
        let slot: usize = slot.parse().expect("a slot is a number");
        (0..SHARDS)
            .find(|shard| slot < SLOTS * (shard + 1) / SHARDS)
            .expect("every slot is some shard's")
    }

    /// Kills the master of `shard` and waits until its replica has taken over everywhere.
    ///
    /// # Panics
    /// When it does not.
    pub fn fail_over(&mut self, shard: usize) {
        let master = self.master_of(shard);
        self.nodes[master].kill();
        self.wait("the replica takes over", || {
            self.node_of(shard, |node| node != master && self.is_master(node))
                .is_some()
        });
        self.wait("the others agree", || {
            self.living().all(|n| self.info(n).contains("state:ok"))
        });
    }

    /// Starts the dead node of `shard` again; it follows the living one.
    ///
    /// # Panics
    /// When it does not.
    pub fn heal(&mut self, shard: usize) {
        let dead = self.node_of(shard, |node| !self.answers(node));
        let dead = dead.expect("a node of the shard is dead");
        self.nodes[dead].restart_empty();
        self.wait_until_whole();
    }

    /// Kills both nodes of `shard` and starts them again without their data. The other shards
    /// keep theirs.
    ///
    /// # Panics
    /// When the cluster does not come up again.
    pub fn lose(&mut self, shard: usize) {
        let pair = [shard, SHARDS + shard];
        for node in pair {
            self.nodes[node].kill();
        }
        for node in pair {
            self.nodes[node].restart_empty();
        }
        self.wait_until_whole();
    }

    /// The node that is the master of `shard` now, for its commands and signals.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn master(&self, shard: usize) -> &Redis {
        &self.nodes[self.master_of(shard)]
    }

    fn master_of(&self, shard: usize) -> usize {
        self.node_of(shard, |node| self.is_master(node))
            .expect("the shard has a master")
    }

    fn node_of(&self, shard: usize, is: impl Fn(usize) -> bool) -> Option<usize> {
        [shard, SHARDS + shard].into_iter().find(|&node| is(node))
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&node| self.answers(node))
    }

    fn answers(&self, node: usize) -> bool {
        cli(self.nodes[node].port(), &["PING"]).is_some_and(|said| said == "PONG")
    }

    fn is_master(&self, node: usize) -> bool {
        cli(self.nodes[node].port(), &["ROLE"]).is_some_and(|role| role.starts_with("master"))
    }

    fn info(&self, node: usize) -> String {
        cli(self.nodes[node].port(), &["CLUSTER", "INFO"]).unwrap_or_default()
    }

    fn say(&self, node: usize, command: &[&str]) {
        let said = self.nodes[node].cli(command);
        assert_eq!(said, "OK", "to {command:?}");
    }

    /// Waits until every slot is served and every shard has a replica in step.
    fn wait_until_whole(&self) {
        self.wait("the cluster is whole", || {
            let serves = |node| self.info(node).contains("cluster_state:ok");
            (0..self.nodes.len()).all(serves)
                && (0..SHARDS).all(|shard| {
                    self.node_of(shard, |node| self.is_master(node))
                        .is_some_and(|master| {
                            let state = self.nodes[master].cli(&["INFO", "replication"]);
                            state.contains("connected_slaves:1") && state.contains("state=online")
                        })
                })
        });
    }

    fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            let late = began.elapsed() > AGREES_WITHIN;
            assert!(!late, "the cluster did not get there: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
