//! Counts of seconds as they are added up, and which second a time falls in.

use std::collections::BTreeMap;

use rules::{Tally, Timestamp};

use crate::{CampaignNo, Counts};

/// The first whole second at or after `at`.
pub(crate) fn first_second(at: Timestamp) -> i64 {
    -(-at.micros()).div_euclid(1_000_000)
}

/// Sums seconds into steps, which are counted from the Unix epoch; a step is named by its first
/// second.
pub(crate) struct Steps {
    step: i64,
    sums: BTreeMap<i64, Tally>,
}

impl Steps {
    /// Steps of `step_seconds`.
    pub(crate) fn new(step_seconds: u32) -> Self {
        Self {
            step: i64::from(step_seconds.max(1)),
            sums: BTreeMap::new(),
        }
    }

    /// Adds what was counted in `second`.
    pub(crate) fn add(&mut self, second: i64, tally: &Tally) {
        let start = second.div_euclid(self.step) * self.step;
        self.sums.entry(start).or_default().add(tally);
    }

    /// The steps in which anything was counted, ascending.
    pub(crate) fn counts(self, campaign: CampaignNo) -> Vec<Counts> {
        let counts = self.sums.into_iter().map(|(second, tally)| Counts {
            campaign,
            second,
            tally,
        });
        counts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_that_has_begun_is_not_the_first() {
        let first = |micros| first_second(Timestamp::from_micros(micros));
        assert_eq!(first(0), 0);
        assert_eq!(first(1), 1);
        assert_eq!(first(1_000_000), 1);
        assert_eq!(first(-1), 0);
    }

    #[test]
    fn steps_begin_at_multiples_before_the_epoch_too() {
        let mut steps = Steps::new(10);
        for second in [-1, -10, -11, 0, 9] {
            steps.add(second, &Tally::default());
        }
        let starts = steps.counts(CampaignNo(1));
        let starts: Vec<_> = starts.iter().map(|c| c.second).collect();
        assert_eq!(starts, [-20, -10, 0]);
    }
}
