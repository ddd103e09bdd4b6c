//! Kill -9 of the serving process at random instants under grabbing load, restart on the same
//! directory each time, and the books afterwards.
//!
//! `ROUNDS` sets how often it is killed (32 unless set; `make crash ROUNDS=500`), `SEED` replays
//! the instants and choices of an earlier run. The instants are random, the interleaving is the
//! machine's: a seed makes a failure likely again, not certain.

mod books;
pub(crate) mod load;
pub(crate) mod random;

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::json;
use tokio::task::{JoinHandle, block_in_place};

use self::{
    load::{Closing, Load, Rain},
    random::Random,
};
use crate::{
    sample::{plain, unix_seconds, with},
    server::{Plan, Server},
};

/// How often the process is killed in `make test`.
const ROUNDS: u64 = 32;
/// The longest that a process lives, and the longest that a start is let go on.
const LIFE_MS_MAX: u64 = 500;
/// See [`LIFE_MS_MAX`].
const START_MS_MAX: u64 = 200;
/// A campaign of waves is over after a few seconds; so many rounds later there is a new one.
const ROUNDS_PER_WAVES: u64 = 20;
/// How often a campaign is closed in the rain, and another topped up.
const ROUNDS_PER_CLOSE: u64 = 4;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// The process, its users, and what they are to find afterwards.
struct Storm {
    random: Random,
    plan: Plan,
    server: Server,
    load: Arc<Load>,
    rains: Vec<Arc<Rain>>,
    users: Vec<JoinHandle<()>>,
    closings: Vec<JoinHandle<Closing>>,
    kills: u64,
}

impl Storm {
    async fn new(folder: &Path, seed: u64) -> Self {
        let plan = Plan::new(folder);
        let server = plan.start();
        let load = Arc::new(Load::new(&server));
        // One win each, and three each; both are topped up while it rains, so that there is
        // nearly always something to win.
        let lucky = json!({"split": {"mode": "lucky", "total": 100_000}});
        let single = load.rain(1, "single", &with(plain(500), lucky)).await;
        let limit = json!({"win_limit": {"count": 3, "per": "campaign"}});
        let several = load.rain(3, "several", &with(plain(3_000), limit)).await;
        let mut storm = Self {
            random: Random::new(seed),
            plan,
            server,
            load,
            rains: vec![single.clone(), several.clone()],
            users: Vec::new(),
            closings: Vec::new(),
            kills: 0,
        };
        for worker in 0..8 {
            let (load, random) = (storm.load.clone(), storm.random.fork());
            storm.user(load::win_once(load, single.clone(), worker, random));
            let (load, random) = (storm.load.clone(), storm.random.fork());
            storm.user(load::win_several(load, several.clone(), worker, random));
        }
        storm
    }

    fn user(&mut self, user: impl Future<Output = ()> + Send + 'static) {
        self.users.push(tokio::spawn(user));
    }

    /// What the organiser does before this kill.
    async fn organise(&mut self) {
        if self.kills.is_multiple_of(ROUNDS_PER_WAVES) {
            let rain = self.load.rain_of_waves(self.kills).await;
            for worker in 0..4 {
                let (load, random) = (self.load.clone(), self.random.fork());
                self.user(load::win_in_waves(load, rain.clone(), worker, random));
            }
            self.rains.push(rain);
        }
        if self.kills.is_multiple_of(ROUNDS_PER_CLOSE) {
            let (load, random) = (self.load.clone(), self.random.fork());
            let closing = load::close_in_the_rain(load, self.kills, random);
            self.closings.push(tokio::spawn(closing));
            for rain in 0..2 {
                let (load, rain) = (self.load.clone(), self.rains[rain].clone());
                self.user(load::top_up(load, rain, self.kills));
            }
        }
    }

    /// Kills the process at a random instant of its life, sometimes its successor while that
    /// starts, and starts it again.
    async fn kill(&mut self) {
        let life = Duration::from_millis(self.random.below(LIFE_MS_MAX));
        tokio::time::sleep(life).await;
        block_in_place(|| self.server.kill());
        self.kills += 1;
        if self.random.below(4) == 0 {
            let mut starting = self.plan.spawn();
            let life = Duration::from_millis(self.random.below(START_MS_MAX));
            tokio::time::sleep(life).await;
            block_in_place(|| starting.kill());
            self.kills += 1;
        }
        self.server = block_in_place(|| self.plan.start());
    }

    /// Lets the users finish, wins what is left, and checks the books, before a clean restart
    /// and after.
    async fn settle(self) {
        self.load.stop();
        for user in self.users {
            user.await
                .expect("a simulated user found the contract broken");
        }
        let (kills, told) = (self.kills, self.load.told());
        println!("crash: {kills} kills, {told} wins told under load");
        assert!(told > kills, "that was no load");
        books::settle_and_check(&self.load, &self.rains).await;
        for closing in self.closings {
            let closing = closing
                .await
                .expect("a simulated user found the contract broken");
            books::check_closed(&self.load, &closing).await;
        }
        assert_eq!(self.server.stop().code(), Some(0));
        let _server = self.plan.start();
        for rain in &self.rains {
            books::check(&self.load, rain).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_and_double_nothing() {
    let (rounds, seed) = (setting("ROUNDS", ROUNDS), setting("SEED", unix_seconds()));
    println!("crash: ROUNDS={rounds} SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let mut storm = Storm::new(folder.path(), seed).await;
    while storm.kills < rounds {
        storm.organise().await;
        storm.kill().await;
    }
    storm.settle().await;
}
