//! The window that account replicas share, on a Redis of its own.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rules::{Eligible, GrabId, Rejected, Rules, UserId};
use testkit::Redis;
use uuid::Uuid;

use super::*;
use crate::account::attempts::{MemoryAttempts, RedisAttempts};

const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(1));
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const ADMITTED: Verdict = Verdict::Admitted;
const TOO_FREQUENT: Verdict = Verdict::Rejected(Rejected::TooFrequent);
const DISCARDED: Verdict = Verdict::Rejected(Rejected::Discarded);

fn gate(attempts: Arc<dyn Attempts>) -> SharedGate {
    SharedGate::new([1; 32], Registered::of(&["ann"]), attempts)
}

fn rules(window_seconds: Option<u32>, discard_probability: f64) -> RuleSet {
    RuleSet::new(&Rules {
        attempt_window_seconds: window_seconds,
        discard_probability,
        ..Rules::default()
    })
}

fn ask(user: &str, tap: impl Into<Option<u128>>) -> Ask {
    Ask {
        user: UserId::trusted(user),
        grab_id: tap.into().map(|tap| GrabId(Uuid::from_u128(tap))),
    }
}

/// The verdicts on `asks`, made together `seconds` after the start.
async fn verdicts(gate: &SharedGate, rules: &RuleSet, asks: &[Ask], seconds: i64) -> Vec<Verdict> {
    let now = NOW.plus_seconds(seconds);
    let verdicts = gate.admit_all(CAMPAIGN, rules, asks, now).await;
    let verdicts = verdicts.into_iter();
    verdicts
        .map(|verdict| verdict.expect("it answers"))
        .collect()
}

/// Two replicas that share `attempts` decide as one process does.
async fn behaves(attempts: Arc<dyn Attempts>) {
    let (one, other) = (gate(attempts.clone()), gate(attempts));
    let ten = rules(Some(10), 0.0);

    // One attempt per user and window, in one call and in several, on either replica.
    let twice = [
        ask("ann", None),
        ask("bob", 1),
        ask("ann", None),
        ask("bob", 1),
    ];
    let expected = [ADMITTED, ADMITTED, TOO_FREQUENT, ADMITTED];
    assert_eq!(verdicts(&one, &ten, &twice, 0).await, expected);
    let again = [ask("ann", None), ask("bob", 1), ask("bob", 2)];
    let expected = [TOO_FREQUENT, ADMITTED, TOO_FREQUENT];
    assert_eq!(verdicts(&other, &ten, &again, 9).await, expected);
    // The rules say when a window is over, whatever is still remembered.
    assert_eq!(
        verdicts(&other, &ten, &again, 10).await,
        [ADMITTED, ADMITTED, TOO_FREQUENT]
    );
    assert_eq!(verdicts(&one, &ten, &again[..1], 19).await, [TOO_FREQUENT]);

    // Only the same tap's admitted attempt is given back.
    for tap in [Some(1), None] {
        let (asks, others) = ([ask("cat", tap)], [ask("cat", 7)]);
        assert_eq!(verdicts(&one, &ten, &asks, 0).await, [ADMITTED]);
        other
            .withdraw_all(CAMPAIGN, &others)
            .await
            .expect("it answers");
        assert_eq!(verdicts(&one, &ten, &others, 1).await, [TOO_FREQUENT]);
        other
            .withdraw_all(CAMPAIGN, &asks)
            .await
            .expect("it answers");
    }
    let nobody = [ask("nobody", None)];
    one.withdraw_all(CAMPAIGN, &nobody)
        .await
        .expect("it answers");
    assert_eq!(verdicts(&one, &ten, &[ask("cat", 7)], 1).await, [ADMITTED]);

    // A discarded attempt is kept, and its verdict is the tap's.
    let always = rules(Some(10), 1.0);
    let dan = [ask("dan", 1)];
    assert_eq!(verdicts(&one, &always, &dan, 0).await, [DISCARDED]);
    one.withdraw_all(CAMPAIGN, &dan).await.expect("it answers");
    let both = [ask("dan", 1), ask("dan", 2)];
    assert_eq!(
        verdicts(&other, &always, &both, 0).await,
        [DISCARDED, TOO_FREQUENT]
    );

    // Lists come first and use up nothing; without a window nothing is remembered.
    let strict = RuleSet::new(&Rules {
        attempt_window_seconds: Some(10),
        eligible: Eligible::Registered,
        blocked: vec![UserId::trusted("mal")],
        ..Rules::default()
    });
    let listed = [ask("eve", None), ask("mal", None)];
    let expected = [Rejected::NotEligible, Rejected::Blocked].map(Verdict::Rejected);
    assert_eq!(verdicts(&one, &strict, &listed, 0).await, expected);
    let free = rules(None, 0.0);
    for _ in 0..2 {
        assert_eq!(verdicts(&one, &free, &listed, 0).await, [ADMITTED; 2]);
    }
    assert_eq!(verdicts(&one, &ten, &listed, 0).await, [ADMITTED; 2]);
}

#[tokio::test]
async fn replicas_that_share_memory_decide_as_one() {
    behaves(Arc::new(MemoryAttempts::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_share_redis_decide_as_one() {
    let redis = Redis::start();
    let attempts = RedisAttempts::open(&redis.url()).expect("the URL is right");
    behaves(Arc::new(attempts)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_attempts_made_side_by_side_one_is_admitted() {
    let redis = Redis::start();
    let ten = Arc::new(rules(Some(10), 0.0));
    let replicas: Vec<_> = (0..4)
        .map(|_| {
            let attempts = RedisAttempts::open(&redis.url()).expect("the URL is right");
            let (gate, ten) = (gate(Arc::new(attempts)), ten.clone());
            tokio::spawn(async move {
                let asks: Vec<_> = (0..300)
                    .map(|n| ask(&format!("user-{}", n % 100), None))
                    .collect();
                verdicts(&gate, &ten, &asks, 0).await
            })
        })
        .collect();
    let mut admitted = 0;
    for replica in replicas {
        let verdicts = replica.await.expect("it answers");
        admitted += verdicts.into_iter().filter(|v| *v == ADMITTED).count();
    }
    assert_eq!(admitted, 100);
}

/// Attempts whose replies are lost while `broken`, although the work is done.
struct LosesReplies {
    attempts: MemoryAttempts,
    broken: AtomicBool,
}

#[async_trait]
impl Attempts for LosesReplies {
    async fn ping(&self) -> Result<(), AttemptsError> {
        Ok(())
    }

    async fn swap(&self, swaps: &[Swap]) -> Vec<Result<Swapped, AttemptsError>> {
        let swapped = self.attempts.swap(swaps).await;
        if self.broken.load(Ordering::Relaxed) {
            let lost = || AttemptsError("the reply was lost".into());
            return swaps.iter().map(|_| Err(lost())).collect();
        }
        swapped
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_failed_is_not_used_up() {
    let attempts = Arc::new(LosesReplies {
        attempts: MemoryAttempts::default(),
        broken: AtomicBool::new(true),
    });
    let (gate, hour) = (gate(attempts.clone()), rules(Some(3600), 0.0));
    let asks = [ask("ann", None), ask("bob", 1)];
    for failed in gate.admit_all(CAMPAIGN, &hour, &asks, NOW).await {
        failed.expect_err("the reply was lost");
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    attempts.broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The named tap is known again; the nameless one's attempt was taken back.
    let asks = [
        ask("bob", 1),
        ask("bob", 2),
        ask("ann", None),
        ask("ann", None),
    ];
    let expected = [ADMITTED, TOO_FREQUENT, ADMITTED, TOO_FREQUENT];
    assert_eq!(verdicts(&gate, &hour, &asks, 5).await, expected);
}
