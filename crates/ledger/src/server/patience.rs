//! How long a call is made again after a deadlock or a lock time-out.

use std::time::{Duration, Instant};

use super::fault::{Fail, Fault};

/// No try begins later than this after the first: a claim's user has been answered by then.
const TRIES_FOR: Duration = Duration::from_millis(1_200);
/// Enough for any crossing of locks that can sort itself out.
const TRIES_MAX: u32 = 8;
/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The patience of one call.
pub(super) struct Patience {
    began: Instant,
    tries: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            tries: 1,
        }
    }

    /// Whether `fail` may be gone at once and there is time for another try; waits before it.
    pub(super) async fn lasts(&mut self, fail: &Fail) -> bool {
        if !matches!(fail.fault(), Fault::Again | Fault::Waited) {
            return false;
        }
        metrics::counter!("hongbao_ledger_conflicts_total").increment(1);
        if self.tries >= TRIES_MAX || self.began.elapsed() > TRIES_FOR {
            return false;
        }
        tokio::time::sleep(FIRST_PAUSE * (1 << (self.tries - 1))).await;
        self.tries += 1;
        true
    }
}
