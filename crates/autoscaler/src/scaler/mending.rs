//! When a loss is mended again: at once where the last mending held, later and later where it did
//! not. Pure.

use std::time::Duration;

use crate::{actions::More, window::Moment};

/// What became of an instance that was added for a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has been ready for long enough: the next loss is another one.
    Holds,
    /// That cannot be told yet.
    Open,
    /// It was taken away on purpose.
    Dismissed,
    /// It never came, or was lost again before it held.
    Lost,
}

/// What is being mended in a service.
#[derive(Debug)]
pub(super) struct Mending {
    /// What was added for a loss and has not held yet.
    open: Vec<More>,
    /// Nothing is mended before then.
    from: Option<Moment>,
    first_wait: Duration,
    /// How long the next wait is.
    wait: Duration,
}

impl Mending {
    pub(super) const fn new(first_wait: Duration) -> Self {
        Self {
            open: Vec::new(),
            from: None,
            first_wait,
            wait: first_wait,
        }
    }

    /// Whether the last mending was in vain just now.
    pub(super) fn waits(&self, now: Moment) -> bool {
        self.from.is_some_and(|from| now < from)
    }

    /// These are added for a loss.
    pub(super) fn add(&mut self, more: &[More]) {
        self.open.extend_from_slice(more);
    }

    /// Sees what became of what was added.
    pub(super) fn note(&mut self, now: Moment, longest: Duration, fate: impl Fn(&More) -> Fate) {
        let fates = self.open.iter().map(&fate).collect::<Vec<_>>();
        let mut each = fates.iter();
        self.open.retain(|_| each.next() == Some(&Fate::Open));
        if fates.contains(&Fate::Holds) {
            self.begin_anew();
        }
        if fates.contains(&Fate::Lost) {
            self.in_vain(now, longest);
        }
    }

    /// The next mending waits, and the one after that twice as long, up to `longest`.
    pub(super) fn in_vain(&mut self, now: Moment, longest: Duration) {
        self.from = Some(now.after(self.wait));
        self.wait = (self.wait * 2).min(longest);
    }

    /// The next loss is the first.
    pub(super) const fn begin_anew(&mut self) {
        self.from = None;
        self.wait = self.first_wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(3);
    const LONGEST: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    /// How many seconds pass until a loss at `now` is mended.
    fn wait(mending: &Mending, now: i64) -> i64 {
        (now..).find(|&it| !mending.waits(at(it))).unwrap_or(now) - now
    }

    #[test]
    fn kills_in_a_row_are_each_mended_at_once_as_long_as_mending_holds() {
        let mut mending = Mending::new(FIRST);
        for kill in 0..100 {
            let now = kill * 10;
            assert_eq!(wait(&mending, now), 0, "kill {kill}");
            mending.add(&[More::Make(u32::try_from(kill).unwrap_or(0))]);
            mending.note(at(now + 2), LONGEST, |_| Fate::Open);
            mending.note(at(now + 6), LONGEST, |_| Fate::Holds);
        }
    }

    #[test]
    fn what_does_not_hold_waits_twice_as_long_each_time_until_something_does() {
        let mut mending = Mending::new(FIRST);
        let (mut now, mut waits) = (0, Vec::new());
        for number in 0..7 {
            mending.add(&[More::Make(number)]);
            mending.note(at(now), LONGEST, |_| Fate::Lost);
            waits.push(wait(&mending, now));
            now += 100;
        }
        assert_eq!(waits, [3, 6, 12, 24, 48, 60, 60]);
        mending.add(&[More::Make(8), More::Make(9)]);
        mending.note(at(now), LONGEST, |more| match more {
            More::Make(8) => Fate::Holds,
            _ => Fate::Lost,
        });
        assert_eq!(
            wait(&mending, now),
            3,
            "one holds, the other is the first lost"
        );
        mending.note(at(now + 1), LONGEST, |_| Fate::Lost);
        assert_eq!(wait(&mending, now), 3, "and each counts once");
    }

    #[test]
    fn what_was_taken_away_is_no_loss() {
        let mut mending = Mending::new(FIRST);
        mending.add(&[More::Make(1)]);
        mending.note(at(5), LONGEST, |_| Fate::Dismissed);
        assert!(!mending.waits(at(5)));
    }
}
