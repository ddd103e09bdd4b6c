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

    /// Users who certainly have more wins than `count` in one period, and in all periods
    /// together more than all of them allow; by user, with the wins and what is allowed.
    pub(super) fn above<'a>(&self, winners: &'a [Winner], count: u32) -> Vec<Above<'a>> {
        let mut in_one: HashMap<(&str, i64), u64> = HashMap::new();
        let mut in_all: HashMap<&str, u64> = HashMap::new();
        for winner in winners {
            let user = winner.user.as_str();
            *in_all.entry(user).or_default() += 1;
            if let Some(period) = self.period(winner.claimed_at) {
                *in_one.entry((user, period)).or_default() += 1;
            }
        }
        let allowed = u64::from(count);
        let mut above: HashMap<&str, Above<'_>> = HashMap::new();
        let in_one = in_one.into_iter().map(|((user, _), wins)| Above {
            user,
            wins,
            allowed,
        });
        // Wins close to an opening are in no period, but not more than all periods allow.
        let together = match self {
            Self::Openings(opened) => allowed.saturating_mul(opened.len() as u64),
            Self::Whole | Self::Seconds { .. } => u64::MAX,
        };
        let in_all = in_all.into_iter().map(|(user, wins)| Above {
            user,
            wins,
            allowed: together,
        });
        for one in in_one.chain(in_all).filter(|one| one.wins > one.allowed) {
            above.entry(one.user).or_insert(one);
        }
        let mut above: Vec<_> = above.into_values().collect();
        above.sort_unstable_by_key(|one| one.user);
        above
    }
}

/// A user above the limit.
#[derive(Debug, PartialEq, Eq)]
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

    #[test]
    fn wins_close_to_openings_are_counted_against_all_of_them() {
        let periods = Periods::Openings(vec![at(0), at(10 * SECOND)]);
        let win = |index| Winner {
            packet: rules::PacketId { wave: 1, index },
            user: rules::UserId::trusted("a"),
            amount: rules::Fen::ZERO,
            claimed_at: at(1),
        };
        let wins = [win(1), win(2), win(3)];
        assert_eq!(periods.above(&wins[..2], 1), []);
        let above = Above {
            user: "a",
            wins: 3,
            allowed: 2,
        };
        assert_eq!(periods.above(&wins, 1), [above]);
    }
}
