//! Kill -9 of each kind of service under load, and its restart.

use testkit::Redis;

use crate::{
    cluster::{Cluster, Role, Spec},
    engines::Database,
    storm::{Storm, times},
};

/// How long a killed replica stays away, at most.
const AWAY_MS_MAX: u64 = 1_500;

#[tokio::test(flavor = "multi_thread")]
async fn of_every_service_on_mariadb() {
    kill_in_turn(Database::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_every_service_on_postgresql() {
    kill_in_turn(Database::Postgres).await;
}

async fn kill_in_turn(database: Database) {
    let redis = Redis::start();
    let mut cluster = Cluster::start(&Spec::new(database.url(), redis.url())).await;
    let mut storm = Storm::begin(&cluster).await;
    storm.rain_wins(30).await;
    let kills = times(4);
    for kill in 0..kills {
        let role = Role::ALL[usize::try_from(kill % 4).expect("small")];
        let number = usize::try_from(storm.random.below(2)).expect("small");
        cluster.one(role, number).kill();
        storm.rain_up_to(AWAY_MS_MAX).await;
        cluster.one(role, number).start();
        storm.rain_wins(20).await;
    }
    println!("kills: {kills}");
    storm.settle().await;
}
