//! The open loop: taps arrive at their set times, whatever the speed of the answers.
//!
//! An arrival never waits for an answer. When too many taps are in flight it is shed, and
//! counted as shed: a slow server must not look fast because it was asked less.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::tapper::{InFlight, Shared, Stop, Tap};
use crate::random::Random;

/// The longest sleep between two looks at the clock, so that a stop is seen soon.
const NAP_MAX: Duration = Duration::from_millis(20);

/// Taps that wait for a connection. Its length is bounded by the taps in flight.
pub(crate) struct Queue {
    taps: Mutex<VecDeque<Tap>>,
    /// One permit for each tap in the queue.
    ready: Semaphore,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            taps: Mutex::new(VecDeque::new()),
            ready: Semaphore::new(0),
        }
    }

    /// Adds taps at the end.
    pub(crate) fn push(&self, more: impl IntoIterator<Item = Tap>) {
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        let before = taps.len();
        taps.extend(more);
        let added = taps.len() - before;
        drop(taps);
        self.ready.add_permits(added);
    }

    /// The next tap, or `None` when the queue was closed.
    pub(crate) async fn pop(&self) -> Option<Tap> {
        let permit = self.ready.acquire().await.ok()?;
        permit.forget();
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.pop_front()
    }

    /// Ends every [`Self::pop`].
    pub(crate) fn close(&self) {
        self.ready.close();
    }
}

/// Lets the taps arrive; returns when the last has, or when the run is stopped. Blocks.
pub(crate) fn run(shared: &Arc<Shared>) {
    let planned = shared.options.taps_planned();
    let mut who = Random::of(&[shared.options.seed, 1]);
    let mut grabs = Random::of(&[shared.options.run, 2]);
    let start = Instant::now();
    let mut arrived = 0;
    let mut batch = Vec::new();
    while arrived < planned && shared.stop() == Stop::No {
        let now = Instant::now();
        while arrived < planned {
            let intended = start + offset(arrived, shared.options.rate);
            if intended > now {
                break;
            }
            let user = who.below(shared.options.users);
            let grab = grab_id(&mut grabs);
            arrived += 1;
            shared.tally.arrived();
            match InFlight::enter(&shared.in_flight, shared.options.in_flight_max) {
                Some(guard) => batch.push(Tap::new(arrived, user, grab, intended, guard)),
                None => shared.tally.shed(),
            }
        }
        shared.queue.push(batch.drain(..));
        let next = start + offset(arrived, shared.options.rate);
        let nap = next.saturating_duration_since(Instant::now());
        std::thread::sleep(nap.min(NAP_MAX));
    }
}

/// When the tap of this number, from 0, arrives after the start.
#[expect(
    clippy::cast_precision_loss,
    reason = "tap numbers stay far below 2⁵³: a week at the highest rate is 6 · 10¹¹"
)]
fn offset(number: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// A new Grab-Id: a random UUID out of this run's stream.
fn grab_id(random: &mut Random) -> Uuid {
    let high = u128::from(random.next());
    let bits = (high << 64) | u128::from(random.next());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

impl InFlight {
    /// One more tap in flight, or `None` when there are `max` already.
    fn enter(count: &Arc<std::sync::atomic::AtomicU64>, max: u64) -> Option<Self> {
        if count.load(Ordering::Acquire) >= max {
            return None;
        }
        // Only the thread of arrivals adds, so the look above cannot be overtaken.
        count.fetch_add(1, Ordering::AcqRel);
        Some(Self(count.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_evenly_spread() {
        assert_eq!(offset(0, 50.0), Duration::ZERO);
        assert_eq!(offset(1, 50.0), Duration::from_millis(20));
        assert_eq!(offset(500, 50.0), Duration::from_secs(10));
    }

    #[test]
    fn grab_ids_are_random_uuids_that_differ() {
        let mut random = Random::of(&[5]);
        let (a, b) = (grab_id(&mut random), grab_id(&mut random));
        assert_ne!(a, b);
        assert_eq!(a.get_version_num(), 4);
    }

    #[test]
    fn no_more_taps_than_the_bound_are_in_flight() {
        let count = Arc::default();
        let first = InFlight::enter(&count, 1);
        assert!(first.is_some());
        assert!(InFlight::enter(&count, 1).is_none());
        drop(first);
        assert!(InFlight::enter(&count, 1).is_some());
    }
}
