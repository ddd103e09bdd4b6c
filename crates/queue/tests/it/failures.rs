//! Redis dies, comes up empty, stops and fails over: every call ends, and works again
//! afterwards.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use queue::{Queue as _, QueueName, RedisQueue};
use testkit::{Redis, RedisCluster};

use crate::redis::suite;

/// Nothing is asserted about time by this, but that a call ends: it is far more than its own limit.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// How long a backend that is there again may take to serve: mostly a Redis Cluster's election,
/// which begins anew when the machine is too busy for it.
const WORKS_WITHIN: Duration = Duration::from_secs(90);
const LEASE: Duration = Duration::from_secs(30);

fn name(of: impl std::fmt::Display) -> QueueName {
    QueueName(format!("queue-{of}"))
}

fn open(url: &str) -> Arc<RedisQueue> {
    Arc::new(RedisQueue::open(url).expect("the URL is right"))
}

fn message() -> Vec<Bytes> {
    vec![Bytes::from_static(b"message")]
}

/// Makes every kind of call at once, twice; says how many failed.
async fn failures_of_all_calls(queue: &RedisQueue, name: &QueueName) -> usize {
    let began = Instant::now();
    let mut failed = 0;
    for _ in 0..2 {
        let received = queue.receive(name, 1, LEASE);
        let names = [name.clone()];
        let results = tokio::join!(
            queue.ping(),
            queue.send(name, message()),
            received,
            queue.counts(name),
            queue.counts_all(),
            queue.filled(&names),
            queue.set_filled(name),
            queue.drop_queue(name),
        );
        let results = [
            results.0.is_err(),
            results.1.is_err(),
            results.2.is_err(),
            results.3.is_err(),
            results.4.is_err(),
            results.5.is_err(),
            results.6.is_err(),
            results.7.is_err(),
        ];
        failed += results.into_iter().filter(|failed| *failed).count();
    }
    let took = began.elapsed();
    println!("two rounds of calls took {took:?}");
    assert!(took < ENDS_WITHIN, "two rounds of calls took {took:?}");
    failed
}

/// Sends until that works.
async fn works_again(queue: &RedisQueue, name: &QueueName) {
    let began = Instant::now();
    loop {
        let sending = queue.send(name, message());
        let sent = tokio::time::timeout(ENDS_WITHIN, sending).await;
        let sent = sent.expect("a send ends");
        match sent {
            Ok(()) => return,
            Err(error) => assert!(began.elapsed() < WORKS_WITHIN, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_that_comes_up_empty_is_noticed() {
    let mut redis = Redis::start();
    let (queue, name) = (open(&redis.url()), name("killed"));
    queue.set_filled(&name).await.expect("set_filled");
    queue.send(&name, message()).await.expect("send");
    let filled = [name.clone()];
    assert_eq!(queue.filled(&filled).await.expect("filled"), [true]);

    redis.restart_with_data();
    works_again(&queue, &name).await;
    assert_eq!(queue.filled(&filled).await.expect("filled"), [true]);

    redis.kill();
    assert_eq!(failures_of_all_calls(&queue, &name).await, 16);
    redis.restart_empty();
    works_again(&queue, &name).await;
    assert_eq!(queue.filled(&filled).await.expect("filled"), [false]);
    let received = queue.receive(&name, 9, LEASE).await.expect("receive");
    assert_eq!(received.len(), 1, "only what was sent since");
    suite(&queue).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_need_not_be_there_at_the_start() {
    let mut redis = Redis::start();
    redis.kill();
    let (queue, name) = (open(&redis.url()), name("late"));
    assert_eq!(failures_of_all_calls(&queue, &name).await, 16);
    redis.restart_empty();
    works_again(&queue, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_not_waited_for() {
    let redis = Redis::start();
    let (queue, name) = (open(&redis.url()), name("stopped"));
    works_again(&queue, &name).await;
    redis.signal("STOP");
    // The connection stays up; the second time it is a new one that nobody accepts.
    for _ in 0..2 {
        assert_eq!(failures_of_all_calls(&queue, &name).await, 16);
    }
    redis.signal("CONT");
    works_again(&queue, &name).await;
    suite(&queue).run().await;
}

/// A queue of each shard of the cluster.
fn one_queue_each(cluster: &RedisCluster) -> Vec<QueueName> {
    let on = |shard: usize| {
        let mut names = (0..).map(name);
        names.find(|name| cluster.shard_of(&name.0) == shard)
    };
    (0..3)
        .map(|shard| on(shard).expect("there are enough names"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_fails_over_and_a_lost_shard_is_noticed() {
    let mut cluster = RedisCluster::start();
    let queue = open(&cluster.url());
    let names = one_queue_each(&cluster);
    for name in &names {
        queue.set_filled(name).await.expect("set_filled");
        works_again(&queue, name).await;
    }
    for shard in 0..3 {
        assert_eq!(cluster.master(shard).cli(&["WAIT", "1", "5000"]), "1");
    }
    assert_eq!(queue.filled(&names).await.expect("filled"), [true; 3]);

    let senders: Vec<_> = names
        .iter()
        .map(|name| {
            let (queue, name) = (queue.clone(), name.clone());
            tokio::spawn(async move {
                let ends = Instant::now() + Duration::from_secs(8);
                while Instant::now() < ends {
                    works_again(&queue, &name).await;
                }
            })
        })
        .collect();
    let failing_over = tokio::task::spawn_blocking(move || {
        cluster.fail_over(0);
        cluster
    });
    let mut cluster = failing_over.await.expect("it fails over");
    for sender in senders {
        sender
            .await
            .expect("every send ended in time, and then worked");
    }
    assert_eq!(queue.filled(&names).await.expect("filled"), [true; 3]);

    cluster.heal(0);
    cluster.lose(1);
    for name in &names {
        works_again(&queue, name).await;
    }
    assert_eq!(
        queue.filled(&names).await.expect("filled"),
        [true, false, true]
    );
    suite(&queue).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_master_is_left_for_its_successor() {
    let cluster = RedisCluster::start();
    let (queue, name) = (open(&cluster.url()), name("stopped"));
    works_again(&queue, &name).await;
    let shard = cluster.shard_of(&name.0);
    cluster.master(shard).signal("STOP");
    // It fails until the replica has taken over, and is looked for there.
    works_again(&queue, &name).await;
    works_again(&queue, &name).await;
}
