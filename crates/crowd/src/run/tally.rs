//! Counting: what became of every tap, how long the answers took, and what users were told.
//!
//! Counters are exact. What was told is kept once for each user and packet, so that winners who
//! tap on and on do not fill the memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use rules::{Fen, Missed, Outcome, PacketId, Rejected};
use serde::Serialize;

use crate::{
    audit::{Changed, Marks, Told},
    http::contract::{Answer, Packet},
};

/// The longest latency the histogram tells apart, in µs (10 minutes).
const LATENCY_MICROS_MAX: u64 = 600_000_000;
/// How many kinds of refusals are told apart; a server that makes up codes must not fill memory.
const REFUSALS_MAX: usize = 100;

/// The counters of a run.
pub(crate) struct Tally {
    arrived: AtomicU64,
    shed: AtomicU64,
    late: AtomicU64,
    attempts: AtomicU64,
    lost: AtomicU64,
    dropped: AtomicU64,
    unanswered: AtomicU64,
    outcomes: [AtomicU64; Outcome::COUNT],
    refused: Mutex<BTreeMap<String, u64>>,
    latency: Mutex<Histogram<u64>>,
    wins: Mutex<HashMap<(u32, PacketId, Fen), Told>>,
    changed: Mutex<Vec<Changed>>,
    /// One set of flags for each user.
    marks: Vec<AtomicU8>,
}

/// What was told, taken out of the tally at the end.
pub(crate) struct ToldAll {
    pub(crate) wins: Vec<Told>,
    pub(crate) changed: Vec<Changed>,
    pub(crate) marks: Vec<Marks>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves the value whole, also when it panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    pub(crate) fn new(users: usize) -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3)
            .expect("the bounds and 3 significant digits are what the histogram allows");
        Self {
            arrived: AtomicU64::default(),
            shed: AtomicU64::default(),
            late: AtomicU64::default(),
            attempts: AtomicU64::default(),
            lost: AtomicU64::default(),
            dropped: AtomicU64::default(),
            unanswered: AtomicU64::default(),
            outcomes: Default::default(),
            refused: Mutex::default(),
            latency: Mutex::new(latency),
            wins: Mutex::default(),
            changed: Mutex::default(),
            marks: (0..users).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    /// A tap arrived.
    pub(crate) fn arrived(&self) {
        self.arrived.fetch_add(1, Relaxed);
    }

    /// An arrived tap was not sent: too many were in flight.
    pub(crate) fn shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    /// A tap had to wait for a connection.
    pub(crate) fn late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    /// A request is being sent for `user`.
    pub(crate) fn attempt(&self, user: u32) {
        self.attempts.fetch_add(1, Relaxed);
        self.mark(user, Marks::TAPPED);
    }

    /// A reply was lost.
    pub(crate) fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// A reply was dropped on purpose.
    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// The server could not decide.
    pub(crate) fn unavailable(&self) {
        self.outcomes[Outcome::Unavailable.slot()].fetch_add(1, Relaxed);
    }

    /// A tap's time is over without an answer.
    pub(crate) fn unanswered(&self, user: u32) {
        self.unanswered.fetch_add(1, Relaxed);
        self.mark(user, Marks::UNSETTLED);
    }

    /// A tap was answered with what is no outcome.
    pub(crate) fn refused(&self, user: u32, kind: String) {
        self.mark(user, Marks::UNSETTLED);
        let mut refused = lock(&self.refused);
        let kind = if refused.len() < REFUSALS_MAX || refused.contains_key(&kind) {
            kind
        } else {
            "other".to_owned()
        };
        *refused.entry(kind).or_default() += 1;
    }

    /// A tap has its answer, so long after it was to be sent.
    pub(crate) fn answered(&self, answer: &Answer, after: Duration) {
        let outcome = match answer {
            Answer::Won { repeated, .. } if *repeated => Outcome::Repeated,
            Answer::Won { .. } => Outcome::Won,
            Answer::Missed { reason, .. } => Outcome::Missed(*reason),
            Answer::Rejected(reason) => Outcome::Rejected(*reason),
        };
        self.outcomes[outcome.slot()].fetch_add(1, Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        lock(&self.latency).saturating_record(micros.max(1));
    }

    /// `user` was told of a win.
    pub(crate) fn told(&self, user: u32, packet: &Packet, repeated: bool) {
        let mut wins = lock(&self.wins);
        let told = wins
            .entry((user, packet.id, packet.amount))
            .or_insert(Told {
                user,
                packet: packet.id,
                amount: packet.amount,
                fresh: 0,
                repeats: 0,
            });
        let counter = if repeated {
            &mut told.repeats
        } else {
            &mut told.fresh
        };
        *counter = counter.saturating_add(1);
    }

    /// A repeat of a tap was answered otherwise than its first reply.
    pub(crate) fn changed(&self, changed: Changed) {
        lock(&self.changed).push(changed);
    }

    fn mark(&self, user: u32, mark: u8) {
        let marks = &self.marks[user as usize];
        if marks.load(Relaxed) & mark == 0 {
            marks.fetch_or(mark, Relaxed);
        }
    }

    /// The counters as they are now.
    pub(crate) fn counts(&self) -> Counts {
        let of = |outcome: Outcome| self.outcomes[outcome.slot()].load(Relaxed);
        Counts {
            arrived: self.arrived.load(Relaxed),
            shed: self.shed.load(Relaxed),
            late: self.late.load(Relaxed),
            attempts: self.attempts.load(Relaxed),
            answered: lock(&self.latency).len(),
            won: of(Outcome::Won),
            repeated: of(Outcome::Repeated),
            missed: Missed::ALL
                .map(|reason| (reason.as_str(), of(Outcome::Missed(reason))))
                .into(),
            rejected: Rejected::ALL
                .map(|reason| (reason.as_str(), of(Outcome::Rejected(reason))))
                .into(),
            unavailable: of(Outcome::Unavailable),
            lost: self.lost.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            refused: lock(&self.refused).clone(),
            unanswered: self.unanswered.load(Relaxed),
        }
    }

    /// The latencies as they are now.
    pub(crate) fn latency(&self) -> Latency {
        Latency::of(&lock(&self.latency))
    }

    /// Takes out what was told.
    pub(crate) fn take_told(&self) -> ToldAll {
        let wins = std::mem::take(&mut *lock(&self.wins));
        let mut wins: Vec<_> = wins.into_values().collect();
        wins.sort_unstable_by_key(|told| (told.packet, told.user));
        ToldAll {
            wins,
            changed: std::mem::take(&mut *lock(&self.changed)),
            marks: self.marks.iter().map(|m| Marks(m.load(Relaxed))).collect(),
        }
    }
}

/// What became of the taps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Taps that arrived.
    pub arrived: u64,
    /// Of these, not sent because too many were in flight.
    pub shed: u64,
    /// Of these, sent late because every connection was busy.
    pub late: u64,
    /// Requests sent, repeats included.
    pub attempts: u64,
    /// Taps that were answered with an outcome.
    pub answered: u64,
    /// Answers that told of a new win.
    pub won: u64,
    /// Answers that told of a win again.
    pub repeated: u64,
    /// Answers `missed` by reason.
    pub missed: BTreeMap<&'static str, u64>,
    /// Answers `rejected` by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Replies that the server, or a proxy, could not decide (5xx, 429); each was asked again.
    pub unavailable: u64,
    /// Replies that were lost: the connection broke or nothing came in time; asked again.
    pub lost: u64,
    /// Replies that the crowd dropped on purpose; asked again.
    pub dropped: u64,
    /// Replies that are no outcome, by status and code.
    pub refused: BTreeMap<String, u64>,
    /// Taps given up without an answer.
    pub unanswered: u64,
}

impl Counts {
    /// All answers that are no outcome.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// Latencies from the intended start of a tap to its answer, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 90 of 100 were not above it.
    pub p90: f64,
    /// 99 of 100 were not above it.
    pub p99: f64,
    /// 999 of 1000 were not above it.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "ten minutes in µs are exact")]
        let quantile = |q| histogram.value_at_quantile(q) as f64 / 1e3;
        Self {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: quantile(1.0),
            mean: histogram.mean() / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_win_told_again_and_again_is_kept_once() {
        let tally = Tally::new(3);
        let packet = Packet {
            id: PacketId { wave: 1, index: 2 },
            amount: Fen::new(5).unwrap(),
        };
        tally.told(2, &packet, false);
        for _ in 0..1_000 {
            tally.told(2, &packet, true);
        }
        let told = tally.take_told();
        assert_eq!(told.wins.len(), 1);
        assert_eq!((told.wins[0].fresh, told.wins[0].repeats), (1, 1_000));
    }

    #[test]
    fn answers_are_counted_by_outcome_and_latency() {
        let tally = Tally::new(1);
        let missed = Answer::Missed {
            reason: Missed::SoldOut,
            more_to_come: false,
        };
        tally.answered(&missed, Duration::from_millis(10));
        tally.answered(
            &Answer::Rejected(Rejected::Blocked),
            Duration::from_millis(30),
        );
        tally.refused(0, "401 unauthenticated".to_owned());
        let counts = tally.counts();
        assert_eq!((counts.answered, counts.refused_total()), (2, 1));
        assert_eq!(counts.missed["sold_out"], 1);
        assert_eq!(counts.rejected["blocked"], 1);
        let latency = tally.latency();
        assert!((9.9..10.1).contains(&latency.p50), "{latency:?}");
        assert!((29.9..30.1).contains(&latency.max), "{latency:?}");
        assert!(tally.take_told().marks[0].unsettled());
    }
}
