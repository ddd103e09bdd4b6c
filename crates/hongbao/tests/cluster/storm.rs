//! Users that grab while something breaks, and the books when it is over.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    books,
    cluster::Cluster,
    load::{self, Load, Rain},
    random::Random,
    sample::{plain, unix_seconds, with},
    until::until,
    users,
};

/// Workers of each kind.
const WORKERS: u64 = 6;
/// How often both campaigns are topped up.
const TOP_UP_EVERY: Duration = Duration::from_secs(1);

/// How often something is broken: `short` times in `make test`, `ROUNDS` times as often otherwise.
pub(crate) fn times(short: u64) -> u64 {
    let told = std::env::var("ROUNDS").ok();
    let told: Option<u64> = told.map(|text| text.parse().expect("ROUNDS is a whole number"));
    short * told.unwrap_or(1)
}

/// Users at work.
pub(crate) struct Storm {
    /// Chooses instants.
    pub(crate) random: Random,
    /// What the users share.
    pub(crate) load: Arc<Load>,
    rains: Vec<Arc<Rain>>,
    users: Vec<JoinHandle<()>>,
    organiser: JoinHandle<u64>,
}

impl Storm {
    /// Two campaigns, one win each and three wins each, topped up all the time; both through
    /// HAProxy.
    pub(crate) async fn begin(cluster: &Cluster) -> Self {
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(unix_seconds);
        println!("storm: SEED={seed}");
        let mut random = Random::new(seed);
        let load = Arc::new(Load::on(cluster.client()));
        let lucky = json!({"split": {"mode": "lucky", "total": 40_000}});
        let one = load
            .rain(1, &format!("one-{seed}"), &with(plain(300), lucky))
            .await;
        let limit = json!({"win_limit": {"count": 3, "per": "campaign"}});
        let three = load
            .rain(3, &format!("three-{seed}"), &with(plain(300), limit))
            .await;
        for rain in [&one, &three] {
            cluster.known_everywhere(&rain.id).await;
        }
        let mut users = Vec::new();
        for worker in 0..WORKERS {
            let once = users::once(load.clone(), one.clone(), worker, random.fork());
            users.push(tokio::spawn(once));
            let thrice = users::thrice(load.clone(), three.clone(), worker, random.fork());
            users.push(tokio::spawn(thrice));
        }
        let rains = vec![one, three];
        Self {
            organiser: tokio::spawn(organise(load.clone(), rains.clone())),
            random,
            load,
            rains,
            users,
        }
    }

    /// Lets it rain for a random time of up to `ms_max`.
    pub(crate) async fn rain_up_to(&mut self, ms_max: u64) {
        let ms = self.random.below(ms_max);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Lets it rain until as many more wins were told.
    pub(crate) async fn rain_wins(&self, more: u64) {
        let enough = self.load.told() + more;
        until("it rains", async || {
            let ended = self.users.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a simulated user has ended; see above");
            (self.load.told() >= enough).then_some(())
        })
        .await;
    }

    /// The ids of its campaigns.
    pub(crate) fn campaigns(&self) -> Vec<String> {
        self.rains.iter().map(|rain| rain.id.clone()).collect()
    }

    /// Lets the users finish, wins what is left, and checks the books of every campaign.
    pub(crate) async fn settle(self) {
        let told = self.load.told();
        self.load.stop();
        for user in self.users {
            user.await
                .expect("a simulated user found the contract broken");
        }
        let rounds = self
            .organiser
            .await
            .expect("the organiser found the contract broken");
        println!("storm: {told} wins told under load, {rounds} top-ups");
        assert!(told > 50, "that was no load: {told} wins");
        books::settle_and_check(&self.load, &self.rains).await;
    }
}

/// Tops both campaigns up until it stops raining; how often.
async fn organise(load: Arc<Load>, rains: Vec<Arc<Rain>>) -> u64 {
    for round in 0.. {
        if !load.raining() {
            return round;
        }
        for rain in &rains {
            load::top_up(load.clone(), rain.clone(), round).await;
        }
        tokio::time::sleep(TOP_UP_EVERY).await;
    }
    unreachable!("eighteen quintillion rounds")
}
