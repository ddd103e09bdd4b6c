//! How many grabs ended how, and how fast: exact whatever the interleaving, and a few
//! nanoseconds for the thread that counts.
//!
//! Each counting thread has a shard to itself, so that it needs neither a lock nor a locked
//! instruction, and no two threads write to one cache line. A shard has one cell for each
//! pair of outcome and latency bucket: a grab is one addition to one cell, so it is in exactly
//! one take with its outcome and its latency together. Cells only ever grow; [`Counters::take`]
//! gives the growth since the take before it.

use std::{
    array,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rules::{
    Outcome, Tally,
    outcome::{LATENCY_BUCKETS, latency_bucket},
};

use crate::thread_slot::{SLOTS, thread_slot};

const CELLS: usize = Outcome::COUNT * LATENCY_BUCKETS;

/// The counts of one thread. Two cache lines are fetched together on some processors, hence 128.
#[repr(align(128))]
struct Shard {
    /// By outcome's slot, then by latency bucket.
    cells: [AtomicU64; CELLS],
}

impl Shard {
    fn new() -> Box<Self> {
        Box::new(Self {
            cells: array::from_fn(|_| AtomicU64::new(0)),
        })
    }
}

/// Grabs of one campaign, counted by several threads and taken by one at a time.
///
/// Takes about 5 KiB for each thread that counts.
pub struct Counters {
    /// One for each thread slot, made when its thread first counts.
    own: [OnceLock<Box<Shard>>; SLOTS],
    /// For threads without a slot.
    shared: OnceLock<Box<Shard>>,
    /// What the takes so far have given, by cell.
    taken: Mutex<Vec<u64>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            own: array::from_fn(|_| OnceLock::new()),
            shared: OnceLock::new(),
            taken: Mutex::new(vec![0; CELLS]),
        }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

impl Counters {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one grab that ended in `outcome` after `latency_micros` µs.
    pub fn count(&self, outcome: Outcome, latency_micros: u64) {
        let cell = outcome.slot() * LATENCY_BUCKETS + latency_bucket(latency_micros);
        if let Some(slot) = thread_slot() {
            let cell = &self.own[slot].get_or_init(Shard::new).cells[cell];
            // No other living thread writes here, and what a former owner of the slot wrote
            // was handed over with the slot: nothing can be added in between.
            cell.store(cell.load(Relaxed) + 1, Relaxed);
        } else {
            self.shared.get_or_init(Shard::new).cells[cell].fetch_add(1, Relaxed);
        }
    }

    /// What was counted since the last take. Every grab is in exactly one take; one that is
    /// being counted at this instant may be in this or the next.
    #[must_use]
    pub fn take(&self) -> Tally {
        // The baseline is written cell by cell together with the tally that is returned; a
        // panic cannot come between, as nothing there can panic.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tally = Tally::default();
        let shards: Vec<&Shard> = self
            .own
            .iter()
            .chain([&self.shared])
            .filter_map(|shard| shard.get().map(Box::as_ref))
            .collect();
        for (cell, before) in taken.iter_mut().enumerate() {
            // The lock orders the takes, so no cell reads lower than it did before.
            let now: u64 = shards.iter().map(|s| s.cells[cell].load(Relaxed)).sum();
            let grown = now - *before;
            *before = now;
            tally.outcomes[cell / LATENCY_BUCKETS] += grown;
            tally.latencies[cell % LATENCY_BUCKETS] += grown;
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicBool,
        thread::{self, ScopedJoinHandle},
    };

    use rules::{Missed, Rejected};

    use super::*;

    #[test]
    fn a_take_gives_what_was_counted_since_the_last() {
        let counters = Counters::new();
        assert!(counters.take().is_empty());
        for (n, outcome) in (1..).zip(Outcome::all()) {
            for latency in 0..n {
                counters.count(outcome, latency * 1000);
            }
        }
        let tally = counters.take();
        let expected: Vec<u64> = (1..=Outcome::COUNT as u64).collect();
        assert_eq!(tally.outcomes.to_vec(), expected);
        assert_eq!(tally.latencies[latency_bucket(0)], Outcome::COUNT as u64);
        assert_eq!(
            tally.latencies.iter().sum::<u64>(),
            expected.iter().sum::<u64>()
        );
        assert!(counters.take().is_empty());

        counters.count(Outcome::Won, u64::MAX);
        let tally = counters.take();
        assert_eq!(
            (tally.outcomes[0], tally.latencies[LATENCY_BUCKETS - 1]),
            (1, 1)
        );
    }

    /// More threads than slots count, in generations that inherit each other's slots, while
    /// takes go on.
    #[test]
    fn every_grab_is_in_exactly_one_take() {
        const GENERATIONS: u64 = 3;
        const THREADS: u64 = SLOTS as u64 + 10;
        const GRABS: u64 = 20_000;
        let counters = Counters::new();
        let done = AtomicBool::new(false);
        let sum = thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut sum = Tally::default();
                while !done.load(Relaxed) {
                    let tally = counters.take();
                    // Outcome and latency of a grab are never torn apart.
                    assert_eq!(
                        tally.outcomes.iter().sum::<u64>(),
                        tally.latencies.iter().sum::<u64>()
                    );
                    sum.add(&tally);
                }
                sum
            });
            for _ in 0..GENERATIONS {
                let count = || {
                    for n in 0..GRABS {
                        counters.count(Outcome::Missed(Missed::SoldOut), n);
                        if n % 4 == 0 {
                            counters.count(Outcome::Rejected(Rejected::Discarded), 3);
                        }
                    }
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
                let join = |t: ScopedJoinHandle<'_, ()>| t.join().expect("no thread fails");
                threads.into_iter().for_each(join);
            }
            done.store(true, Relaxed);
            taker.join().expect("the taker does not fail")
        });
        let mut sum = sum;
        sum.add(&counters.take());
        let all = GENERATIONS * THREADS * GRABS;
        assert_eq!(sum.outcomes[Outcome::Missed(Missed::SoldOut).slot()], all);
        assert_eq!(
            sum.outcomes[Outcome::Rejected(Rejected::Discarded).slot()],
            all / 4
        );
        assert_eq!(sum.latencies.iter().sum::<u64>(), all + all / 4);
    }
}
