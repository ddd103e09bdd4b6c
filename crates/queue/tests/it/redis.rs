//! The conformance suite on one Redis and on a cluster, and what only Redis has.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use queue::{
    Faults, FaultyQueue, Queue as _, QueueCounts, QueueName, RedisQueue, conformance::Suite,
};
use testkit::{Redis, RedisCluster};

fn open(url: &str) -> Arc<RedisQueue> {
    Arc::new(RedisQueue::open(url).expect("the URL is right"))
}

/// The suite, with a visibility timeout that is shorter than its own.
pub(crate) fn suite(queue: &Arc<RedisQueue>) -> Suite {
    Suite {
        visibility: Duration::from_millis(500),
        ..Suite::new(queue.clone())
    }
}

/// All of it: the suite plainly, through a wrapper without faults, and with faults.
async fn conforms(url: &str) {
    let queue = open(url);
    let suite = suite(&queue);
    suite.run().await;
    let wrapped = FaultyQueue::new(queue.clone(), Faults::default(), 1);
    let wrapped = Suite {
        prefix: "wrapped".into(),
        queue: Arc::new(wrapped),
        ..suite.clone()
    };
    wrapped.run().await;
    for seed in 0..3 {
        suite.everything_arrives_in_spite_of_faults(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_server_conforms() {
    let redis = Redis::start();
    conforms(&redis.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_conforms() {
    let cluster = RedisCluster::start();
    let weakness = open(&cluster.url()).weakness().await;
    assert_eq!(weakness.expect("every master says so"), None);
    conforms(&cluster.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_share_a_queue_and_memory_is_freed_on_drop() {
    const BODY: usize = 10_000;
    let redis = Redis::start();
    let (one, other) = (open(&redis.url()), open(&redis.url()));
    let name = QueueName("shared".into());
    for sender in [&one, &other] {
        // More than one script may carry, by number and by bytes.
        let bodies = vec![Bytes::from(vec![1; BODY]); 1_500];
        sender.send(&name, bodies).await.expect("send");
    }
    let received = one.receive(&name, 10, Duration::from_secs(60)).await;
    let receipts: Vec<_> = received
        .expect("receive")
        .into_iter()
        .map(|r| r.receipt)
        .collect();
    assert_eq!(receipts.len(), 10);
    let both = QueueCounts {
        visible: 2_990,
        invisible: 10,
    };
    assert_eq!(other.counts_all().await.expect("counts_all"), both);
    // Receipts serve in whichever process they are shown.
    other.release(&name, &receipts[..5]).await.expect("release");
    other.delete(&name, &receipts[5..]).await.expect("delete");
    let counts = one.counts(&name).await.expect("counts");
    assert_eq!((counts.visible, counts.invisible), (2_995, 0));

    assert!(used_memory(&redis) > 3_000 * BODY);
    one.set_filled(&name).await.expect("set_filled");
    one.drop_queue(&name).await.expect("drop_queue");
    assert_eq!(redis.cli(&["DBSIZE"]), "0", "no key is left");
    while used_memory(&redis) > 1_000 * BODY {
        // UNLINK frees in the background.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        other.counts_all().await.expect("counts_all"),
        QueueCounts::default()
    );
}

fn used_memory(redis: &Redis) -> usize {
    let info = redis.cli(&["INFO", "memory"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.expect("it says so").trim().parse().expect("bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_scripts_gets_them_again() {
    let redis = Redis::start();
    let (queue, name) = (open(&redis.url()), QueueName("scripts".into()));
    for _ in 0..2 {
        queue
            .send(&name, vec![Bytes::from_static(b"a")])
            .await
            .expect("send");
        assert_eq!(redis.cli(&["SCRIPT", "FLUSH"]), "OK");
        let received = queue.receive(&name, 1, Duration::from_secs(60)).await;
        assert_eq!(received.expect("receive").len(), 1);
        assert_eq!(redis.cli(&["SCRIPT", "FLUSH"]), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_evict_messages_is_told() {
    let redis = Redis::start();
    let queue = open(&redis.url());
    let set = |policy| redis.cli(&["CONFIG", "SET", "maxmemory-policy", policy]);
    for harmless in ["noeviction", "volatile-lru"] {
        assert_eq!(set(harmless), "OK");
        assert_eq!(queue.weakness().await.expect("an answer"), None);
    }
    assert_eq!(set("allkeys-lru"), "OK");
    let weakness = queue.weakness().await.expect("an answer");
    let weakness = weakness.expect("it may lose messages");
    assert!(weakness.contains("allkeys-lru"), "{weakness}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_used_and_a_wrong_one_is_not_shown() {
    let redis = Redis::start_with(&[("requirepass", "right")]);
    let at = |password: &str| format!("redis://:{password}@127.0.0.1:{}", redis.port());
    open(&at("right")).ping().await.expect("the right password");
    let refused = open(&at("sesame"))
        .ping()
        .await
        .expect_err("the wrong password");
    assert!(!refused.to_string().contains("sesame"), "{refused}");
}
