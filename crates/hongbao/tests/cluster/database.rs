//! The database goes away, comes back, and loses answers, under load.

use std::time::Duration;

use testkit::{Cut, CutProxy, MariaDb, Postgres, Redis, cut_proxy::COMMIT_OF_CLAIMS};

use crate::{
    cluster::{Cluster, Role, Spec},
    storm::{Storm, times},
};

/// For how long it stays away.
const AWAY: Duration = Duration::from_secs(10);

/// A database server of the test's own, to be broken.
enum Own {
    MariaDb(MariaDb),
    Postgres(Postgres),
}

impl Own {
    fn port(&self) -> u16 {
        match self {
            Self::MariaDb(server) => server.port(),
            Self::Postgres(server) => server.port(),
        }
    }

    /// A new database, reached through another port.
    fn database_through(&self, port: u16) -> String {
        match self {
            Self::MariaDb(server) => server.url_through(port, &server.new_database()),
            Self::Postgres(server) => server.url_through(port, &server.new_database()),
        }
    }

    fn kill_and_restart_after(&mut self, away: Duration) {
        match self {
            Self::MariaDb(server) => server.kill(),
            Self::Postgres(server) => server.end(),
        }
        std::thread::sleep(away);
        match self {
            Self::MariaDb(server) => server.restart(),
            Self::Postgres(server) => server.restart(),
        }
    }
}

async fn settle_when_ready(mut cluster: Cluster, storm: Storm) {
    for role in Role::ALL {
        cluster.wait_until_up(role).await;
    }
    storm.rain_wins(30).await;
    storm.settle().await;
}

/// Crashes while claims are under way; comes back with what it had committed, and no more.
async fn crash(mut server: Own) {
    let redis = Redis::start();
    let url = server.database_through(server.port());
    let cluster = Cluster::start(&Spec::new(url, redis.url())).await;
    let storm = Storm::begin(&cluster).await;
    for _ in 0..times(1) {
        storm.rain_wins(100).await;
        tokio::task::block_in_place(|| server.kill_and_restart_after(AWAY));
    }
    settle_when_ready(cluster, storm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_crashes_and_comes_back() {
    crash(Own::MariaDb(MariaDb::start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_crashes_and_comes_back() {
    crash(Own::Postgres(Postgres::start())).await;
}

/// Freezes: connections stay open, and nothing is answered.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_freezes_and_goes_on() {
    let (server, redis) = (MariaDb::start(), Redis::start());
    let cluster = Cluster::start(&Spec::new(server.database(), redis.url())).await;
    let storm = Storm::begin(&cluster).await;
    for _ in 0..times(1) {
        storm.rain_wins(100).await;
        server.signal("STOP");
        tokio::time::sleep(AWAY).await;
        server.signal("CONT");
    }
    settle_when_ready(cluster, storm).await;
}

/// Connections end after the COMMIT of a batch of claims was sent: before it arrived, after it was done, or in between.
async fn cut(server: Own) {
    let redis = Redis::start();
    let proxy = CutProxy::start(server.port());
    let url = server.database_through(proxy.port());
    let cluster = Cluster::start(&Spec::new(url, redis.url())).await;
    let mut storm = Storm::begin(&cluster).await;
    storm.rain_wins(50).await;
    for _ in 0..times(50) {
        let cut = match storm.random.below(3) {
            0 => Cut::Answered,
            1 => Cut::NeverSent,
            _ => Cut::SentAfter(Duration::from_millis(300)),
        };
        proxy.cut_next(COMMIT_OF_CLAIMS, cut);
        storm.rain_up_to(300).await;
    }
    println!("cuts at COMMIT of claims: {}", proxy.cuts());
    assert!(proxy.cuts() > 5, "hardly anything was cut");
    settle_when_ready(cluster, storm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_loses_answers_to_commit() {
    cut(Own::MariaDb(MariaDb::start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_loses_answers_to_commit() {
    cut(Own::Postgres(Postgres::start())).await;
}
