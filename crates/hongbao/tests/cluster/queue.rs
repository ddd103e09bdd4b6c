//! The queue loses everything, and fails over, in mid-rain.

use std::time::Duration;

use testkit::{Redis, RedisCluster};

use crate::{
    cluster::{Cluster, Spec},
    engines::Database,
    storm::{Storm, times},
};

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_and_comes_back_empty() {
    let mut redis = Redis::start();
    let spec = Spec::new(Database::MariaDb.url(), redis.url());
    let cluster = Cluster::start(&spec).await;
    let mut storm = Storm::begin(&cluster).await;
    for _ in 0..times(3) {
        storm.rain_wins(60).await;
        tokio::task::block_in_place(|| {
            redis.kill();
            std::thread::sleep(Duration::from_millis(storm.random.below(2_000)));
            redis.restart_empty();
        });
    }
    storm.rain_wins(60).await;
    storm.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_cluster_fails_over() {
    let mut redis = tokio::task::block_in_place(RedisCluster::start);
    let spec = Spec::new(Database::Postgres.url(), redis.url());
    let cluster = Cluster::start(&spec).await;
    let storm = Storm::begin(&cluster).await;
    // Each campaign's queue lies on one shard: all three fail over in turn.
    for shard in (0..3)
        .cycle()
        .take(usize::try_from(times(3)).expect("small"))
    {
        storm.rain_wins(40).await;
        tokio::task::block_in_place(|| redis.fail_over(shard));
        storm.rain_wins(40).await;
        tokio::task::block_in_place(|| redis.heal(shard));
    }
    storm.settle().await;
}
