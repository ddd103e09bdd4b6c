//! What a grab can end in. Outcomes are values, never errors.

use serde::{Deserialize, Serialize};

/// Why a grab missed: time or stock ruled it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The first wave is not open yet.
    NotStarted,
    /// All that was issued so far is claimed, and another wave will come.
    BetweenWaves,
    /// Packets are left, but none reached this node in time.
    NotThisTime,
    /// Every packet of the campaign is claimed.
    SoldOut,
    /// The organiser has paused the campaign.
    Paused,
    /// The campaign is over.
    Ended,
}

/// Why a grab was rejected: a rule of the campaign forbids it to this user now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejected {
    /// The user has tried within the attempt window already.
    TooFrequent,
    /// The random discard gave this attempt up.
    Discarded,
    /// The user is on the campaign's blocklist.
    Blocked,
    /// The campaign is for others.
    NotEligible,
    /// The user has won as often as the period allows.
    LimitReached,
}

impl Missed {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 6] = [
        Self::NotStarted,
        Self::BetweenWaves,
        Self::NotThisTime,
        Self::SoldOut,
        Self::Paused,
        Self::Ended,
    ];

    /// The reason as the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::BetweenWaves => "between_waves",
            Self::NotThisTime => "not_this_time",
            Self::SoldOut => "sold_out",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

impl Rejected {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 5] = [
        Self::TooFrequent,
        Self::Discarded,
        Self::Blocked,
        Self::NotEligible,
        Self::LimitReached,
    ];

    /// The reason as the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooFrequent => "too_frequent",
            Self::Discarded => "discarded",
            Self::Blocked => "blocked",
            Self::NotEligible => "not_eligible",
            Self::LimitReached => "limit_reached",
        }
    }
}

/// What a grab was answered, as the counters keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A new win.
    Won,
    /// The same win again.
    Repeated,
    /// 503.
    Unavailable,
    /// Time or stock.
    Missed(Missed),
    /// A rule.
    Rejected(Rejected),
}

impl Outcome {
    /// How many outcomes there are.
    pub const COUNT: usize = 3 + Missed::ALL.len() + Rejected::ALL.len();

    /// The place of this outcome in [`Tally::outcomes`].
    #[must_use]
    pub const fn slot(self) -> usize {
        match self {
            Self::Won => 0,
            Self::Repeated => 1,
            Self::Unavailable => 2,
            Self::Missed(reason) => 3 + reason as usize,
            Self::Rejected(reason) => 3 + Missed::ALL.len() + reason as usize,
        }
    }

    /// Every outcome, in the order of [`Self::slot`].
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Won, Self::Repeated, Self::Unavailable]
            .into_iter()
            .chain(Missed::ALL.map(Self::Missed))
            .chain(Rejected::ALL.map(Self::Rejected))
    }
}

/// Number of latency buckets: bucket 0 is below 2 µs, then two for each doubling; the last
/// takes the rest.
pub const LATENCY_BUCKETS: usize = 48;

/// The bucket of a latency of `micros` µs: two buckets for each doubling.
#[must_use]
pub const fn latency_bucket(micros: u64) -> usize {
    if micros < 2 {
        return 0;
    }
    let log = micros.ilog2() as usize;
    let upper_half = (micros >> (log - 1)) & 1;
    let bucket = log * 2 - 1 + upper_half as usize;
    if bucket < LATENCY_BUCKETS {
        bucket
    } else {
        LATENCY_BUCKETS - 1
    }
}

/// The least latency above bucket `bucket`, in µs: what a percentile in it is reported as.
#[must_use]
pub const fn latency_bucket_end_micros(bucket: usize) -> u64 {
    if bucket == 0 {
        return 2;
    }
    let log = bucket.div_ceil(2);
    let base = 1_u64 << log;
    if bucket % 2 == 1 {
        base + base / 2
    } else {
        base * 2
    }
}

/// Grabs counted by outcome and by latency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Grabs by [`Outcome::slot`].
    pub outcomes: [u64; Outcome::COUNT],
    /// Grabs by [`latency_bucket`].
    pub latencies: [u64; LATENCY_BUCKETS],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            outcomes: [0; Outcome::COUNT],
            latencies: [0; LATENCY_BUCKETS],
        }
    }
}

impl Tally {
    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine += more;
        }
        for (mine, more) in self.latencies.iter_mut().zip(other.latencies) {
            *mine += more;
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.iter().all(|&n| n == 0)
    }

    /// The latency, in µs, that a share `q` (0 to 1) of the grabs did not exceed, to the
    /// bucket; `None` when nothing was counted.
    #[must_use]
    pub fn latency_micros(&self, q: f64) -> Option<u64> {
        let total: u64 = self.latencies.iter().sum();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a percentile is approximate, and q lies between 0 and 1"
        )]
        let rank = ((total as f64 * q).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let bucket = self.latencies.iter().position(|&n| {
            seen += n;
            seen >= rank
        });
        bucket.map(latency_bucket_end_micros)
    }
}
