//! The scaler against a fake Docker on a socket of its own: the true client, the true loop.
//!
//! Nothing here asserts a time; what does not come within a minute fails the test.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

mod copies;
mod fake;
mod life;
mod others;
mod troubles;

use std::{sync::Arc, time::Duration};

use autoscaler::{Docker, Options, Patience, Scaler, rule::Pace};
use rules::{Clock, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use fake::Fake;

/// How fast time goes in these tests.
pub(crate) const PACE: Pace = Pace {
    window: Duration::from_millis(300),
    cooldown_out: Duration::from_millis(300),
    cooldown_in: Duration::from_millis(600),
    short_for: Duration::from_millis(200),
};

/// How long it waits for others here.
const PATIENCE: Patience = Patience {
    starts_within: Duration::from_secs(60),
    made_left_for: Duration::from_secs(60),
    half_made_kept_for: Duration::from_millis(300),
    ended_left_for: Duration::from_millis(500),
    ended_kept_for: Duration::from_secs(1),
    unhealthy_kept_for: Duration::from_secs(60),
    followed_after: Duration::from_millis(500),
    brought_up_within: Duration::from_secs(120),
    holds_after: Duration::from_millis(200),
    tried_again_within: Duration::from_secs(1),
    mended_after: Duration::from_secs(1),
    holds_said_every: Duration::from_secs(1),
};

/// The wall clock of these tests stands still: the containers of [`Fake`] are made long before it.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(fake::NOW * 1_000_000)
    }
}

/// A running scaler.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Begins to look after the project `p`.
    pub(crate) fn begin(fake: &Fake) -> Self {
        Self::begin_with(fake, PACE, false)
    }

    /// The same with another patience.
    pub(crate) fn begin_patient(fake: &Fake, pace: Pace, patience: Patience) -> Self {
        Self::begin_as(fake, pace, patience, false)
    }

    pub(crate) fn begin_with(fake: &Fake, pace: Pace, dry_run: bool) -> Self {
        Self::begin_as(fake, pace, PATIENCE, dry_run)
    }

    fn begin_as(fake: &Fake, pace: Pace, patience: Patience, dry_run: bool) -> Self {
        let options = Options {
            projects: vec!["p".into()],
            interval: Duration::from_millis(50),
            pace,
            patience,
            dry_run,
        };
        let docker = Docker::at(&fake.address()).unwrap();
        let scaler = Scaler::new(docker, options, Arc::new(Still));
        let stop = CancellationToken::new();
        let task = tokio::spawn(scaler.run(stop.clone(), |_| {}));
        Self { stop, task }
    }

    /// Ends it, and everything that it has begun.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Waits until `so`, and shows the calls if it never is.
pub(crate) async fn until(fake: &Fake, what: &str, so: impl Fn(&Fake) -> bool) {
    for _ in 0..1_200 {
        if so(fake) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}\n{}", fake.told());
}

/// Waits until the scaler has looked so many more times.
pub(crate) async fn looks(fake: &Fake, more: u64) {
    let until_then = fake.looks() + more;
    until(fake, "more looks", |fake| fake.looks() >= until_then).await;
}
