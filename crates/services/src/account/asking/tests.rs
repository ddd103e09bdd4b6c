//! Asks that travel together, and what becomes of them when nobody answers.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use rules::Rejected;
use uuid::Uuid;

use super::*;

const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(1));
const NOW: Timestamp = Timestamp::from_micros(0);

/// Rejects `mal`, cannot decide about `nobody`, and counts.
#[derive(Default)]
struct Counting {
    calls: AtomicUsize,
    attempts: AtomicU64,
    withdrawn: AtomicU64,
    takes: Option<Duration>,
    down: bool,
}

#[async_trait]
impl Verifier for Counting {
    async fn admit(
        &self,
        _campaign: CampaignId,
        attempts: &[Attempt],
    ) -> Result<Vec<Option<Verdict>>, Unreached> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let number = attempts.len() as u64;
        self.attempts.fetch_add(number, Ordering::SeqCst);
        tokio::time::sleep(self.takes.unwrap_or_default()).await;
        if self.down {
            return Err(Unreached("it is down".into()));
        }
        let verdict = |attempt: &Attempt| match attempt.user.as_str() {
            "mal" => Some(Verdict::Rejected(Rejected::Blocked)),
            "nobody" => None,
            _ => Some(Verdict::Admitted),
        };
        Ok(attempts.iter().map(verdict).collect())
    }

    async fn withdraw(&self, _campaign: CampaignId, attempts: &[Attempt]) -> Result<(), Unreached> {
        let number = attempts.len() as u64;
        self.withdrawn.fetch_add(number, Ordering::SeqCst);
        Ok(())
    }

    async fn ping(&self) -> Result<(), Unreached> {
        Ok(())
    }
}

fn attempt(user: &str) -> Attempt {
    Attempt {
        user: UserId::trusted(user),
        grab_id: None,
        ip: Ipv4Addr::LOCALHOST.into(),
    }
}

async fn ask(asked: &Asked, user: &str) -> Option<Verdict> {
    let rules = RuleSet::new(&rules::Rules::default());
    let admission = Admission::Asked(asked.clone());
    let deadline = Instant::now() + Duration::from_secs(60);
    admission
        .admit(CAMPAIGN, &rules, attempt(user), NOW, deadline)
        .await
}

#[tokio::test(start_paused = true)]
async fn many_asks_share_few_calls_and_each_gets_its_own_verdict() {
    let verifier = Arc::new(Counting {
        takes: Some(Duration::from_millis(20)),
        ..Counting::default()
    });
    let asked = Asked::start(verifier.clone(), WhenDown::Refuse);
    let asks = (0..1_000).map(|n| {
        let asked = asked.clone();
        async move {
            let mal = n % 10 == 0;
            let name = if mal {
                "mal".into()
            } else {
                format!("user-{n}")
            };
            (mal, ask(&asked, &name).await)
        }
    });
    for (mal, verdict) in futures_util::future::join_all(asks).await {
        let expected = if mal {
            Verdict::Rejected(Rejected::Blocked)
        } else {
            Verdict::Admitted
        };
        assert_eq!(verdict, Some(expected));
    }
    assert_eq!(verifier.attempts.load(Ordering::SeqCst), 1_000);
    let calls = verifier.calls.load(Ordering::SeqCst);
    assert!(calls <= 2 * CALLS_MAX, "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn an_account_service_that_is_down_refuses_or_admits_as_configured() {
    for (when_down, expected) in [
        (WhenDown::Refuse, None),
        (WhenDown::Admit, Some(Verdict::Admitted)),
    ] {
        let down = Arc::new(Counting {
            down: true,
            ..Counting::default()
        });
        let asked = Asked::start(down, when_down);
        assert_eq!(ask(&asked, "bob").await, expected);
        let up = Asked::start(Arc::new(Counting::default()), when_down);
        assert_eq!(ask(&up, "nobody").await, expected, "one is undecided");
        let blocked = Some(Verdict::Rejected(Rejected::Blocked));
        assert_eq!(ask(&up, "mal").await, blocked, "a verdict is a verdict");
    }
}

/// Admits each user's first attempt until it is given back, after a while.
#[derive(Default)]
struct Window {
    used: std::sync::Mutex<std::collections::HashSet<UserId>>,
}

/// How long [`Window`] takes.
const WINDOW_TAKES: Duration = Duration::from_millis(100);

#[async_trait]
impl Verifier for Window {
    async fn admit(
        &self,
        _campaign: CampaignId,
        attempts: &[Attempt],
    ) -> Result<Vec<Option<Verdict>>, Unreached> {
        tokio::time::sleep(WINDOW_TAKES).await;
        let mut used = self.used.lock().unwrap();
        let verdict = |attempt: &Attempt| match used.insert(attempt.user.clone()) {
            true => Some(Verdict::Admitted),
            false => Some(Verdict::Rejected(Rejected::TooFrequent)),
        };
        Ok(attempts.iter().map(verdict).collect())
    }

    async fn withdraw(&self, _campaign: CampaignId, attempts: &[Attempt]) -> Result<(), Unreached> {
        let mut used = self.used.lock().unwrap();
        for attempt in attempts {
            used.remove(&attempt.user);
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), Unreached> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_opens_no_window() {
    let asked = Asked::start(Arc::new(Window::default()), WhenDown::Refuse);
    assert_eq!(ask(&asked, "eve").await, Some(Verdict::Admitted));
    for waits in [WINDOW_TAKES / 2, Duration::ZERO] {
        let hung_up = tokio::time::timeout(waits, ask(&asked, "eve")).await;
        assert!(hung_up.is_err());
        tokio::time::sleep(WINDOW_TAKES * 3).await;
        let too_frequent = Some(Verdict::Rejected(Rejected::TooFrequent));
        assert_eq!(ask(&asked, "eve").await, too_frequent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_comes_too_late_uses_up_no_attempt_and_opens_no_window() {
    let asked = Asked::start(Arc::new(Window::default()), WhenDown::Refuse);
    let admission = Admission::Asked(asked.clone());
    let rules = RuleSet::new(&rules::Rules::default());
    let impatient = async |user| {
        let deadline = Instant::now() + WINDOW_TAKES / 2;
        let attempt = attempt(user);
        let verdict = admission.admit(CAMPAIGN, &rules, attempt, NOW, deadline);
        assert_eq!(verdict.await, None);
        tokio::time::sleep(WINDOW_TAKES * 3).await;
    };
    impatient("bob").await;
    assert_eq!(ask(&asked, "bob").await, Some(Verdict::Admitted));
    // Rejected this time, and the attempt before stays used up.
    impatient("bob").await;
    let too_frequent = Some(Verdict::Rejected(Rejected::TooFrequent));
    assert_eq!(ask(&asked, "bob").await, too_frequent);
}

#[tokio::test(start_paused = true)]
async fn no_ask_waits_longer_than_its_bound_and_its_attempt_is_given_back() {
    let stuck = Arc::new(Counting {
        takes: Some(Duration::from_secs(3_600)),
        ..Counting::default()
    });
    let asked = Asked::start(stuck.clone(), WhenDown::Refuse);
    let begun = Instant::now();
    let asks = (0..WAITING_MAX + 2_000).map(|n| {
        let asked = asked.clone();
        async move { ask(&asked, &n.to_string()).await }
    });
    let verdicts = futures_util::future::join_all(asks).await;
    assert!(verdicts.iter().all(Option::is_none));
    // The clock is the test's: it moves by what was waited for, and by nothing else.
    assert!(begun.elapsed() <= ANSWER_WITHIN + Duration::from_millis(1));
    tokio::time::sleep(ANSWER_WITHIN * 4).await;
    assert!(stuck.withdrawn.load(Ordering::SeqCst) > 0);
}
