//! The rain on the cloud's own queue and log, offline: an MNS that loses, doubles, delays, throttles
//! and fails, an SLS that is away for a while, and services that are killed. The books balance,
//! and what the log service counts is what the ledger counts.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::Client,
    cluster::{Cluster, Role, Spec},
    engines::Database,
    random::Random,
    sample::{number, unix_seconds},
    server::{Plan, Server},
    storm::{Storm, times},
    trouble::{Thief, Throttle},
};

const KEY: (&str, &str) = ("an-id", "a-secret-that-signs");

/// `hongbao aliyun`, which keeps what it holds; it may be away for a while.
struct Cloud {
    plan: Plan,
    server: Option<Server>,
    _folder: TempDir,
}

impl Cloud {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = folder.path().join("kept");
        let plan = Plan::new(folder.path())
            .with("ACCESS_KEY_ID", KEY.0)
            .with("ACCESS_KEY_SECRET", KEY.1)
            .with("HONGBAO_ALIYUN_DATA_DIR", kept.to_str().expect("plain"));
        let mut cloud = Self {
            plan,
            server: None,
            _folder: folder,
        };
        cloud.comes_back();
        cloud
    }

    fn comes_back(&mut self) {
        let (mns, sls) = (self.mns(), self.sls());
        let command = ["aliyun", "--listen", &mns, "--sls-listen", &sls];
        let command = self.plan.command(&command);
        let started = tokio::task::block_in_place(|| self.plan.start_command(command));
        self.server = Some(started);
    }

    fn goes_away(&mut self) {
        let server = self.server.take().expect("it runs");
        assert!(tokio::task::block_in_place(|| server.stop()).success());
    }

    fn mns(&self) -> String {
        format!("127.0.0.1:{}", self.plan.port)
    }

    fn sls(&self) -> String {
        format!("127.0.0.1:{}", self.plan.inner_port)
    }
}

/// A cluster whose queue is at `mns`, and whose log goes to `log`.
fn spec(database: Database, mns: &str, log: &Cloud) -> Spec {
    Spec::new(database.url(), mns.to_owned())
        .with("ACCESS_KEY_ID", KEY.0)
        .with("ACCESS_KEY_SECRET", KEY.1)
        .with("HONGBAO_SLS_ENDPOINT", &format!("http://{}", log.sls()))
        .with("HONGBAO_SLS_PROJECT", "rain")
}

fn seeded() -> Random {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(unix_seconds);
    println!("cloud: SEED={seed}");
    Random::new(seed)
}

/// How long the log service holds still before it is believed to have counted all: batches are
/// of a second,
const STILL: Duration = Duration::from_secs(5);
/// and after failures a pause is of up to 30 s.
const STILL_AFTER_FAILURES: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the log service counts of a campaign beside the ledger, once they agree or it holds still.
async fn by_the_log(client: &Client, campaign: &str, still: Duration) -> Value {
    let path = format!("/monitor/api/campaigns/{campaign}/stats/log");
    let (mut before, mut unchanged) = (Value::Null, Duration::ZERO);
    for _ in 0..1_000 {
        let said = client.read(&path).await;
        if said["agrees"] == true {
            return said;
        }
        unchanged = match said["log"] == before {
            true => unchanged + LOOK_EVERY,
            false => Duration::ZERO,
        };
        if unchanged > still {
            return said;
        }
        before = said["log"].clone();
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("the log service goes on counting: {before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mns_in_trouble_and_an_sls_that_goes_away() {
    let mut random = seeded();
    let (queue, mut log) = (Cloud::start(), Cloud::start());
    let throttle = Throttle::start(&queue.mns(), random.fork()).await;
    let mut cluster = Cluster::start(&spec(Database::MariaDb, &throttle.url, &log)).await;
    let mut storm = Storm::begin(&cluster).await;
    let thief = Thief::start(&format!("http://{}", queue.mns()), KEY, random.fork());
    for round in 0..times(2) {
        storm.rain_wins(60).await;
        log.goes_away();
        storm.rain_wins(40).await;
        // Not redpacket: what it had not counted yet would be gone.
        let role = if round % 2 == 0 {
            Role::Monitor
        } else {
            Role::Account
        };
        let number = usize::try_from(storm.random.below(2)).expect("small");
        cluster.one(role, number).kill();
        storm.rain_up_to(1_000).await;
        cluster.one(role, number).start();
        log.comes_back();
        storm.rain_wins(20).await;
    }
    let loot = thief.stop().await;
    println!(
        "cloud: {loot:?}, {} requests in trouble",
        throttle.troubles()
    );
    assert!(throttle.troubles() > 10, "that was no trouble");
    assert!(loot.lost + loot.doubled + loot.held_back > 10, "{loot:?}");
    let campaigns = storm.campaigns();
    let client = cluster.client();
    storm.settle().await;
    for campaign in campaigns {
        let said = by_the_log(&client, &campaign, STILL_AFTER_FAILURES).await;
        println!("cloud: {said}");
        assert_eq!(said["agrees"], true, "{said}");
        let claimed = client.audit(&campaign).await["packets"]["claimed"].clone();
        assert_eq!(said["log"]["won"], claimed, "{said}");
    }
    assert_eq!(cluster.counter("hongbao_sls_grabs_lost_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_every_service_on_mns() {
    let cloud = Cloud::start();
    let mns = format!("http://{}", cloud.mns());
    let mut cluster = Cluster::start(&spec(Database::Postgres, &mns, &cloud)).await;
    let mut storm = Storm::begin(&cluster).await;
    storm.rain_wins(30).await;
    let kills = times(4);
    for kill in 0..kills {
        let role = Role::ALL[usize::try_from(kill % 4).expect("small")];
        let number = usize::try_from(storm.random.below(2)).expect("small");
        cluster.one(role, number).kill();
        storm.rain_up_to(1_500).await;
        cluster.one(role, number).start();
        storm.rain_wins(20).await;
    }
    let campaigns = storm.campaigns();
    let client = cluster.client();
    storm.settle().await;
    for campaign in campaigns {
        // A redpacket that was killed takes up to a second's counts with it, and a twentieth of
        // that of its log: nobody was told of more wins than there are. That no more than that is
        // missing, and nothing is there twice, is seen in tests/it/mns.rs, kill by kill.
        let said = by_the_log(&client, &campaign, STILL).await;
        let claimed = number(&client.audit(&campaign).await["packets"]["claimed"]);
        println!("cloud: {kills} kills, {claimed} claimed: {said}");
        // Most of the rain is no last second before a kill.
        for counted in ["log", "ledger"] {
            let won = number(&said[counted]["won"]);
            assert!((claimed / 2..=claimed).contains(&won), "{counted}: {said}");
        }
    }
}
