//! Which period of a [`WinLimit`] a win counts towards.
//!
//! The ledger decides by ledger time, under its locks; nothing here may read a clock.

use crate::{Per, Timestamp, WinLimit};

impl WinLimit {
    /// The period that a win at `at` counts towards: 0 for the whole campaign; `openings`, the
    /// number of waves opened so far, per wave; for seconds the whole periods since
    /// `starts_at`, negative before it. A period of 0 seconds, which no campaign may have,
    /// counts as one second.
    #[must_use]
    pub fn period(self, at: Timestamp, starts_at: Timestamp, openings: u32) -> i64 {
        match self.per {
            Per::Campaign => 0,
            Per::Wave => i64::from(openings),
            Per::Seconds(seconds) => {
                // Rounds down for negative numbers too: the dividing number is positive.
                at.since(starts_at)
                    .div_euclid(i64::from(seconds.max(1)) * 1_000_000)
            }
        }
    }
}
