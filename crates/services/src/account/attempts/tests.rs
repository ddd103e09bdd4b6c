//! Every memory of attempts does the same; and what only some of them promise.

use std::sync::Arc;

use ::ledger::{ServerLedger, SystemClock};
use rules::{GrabId, Timestamp};
use testkit::{MariaDb, Postgres, Redis, RedisCluster};
use uuid::Uuid;

use super::*;

const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(1));
const WINDOW: Duration = Duration::from_secs(60);

fn attempt(at: i64) -> Option<Attempt> {
    Some(Attempt {
        at: Timestamp::from_micros(at),
        grab_id: (at % 2 == 0).then(|| GrabId(Uuid::from_u128(7))),
        discarded: at % 3 == 0,
    })
}

fn swap(user: &str, from: Option<Attempt>, to: Option<Attempt>) -> Swap {
    Swap {
        campaign: CAMPAIGN,
        user: UserId::trusted(user),
        from,
        to,
        keep_for: WINDOW,
    }
}

fn open(url: &str) -> RedisAttempts {
    RedisAttempts::open(url).expect("the URL is right")
}

async fn swapped(attempts: &dyn Attempts, swaps: &[Swap]) -> Vec<Swapped> {
    let swapped = attempts.swap(swaps).await;
    let swapped = swapped.into_iter();
    swapped.map(|one| one.expect("it answers")).collect()
}

/// What every memory of attempts does.
async fn conforms(attempts: &dyn Attempts) {
    use Swapped::{Done, Found};
    attempts.ping().await.expect("it answers");
    assert!(swapped(attempts, &[]).await.is_empty());
    // In order, each by itself, whatever becomes of the others.
    let swaps = [
        swap("ann", None, attempt(1)),
        swap("bob", attempt(1), attempt(2)),
        swap("ann", None, attempt(2)),
        swap("ann", attempt(1), attempt(2)),
        swap("bob", None, None),
        swap("ann", attempt(2), attempt(3)),
    ];
    let expected = [Done, Found(None), Found(attempt(1)), Done, Done, Done];
    assert_eq!(swapped(attempts, &swaps).await, expected);
    let other = Swap {
        campaign: CampaignId(Uuid::from_u128(2)),
        ..swap("ann", None, attempt(6))
    };
    let swaps = [
        other.clone(),
        swap("ann", attempt(3), None),
        swap("ann", None, None),
        Swap {
            from: None,
            ..other
        },
    ];
    let expected = [Done, Done, Done, Found(attempt(6))];
    assert_eq!(swapped(attempts, &swaps).await, expected);
    // A user id is any text, and many travel together.
    let users = (0..3_000).map(|n| format!("用户 {n} }} {{\r\n'\""));
    let swaps: Vec<_> = users.map(|user| swap(&user, None, attempt(4))).collect();
    assert_eq!(swapped(attempts, &swaps).await, vec![Done; 3_000]);
    assert_eq!(
        swapped(attempts, &swaps).await,
        vec![Found(attempt(4)); 3_000]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_one_redis_and_a_cluster_conform() {
    conforms(&MemoryAttempts::default()).await;
    let redis = Redis::start();
    conforms(&open(&redis.url())).await;
    let cluster = RedisCluster::start();
    conforms(&open(&cluster.url())).await;
}

async fn ledger(url: &str) -> ServerLedger {
    let opened = ServerLedger::open(url, Arc::new(SystemClock)).await;
    opened.expect("the database is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_s_databases_conform() {
    for url in [MariaDb::shared().database(), Postgres::shared().database()] {
        let ledger = ledger(&url).await;
        conforms(&LedgerAttempts::patient(ledger)).await;
    }
}

/// Several processes at the same users at the same time: each swap from nothing succeeds once.
#[tokio::test(flavor = "multi_thread")]
async fn of_swaps_at_the_same_time_one_is_done() {
    /// In another order each.
    const STEPS: [i64; 4] = [3, 7, 9, 11];
    for url in [MariaDb::shared().database(), Postgres::shared().database()] {
        let mut swapping = Vec::new();
        for (process, step) in (1..).zip(STEPS) {
            let attempts = LedgerAttempts::patient(ledger(&url).await);
            swapping.push(tokio::spawn(async move {
                let users = (0..100).map(|n| (n * step) % 100);
                let swaps = users.map(|user| swap(&format!("{user}"), None, attempt(process)));
                let swaps: Vec<_> = swaps.collect();
                let swapped = swapped(&attempts, &swaps).await.into_iter();
                swapped.filter(|one| *one == Swapped::Done).count()
            }));
        }
        let mut done = 0;
        for one in swapping {
            done += one.await.expect("no swap panics");
        }
        assert_eq!(done, 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_over_count_no_more_and_are_removed_from_the_ledger() {
    for url in [MariaDb::shared().database(), Postgres::shared().database()] {
        let ledger = ledger(&url).await;
        let attempts = LedgerAttempts::patient(ledger.clone());
        let users: Vec<_> = (0..2_500).map(|n| n.to_string()).collect();
        let short = |user: &String| Swap {
            keep_for: Duration::ZERO,
            ..swap(user, None, attempt(1))
        };
        let shorts: Vec<_> = users.iter().map(short).collect();
        swapped(&attempts, &shorts).await;
        let stays = swap("stays", None, attempt(2));
        assert_eq!(
            swapped(&attempts, std::slice::from_ref(&stays)).await,
            [Swapped::Done]
        );
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        // Over: it is as if nothing were there.
        let again = swap("7", None, attempt(3));
        assert_eq!(swapped(&attempts, &[again]).await, [Swapped::Done]);
        assert!(!ledger.forget_attempts().await.expect("it answers"));
        let left = [stays, swap("7", None, None), swap("8", None, None)];
        let expected = [
            Swapped::Found(attempt(2)),
            Swapped::Found(attempt(3)),
            Swapped::Done,
        ];
        assert_eq!(swapped(&attempts, &left).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_expire_with_their_windows() {
    let redis = Redis::start();
    let attempts = open(&redis.url());
    let short = Swap {
        keep_for: Duration::from_millis(100),
        ..swap("ann", None, attempt(1))
    };
    assert_eq!(swapped(&attempts, &[short]).await, [Swapped::Done]);
    assert_eq!(redis.cli(&["DBSIZE"]), "1");
    while redis.cli(&["DBSIZE"]) != "0" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stops_is_not_waited_for() {
    let redis = Redis::start();
    let attempts = open(&redis.url());
    let swaps = [swap("ann", None, attempt(1)), swap("bob", None, attempt(1))];
    assert_eq!(swapped(&attempts, &swaps).await, [Swapped::Done; 2]);
    redis.signal("STOP");
    let began = Instant::now();
    let failed = attempts.swap(&swaps).await;
    let took = began.elapsed();
    println!("a Redis that stands still was waited for {took:?}");
    // Nothing is asserted about time by this, but that there is an end.
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(failed.len() == 2 && failed.iter().all(Result::is_err));
    redis.signal("CONT");
    let found = [Swapped::Found(attempt(1)); 2];
    let gives_up = Instant::now() + Duration::from_secs(30);
    loop {
        let swapped = attempts.swap(&swaps).await;
        let swapped: Result<Vec<_>, _> = swapped.into_iter().collect();
        match swapped {
            Ok(swapped) => return assert_eq!(swapped, found),
            Err(error) => assert!(Instant::now() < gives_up, "{error}"),
        }
    }
}
