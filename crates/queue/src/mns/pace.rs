//! The pace of calls that a queue of MNS takes, so that the service need not refuse any.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::QUEUES_KNOWN_MAX;
use crate::QueueName;

/// How much of a pause may be saved up: so many calls go at once after a quiet time.
const SAVED_UP_MAX: Duration = Duration::from_millis(100);

/// When each queue is free for the next call of this process.
#[derive(Debug)]
pub(super) struct Pace {
    per_call: Duration,
    free_at: Mutex<HashMap<QueueName, Instant>>,
}

impl Pace {
    /// At most so many calls a second for each queue.
    pub(super) fn new(calls_per_second: u32) -> Self {
        Self {
            per_call: Duration::from_secs(1) / calls_per_second.max(1),
            free_at: Mutex::default(),
        }
    }

    /// Waits until the queue is free for what counts as `calls` calls.
    pub(super) async fn wait(&self, queue: &QueueName, calls: usize) {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let begins = {
            let earliest = Instant::now() - SAVED_UP_MAX;
            let mut free_at = self.free_at();
            if free_at.len() >= QUEUES_KNOWN_MAX && !free_at.contains_key(queue) {
                // Of a queue that has long been free, nothing is forgotten.
                free_at.retain(|_, free| *free > earliest);
            }
            let free = free_at.entry(queue.clone()).or_insert(earliest);
            let begins = earliest.max(*free);
            *free = begins + self.per_call.saturating_mul(calls);
            begins
        };
        tokio::time::sleep_until(begins).await;
    }

    /// Forgets a queue that is gone.
    pub(super) fn forget(&self, queue: &QueueName) {
        self.free_at().remove(queue);
    }

    fn free_at(&self) -> MutexGuard<'_, HashMap<QueueName, Instant>> {
        // A map of times is right at every instant.
        self.free_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_queue_takes_so_many_calls_a_second_and_no_more() {
        let pace = Pace::new(100);
        let (one, other) = (QueueName("one".into()), QueueName("other".into()));
        let begun = Instant::now();
        for _ in 0..20 {
            pace.wait(&one, 16).await;
        }
        // 19 of the 20 stand before the last; a tenth of a second was saved up.
        let took = begun.elapsed().as_millis();
        assert!((2_930..=2_960).contains(&took), "{took} ms");
        let begun = Instant::now();
        pace.wait(&other, 1).await;
        pace.forget(&one);
        pace.wait(&one, 1).await;
        assert!(begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn queues_of_long_ago_are_forgotten_and_busy_ones_are_not() {
        let pace = Pace::new(100);
        let busy = QueueName("busy".into());
        for n in 0..QUEUES_KNOWN_MAX - 1 {
            pace.wait(&QueueName(n.to_string()), 1).await;
        }
        tokio::time::advance(SAVED_UP_MAX * 2).await;
        pace.wait(&busy, 100).await;
        let begun = Instant::now();
        pace.wait(&QueueName("new".into()), 1).await;
        assert!(begun.elapsed().is_zero());
        assert_eq!(pace.free_at().len(), 2);
        pace.wait(&busy, 1).await;
        assert!(begun.elapsed() > SAVED_UP_MAX, "{:?}", begun.elapsed());
    }
}
