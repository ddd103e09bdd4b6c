//! Which wins certainly fall into one period of a win limit.
//!
//! The API writes times to the millisecond, and which wave a claim saw is decided in the ledger.
//! A win too close to a boundary could belong to either side, so it is counted in neither: this
//! never accuses a server wrongly.

use std::collections::HashMap;

use rules::{Per, Timestamp};

use super::{Terms, TermsWaves, Winner};

/// How close to a boundary of seconds a win is left out, in µs: what rounding to the millisecond
/// can move two times against each other.
const SECONDS_MARGIN_MICROS: i64 = 1_000;
/// How close to a wave's opening a win is left out, in µs: its row is written before it is seen.
const WAVE_MARGIN_MICROS: i64 = 1_000_000;

/// How wins are told apart by period.
pub(super) enum Periods {
    /// All are in one.
    Whole,
    /// Every so many seconds after the start.
    Seconds { start: Timestamp, seconds: u32 },
    /// Each opening of a wave begins one; ascending.
    Openings(Vec<Timestamp>),
}

impl Periods {
    /// The periods of `terms`, or why they cannot be told.
    pub(super) fn of(per: Per, terms: &Terms) -> Result<Self, &'static str> {
        match per {
            Per::Campaign => Ok(Self::Whole),
            Per::Seconds(seconds) => match terms.starts_at {
                Some(start) if seconds > 0 => Ok(Self::Seconds { start, seconds }),
                _ => Err("the server does not say when periods begin (`starts_at`)"),
            },
            Per::Wave => {
                let unknown = "the server does not say when waves opened (`waves[].opened_at`)";
                let Some(TermsWaves::Listed(waves)) = &terms.waves else {
                    return Err(unknown);
                };
                let mut opened: Vec<_> = waves.iter().filter_map(|w| w.opened_at).collect();
                if opened.is_empty() {
                    return Err(unknown);
                }
                opened.sort_unstable();
                Ok(Self::Openings(opened))
            }
        }
    }

    /// The period that `at` certainly falls into; `None` close to a boundary.
    fn period(&self, at: Timestamp) -> Option<i64> {
        match self {
            Self::Whole => Some(0),
            Self::Seconds { start, seconds } => {
                let length = i64::from(*seconds) * 1_000_000;
                let since = at.since(*start);
                let into = since.rem_euclid(length);
                let inside =
                    (SECONDS_MARGIN_MICROS..=length - SECONDS_MARGIN_MICROS).contains(&into);
                inside.then(|| since.div_euclid(length))
            }
            Self::Openings(opened) => {
                let near = |opening: &Timestamp| at.since(*opening).abs() < WAVE_MARGIN_MICROS;
                if opened.iter().any(near) {
                    return None;
                }
                i64::try_from(opened.partition_point(|opening| *opening <= at)).ok()
            }
        }
    }

    /// The most wins that one user certainly has in one period, by user.
    pub(super) fn most<'a>(&self, winners: &'a [Winner]) -> HashMap<&'a str, u64> {
        let mut counts: HashMap<(&str, i64), u64> = HashMap::new();
        for winner in winners {
            if let Some(period) = self.period(winner.claimed_at) {
                *counts.entry((winner.user.as_str(), period)).or_default() += 1;
            }
        }
        let mut most: HashMap<&str, u64> = HashMap::new();
        for ((user, _), count) in counts {
            let best = most.entry(user).or_default();
            *best = count.max(*best);
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn seconds_count_from_the_start_and_boundaries_are_left_out() {
        let periods = Periods::Seconds {
            start: at(5 * SECOND),
            seconds: 10,
        };
        assert_eq!(periods.period(at(6 * SECOND)), Some(0));
        assert_eq!(periods.period(at(14 * SECOND)), Some(0));
        assert_eq!(periods.period(at(15 * SECOND)), None);
        assert_eq!(periods.period(at(16 * SECOND)), Some(1));
    }

    #[test]
    fn a_wave_counts_until_the_next_opens() {
        let periods = Periods::Openings(vec![at(0), at(10 * SECOND)]);
        assert_eq!(periods.period(at(5 * SECOND)), Some(1));
        assert_eq!(periods.period(at(10 * SECOND + 1)), None);
        assert_eq!(periods.period(at(12 * SECOND)), Some(2));
    }
}
