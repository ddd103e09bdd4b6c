//! Which periods of a win limit a win can fall into.
//!
//! The API writes times to the millisecond, and which wave a claim saw is decided in the ledger.
//! A win too close to a boundary could belong to either side, so it is counted against both
//! together: this never accuses a server wrongly.

use std::collections::HashMap;

use rules::{Per, Timestamp};

use super::{Terms, TermsWaves, Winner};

/// How close to a boundary of seconds a win may belong to either side, in µs: what rounding to the
/// millisecond can move two times against each other.
const SECONDS_MARGIN_MICROS: i64 = 1_000;
/// How close to a wave's opening a win may belong to either side, in µs: its row is written before
/// it is seen.
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

    /// The first and the last period that a win at `at` can fall into: one, but for those close to
    /// a boundary. None precedes the first.
    fn periods(&self, at: Timestamp) -> (i64, i64) {
        match self {
            Self::Whole => (0, 0),
            Self::Seconds { start, seconds } => {
                let length = i64::from(*seconds) * 1_000_000;
                let since = at.since(*start);
                let period = |since: i64| since.div_euclid(length).max(0);
                (
                    period(since - SECONDS_MARGIN_MICROS),
                    period(since + SECONDS_MARGIN_MICROS),
                )
            }
            Self::Openings(opened) => {
                let by = |margin| {
                    let at = at.plus_micros(margin);
                    let opened = opened.partition_point(|opening| *opening <= at);
                    i64::try_from(opened).unwrap_or(i64::MAX).max(1)
                };
                (by(-WAVE_MARGIN_MICROS), by(WAVE_MARGIN_MICROS))
            }
        }
    }

    /// Users who certainly have more wins than `count` in one period, in two that follow one
    /// another more than twice that, or in all together more than all allow; by user, with the
    /// wins and what is allowed.
    pub(super) fn above<'a>(&self, winners: &'a [Winner], count: u32) -> Vec<Above<'a>> {
        // By user and run of periods (the first, and how many): the wins that lie within.
        let mut within: HashMap<(&str, i64, u64), u64> = HashMap::new();
        let mut in_all: HashMap<&str, u64> = HashMap::new();
        for winner in winners {
            let user = winner.user.as_str();
            *in_all.entry(user).or_default() += 1;
            let (first, last) = self.periods(winner.claimed_at);
            let runs = match last - first {
                0 => &[(first, 1), (first - 1, 2), (first, 2)][..],
                1 => &[(first, 2)],
                _ => &[],
            };
            for (first, length) in runs {
                *within.entry((user, *first, *length)).or_default() += 1;
            }
        }
        let allowed = u64::from(count);
        let mut above: HashMap<&str, Above<'_>> = HashMap::new();
        let within = within.into_iter().map(|((user, _, length), wins)| Above {
            user,
            wins,
            allowed: allowed.saturating_mul(length),
        });
        let together = match self {
            Self::Openings(opened) => allowed.saturating_mul(opened.len() as u64),
            Self::Whole | Self::Seconds { .. } => u64::MAX,
        };
        let in_all = in_all.into_iter().map(|(user, wins)| Above {
            user,
            wins,
            allowed: together,
        });
        for one in within.chain(in_all).filter(|one| one.wins > one.allowed) {
            // The narrowest tells the most.
            let known = above.entry(one.user).or_insert_with(|| one.clone());
            if one.allowed < known.allowed {
                *known = one;
            }
        }
        let mut above: Vec<_> = above.into_values().collect();
        above.sort_unstable_by_key(|one| one.user);
        above
    }
}

/// A user above the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Above<'a> {
    pub(super) user: &'a str,
    pub(super) wins: u64,
    pub(super) allowed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn seconds_count_from_the_start_and_boundaries_are_of_both_sides() {
        let periods = Periods::Seconds {
            start: at(5 * SECOND),
            seconds: 10,
        };
        assert_eq!(periods.periods(at(5 * SECOND)), (0, 0));
        assert_eq!(periods.periods(at(6 * SECOND)), (0, 0));
        assert_eq!(periods.periods(at(14 * SECOND)), (0, 0));
        assert_eq!(periods.periods(at(15 * SECOND)), (0, 1));
        assert_eq!(periods.periods(at(16 * SECOND)), (1, 1));
    }

    #[test]
    fn a_wave_counts_until_the_next_opens() {
        let periods = Periods::Openings(vec![at(0), at(10 * SECOND)]);
        assert_eq!(periods.periods(at(1)), (1, 1));
        assert_eq!(periods.periods(at(5 * SECOND)), (1, 1));
        assert_eq!(periods.periods(at(10 * SECOND + 1)), (1, 2));
        assert_eq!(periods.periods(at(12 * SECOND)), (2, 2));
    }

    /// The user `a` with wins at these times, against one a period: the wins that are too many,
    /// and what is allowed of those.
    fn too_many(periods: &Periods, times: &[i64]) -> Option<(u64, u64)> {
        let win = |(&micros, index)| Winner {
            packet: rules::PacketId { wave: 1, index },
            user: rules::UserId::trusted("a"),
            amount: rules::Fen::ZERO,
            claimed_at: at(micros),
        };
        let wins: Vec<_> = times.iter().zip(1..).map(win).collect();
        let above = periods.above(&wins, 1);
        above.first().map(|one| (one.wins, one.allowed))
    }

    #[test]
    fn wins_close_to_openings_are_counted_against_both_sides() {
        let openings = [0, 10, 20, 30].map(|second| at(second * SECOND));
        let periods = Periods::Openings(openings.to_vec());
        let second = |seconds: &[i64]| -> Vec<i64> { seconds.iter().map(|s| s * SECOND).collect() };
        // Nothing precedes the first opening.
        assert_eq!(too_many(&periods, &[1, 2]), Some((2, 1)));
        // Two near the second can be one of each side, three cannot.
        assert_eq!(too_many(&periods, &second(&[10, 10])), None);
        assert_eq!(too_many(&periods, &second(&[10, 10, 10])), Some((3, 2)));
        assert_eq!(too_many(&periods, &second(&[5, 10])), None);
        assert_eq!(too_many(&periods, &second(&[5, 10, 15])), Some((3, 2)));
        // One of each period, and those of either side where there is room for them.
        assert_eq!(too_many(&periods, &second(&[5, 10, 20, 35])), None);
        assert_eq!(too_many(&periods, &second(&[5, 15, 25, 35])), None);
        assert_eq!(
            too_many(&periods, &second(&[5, 15, 25, 30, 35])),
            Some((3, 2))
        );
    }
}
