//! Waiting for what comes in its own time. Nothing is asserted about time by this; it ends a test
//! that would otherwise hang.

use std::time::{Duration, Instant};

/// Far longer than anything takes, on a machine that stands still for a while, too.
const WITHIN: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One wait.
pub(crate) struct Wait<'a> {
    what: &'a str,
    began: Instant,
}

impl<'a> Wait<'a> {
    /// Begins to wait for `what`.
    pub(crate) fn begin(what: &'a str) -> Self {
        let began = Instant::now();
        Self { what, began }
    }

    /// Waits until it is worth another look.
    pub(crate) async fn again(&self) {
        assert!(
            self.began.elapsed() < WITHIN,
            "waited for {WITHIN:?} in vain: {}",
            self.what
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks again and again until something is found, and gives it.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = Wait::begin(what);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        wait.again().await;
    }
}
