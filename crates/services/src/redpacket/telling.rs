//! What this node tells in its metrics: how its grabs ended and how fast, and what it holds.
//!
//! Told once a second, out of the counters that the ledger gets, so that no grab pays for it. It
//! must never decide anything.

use metrics::{Counter, Gauge, counter, gauge};
use rules::{
    Outcome, Tally,
    outcome::{LATENCY_BUCKETS, latency_bucket_end_micros},
};

/// The first of the latency buckets at whose ends grabs are counted, and every second one after
/// it: 16 µs, doubling up to 4.2 s.
const FIRST_END: usize = 6;
/// The last of them.
const LAST_END: usize = 42;

/// The metrics of a grab node.
pub(super) struct Telling {
    /// By [`Outcome::slot`].
    outcomes: Vec<Counter>,
    /// Grabs answered before the end of a latency bucket, with that bucket.
    within: Vec<(usize, Counter)>,
    stock: Gauge,
    bundles: Gauge,
}

impl Telling {
    /// Every metric is there from now on, at zero.
    pub(super) fn new() -> Self {
        let ends = (FIRST_END..=LAST_END).step_by(2);
        let all = LATENCY_BUCKETS - 1;
        let ends = ends.map(|bucket| (bucket, seconds(bucket)));
        let ends = ends.chain([(all, "+Inf".to_owned())]);
        let within = |le| counter!("hongbao_grabs_within_total", "le" => le);
        Self {
            outcomes: Outcome::all().map(outcome_counter).collect(),
            within: ends.map(|(bucket, le)| (bucket, within(le))).collect(),
            stock: gauge!("hongbao_stock_packets"),
            bundles: gauge!("hongbao_stock_bundles"),
        }
    }

    /// Counts the grabs of `tally`.
    pub(super) fn grabs(&self, tally: &Tally) {
        for (counter, grabs) in self.outcomes.iter().zip(tally.outcomes) {
            counter.increment(grabs);
        }
        for (bucket, counter) in &self.within {
            counter.increment(tally.latencies[..=*bucket].iter().sum());
        }
    }

    /// Notes how many packets are free here, and in how many bundles they came.
    pub(super) fn stock(&self, packets: usize, bundles: usize) {
        self.stock.set(packets as f64);
        self.bundles.set(bundles as f64);
    }
}

fn outcome_counter(outcome: Outcome) -> Counter {
    let (outcome, reason) = match outcome {
        Outcome::Won => ("won", ""),
        Outcome::Repeated => ("repeated", ""),
        Outcome::Unavailable => ("unavailable", ""),
        Outcome::Missed(reason) => ("missed", reason.as_str()),
        Outcome::Rejected(reason) => ("rejected", reason.as_str()),
    };
    counter!("hongbao_grabs_total", "outcome" => outcome, "reason" => reason)
}

/// The end of a latency bucket as Prometheus writes it.
fn seconds(bucket: usize) -> String {
    (latency_bucket_end_micros(bucket) as f64 / 1e6).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_double_from_16_microseconds_to_4_seconds() {
        let ends: Vec<u64> = (FIRST_END..=LAST_END)
            .step_by(2)
            .map(latency_bucket_end_micros)
            .collect();
        assert_eq!((ends[0], ends[ends.len() - 1]), (16, 4_194_304));
        assert!(ends.windows(2).all(|pair| pair[1] == pair[0] * 2));
        assert_eq!(seconds(FIRST_END), "0.000016");
        assert_eq!(seconds(LAST_END), "4.194304");
    }
}
