use std::time::Instant;

use testkit::{Redis, RedisCluster};

use super::*;
use crate::account::attempts::MemoryAttempts;

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

#[test]
fn every_attempt_is_read_as_it_was_written() {
    assert_eq!(decode(&encode(None)).expect("nothing"), None);
    for at in [i64::MIN, -1, 0, 1, 2, 3, 1_800_000_000_000_000, i64::MAX] {
        assert_eq!(
            decode(&encode(attempt(at))).expect("an attempt"),
            attempt(at)
        );
    }
    let longest = encode(attempt(6));
    for end in 1..longest.len() {
        decode(&longest[..end]).expect_err("cut short");
    }
    decode(b"\x04not known").expect_err("of another version");
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
    assert!(began.elapsed() < Duration::from_secs(2));
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
