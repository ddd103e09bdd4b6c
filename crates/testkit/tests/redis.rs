//! The servers do what the tests that use them count on.

use testkit::{Redis, RedisCluster};

#[test]
fn a_server_comes_up_again_empty_or_with_its_data() {
    let mut redis = Redis::start();
    assert_eq!(redis.cli(&["SET", "key", "value"]), "OK");
    redis.restart_with_data();
    assert_eq!(redis.cli(&["GET", "key"]), "value");
    redis.restart_empty();
    assert_eq!(redis.cli(&["GET", "key"]), "");
    redis.signal("STOP");
    redis.signal("CONT");
    assert_eq!(redis.cli(&["PING"]), "PONG");
}

#[test]
fn a_cluster_fails_over_heals_and_loses_a_shard() {
    let mut cluster = RedisCluster::start();
    let shard = cluster.shard_of("key");
    let other = (shard + 1) % 3;
    assert_eq!(cluster.master(shard).cli(&["SET", "key", "value"]), "OK");
    assert_eq!(cluster.master(shard).cli(&["WAIT", "1", "5000"]), "1");
    let before = cluster.master(shard).port();
    cluster.fail_over(shard);
    assert_ne!(cluster.master(shard).port(), before);
    assert_eq!(cluster.master(shard).cli(&["GET", "key"]), "value");
    cluster.heal(shard);
    cluster.lose(other);
    assert_eq!(cluster.master(shard).cli(&["GET", "key"]), "value");
    cluster.lose(shard);
    assert_eq!(cluster.master(shard).cli(&["GET", "key"]), "");
}
