//! How much CPU a container has used, averaged over a sliding window. Pure: points in time come
//! from the caller.

use std::{collections::VecDeque, time::Duration};

/// A point on a monotonic clock: microseconds since a start that the caller chose; negative for
/// what was before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// How long after `earlier` this is; nothing when it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// This moment, `duration` earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// This moment, `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// What one container used between two looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The earlier look.
    pub from: Moment,
    /// The later one.
    pub to: Moment,
    /// Percent of the container's CPU limit, or of one CPU when it has none.
    pub cpu: f64,
}

/// The average over a window, and how much of the window is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// Percent, as in [`Sample::cpu`].
    pub cpu: f64,
    /// The known part of the window, 0 to 1.
    pub covered: f64,
}

/// The average of `samples` over the `window` that ends at `now`, weighted by time. `None` when
/// nothing in it is known.
#[must_use]
pub fn average(samples: &[Sample], now: Moment, window: Duration) -> Option<Average> {
    let begin = now.before(window);
    let (mut known, mut weighted) = (0.0, 0.0);
    for sample in samples {
        let part = sample.to.min(now).since(sample.from.max(begin));
        known += part.as_secs_f64();
        weighted += part.as_secs_f64() * sample.cpu;
    }
    (known > 0.0).then(|| Average {
        cpu: weighted / known,
        covered: known / window.as_secs_f64(),
    })
}

/// What a container's counter of CPU time said at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was taken, by our clock: places it in the window.
    pub at: Moment,
    /// When it was taken, by the daemon's clock, in nanoseconds since the epoch: measures the time
    /// between two of them, free of what a call takes.
    pub daemon_nanos: i64,
    /// CPU time used since the container began, in nanoseconds.
    pub used_nanos: u64,
}

/// The samples of one container, as far back as a window reaches.
#[derive(Debug, Default)]
pub struct History {
    last: Option<Reading>,
    samples: VecDeque<Sample>,
}

impl History {
    /// Adds a reading of a container that may use `cpus` CPUs, and forgets what is older than
    /// `window`. A counter that went back belongs to a container that was started again: what
    /// it used in between is not known.
    pub fn add(&mut self, reading: Reading, cpus: f64, window: Duration) {
        if let Some(last) = self.last.replace(reading) {
            let elapsed = reading.daemon_nanos.saturating_sub(last.daemon_nanos);
            let used = reading.used_nanos.checked_sub(last.used_nanos);
            if let (Some(used), true) = (used, elapsed > 0 && reading.at > last.at) {
                self.samples.push_back(Sample {
                    from: last.at,
                    to: reading.at,
                    cpu: used as f64 / elapsed as f64 / cpus * 100.0,
                });
            }
        }
        let begin = reading.at.before(window);
        while self.samples.front().is_some_and(|s| s.to <= begin) {
            self.samples.pop_front();
        }
    }

    /// Forgets everything: what comes next has nothing to do with what was.
    pub fn clear(&mut self) {
        self.last = None;
        self.samples.clear();
    }

    /// The samples, the oldest first.
    #[must_use]
    pub fn samples(&mut self) -> &[Sample] {
        self.samples.make_contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const WINDOW: Duration = Duration::from_secs(10);

    fn reading(at_seconds: i64, used_seconds: f64) -> Reading {
        Reading {
            at: Moment(at_seconds * SECOND),
            // The daemon's clock has nothing to do with ours.
            daemon_nanos: 77_000_000_000 + at_seconds * 1_000_000_000,
            used_nanos: (used_seconds * 1e9) as u64,
        }
    }

    #[test]
    fn an_average_is_weighted_by_time_and_cut_at_the_window() {
        let mut history = History::default();
        for (at, used) in [(0, 0.0), (4, 4.0), (12, 4.0)] {
            history.add(reading(at, used), 1.0, WINDOW);
        }
        let now = Moment(12 * SECOND);
        let average = average(history.samples(), now, WINDOW).unwrap();
        // Two of the ten seconds at 100 %, eight at none.
        assert!((average.cpu - 20.0).abs() < 1e-6, "{average:?}");
        assert!((average.covered - 1.0).abs() < 1e-6, "{average:?}");
    }

    #[test]
    fn half_a_cpu_is_half_the_limit_s_size() {
        let mut history = History::default();
        history.add(reading(0, 0.0), 0.5, WINDOW);
        history.add(reading(2, 0.5), 0.5, WINDOW);
        let average = average(history.samples(), Moment(2 * SECOND), WINDOW).unwrap();
        assert!((average.cpu - 50.0).abs() < 1e-6, "{average:?}");
        assert!((average.covered - 0.2).abs() < 1e-6, "{average:?}");
    }

    #[test]
    fn a_counter_that_went_back_tells_nothing() {
        let mut history = History::default();
        history.add(reading(0, 9.0), 1.0, WINDOW);
        history.add(reading(2, 0.1), 1.0, WINDOW);
        assert_eq!(average(history.samples(), Moment(2 * SECOND), WINDOW), None);
        history.add(reading(4, 1.1), 1.0, WINDOW);
        assert_eq!(history.samples().len(), 1);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut history = History::default();
        for at in 0..100 {
            history.add(reading(at, at as f64), 1.0, WINDOW);
        }
        assert_eq!(history.samples().len(), 10);
        history.clear();
        assert!(history.samples().is_empty());
    }
}
