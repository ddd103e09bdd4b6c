//! A queue that misbehaves as real ones do, on purpose and by a seed: for simulations of what
//! stands above a queue. Never part of a running service.
//!
//! The same seed and the same order of calls give the same faults.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{Queue, QueueCounts, QueueError, QueueName, Receipt, Received, Result};

/// What goes wrong, and how often: probabilities from 0 (the default) to 1.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A call fails and has done nothing.
    pub refuse: f64,
    /// A call does its work and fails all the same: the reply is lost.
    pub lose_reply: f64,
    /// A sent message vanishes; a delete or a release changes nothing. Both without an error.
    pub lose: f64,
    /// A sent message arrives twice.
    pub duplicate: f64,
    /// A sent message arrives only after [`Self::delay_by`].
    pub delay: f64,
    /// How late a delayed message is.
    pub delay_by: Duration,
    /// The messages of a send or a receive are shuffled.
    pub reorder: f64,
}

impl Faults {
    /// Every fault with probability `p`, and delays of a second.
    #[must_use]
    pub fn all(p: f64) -> Self {
        Self {
            refuse: p,
            lose_reply: p,
            lose: p,
            duplicate: p,
            delay: p,
            delay_by: Duration::from_secs(1),
            reorder: p,
        }
    }
}

/// Any queue, with [`Faults`].
pub struct FaultyQueue {
    inner: Arc<dyn Queue>,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    /// SplitMix64 (Steele, Lea and Flood 2014): all its state is one number.
    random: u64,
    /// Messages that arrive later.
    delayed: Vec<(Instant, QueueName, Bytes)>,
    /// Every queue that was ever sent to or said to be filled.
    names: BTreeSet<String>,
}

impl State {
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True with probability `p`. Always draws, so that one fault more or less does not change
    /// when the others strike.
    fn strikes(&mut self, p: f64) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits fit a double exactly, and make a fraction below 1"
        )]
        let drawn = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < p
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the remainder is at most `last`, a usize"
            )]
            let other = (self.next() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }

    /// What becomes of messages sent to `queue`: those that arrive at once.
    fn pass_on(&mut self, queue: &QueueName, bodies: Vec<Bytes>) -> Vec<Bytes> {
        let faults = self.faults.clone();
        self.names.insert(queue.0.clone());
        let mut arriving = Vec::with_capacity(bodies.len());
        for body in bodies {
            let copies = match (self.strikes(faults.lose), self.strikes(faults.duplicate)) {
                (true, _) => 0,
                (false, true) => 2,
                (false, false) => 1,
            };
            for _ in 0..copies {
                if self.strikes(faults.delay) {
                    let due = Instant::now() + faults.delay_by;
                    self.delayed.push((due, queue.clone(), body.clone()));
                } else {
                    arriving.push(body.clone());
                }
            }
        }
        if self.strikes(faults.reorder) {
            self.shuffle(&mut arriving);
        }
        arriving
    }
}

fn failed(what: &str) -> QueueError {
    QueueError(format!("{what} on purpose"))
}

impl FaultyQueue {
    /// `inner` with `faults`, drawn from `seed`.
    #[must_use]
    pub fn new(inner: Arc<dyn Queue>, faults: Faults, seed: u64) -> Self {
        let state = State {
            faults,
            random: seed,
            delayed: Vec::new(),
            names: BTreeSet::new(),
        };
        Self {
            inner,
            state: Mutex::new(state),
        }
    }

    /// Other faults from now on; the default has none.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Comes up empty, as a queue without persistence does after a restart.
    ///
    /// # Errors
    /// When the inner queue fails.
    pub async fn come_up_empty(&self) -> Result<()> {
        let names = {
            let mut state = self.state();
            state.delayed.clear();
            std::mem::take(&mut state.names)
        };
        for name in names {
            self.inner.drop_queue(&QueueName(name)).await?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is a generator and lists, right at every instant.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: delivers what is due, then fails or says whether the reply will be lost.
    async fn begin(&self) -> Result<bool> {
        let due = {
            let now = Instant::now();
            let mut state = self.state();
            let (due, later) = std::mem::take(&mut state.delayed)
                .into_iter()
                .partition::<Vec<_>, _>(|(at, ..)| *at <= now);
            state.delayed = later;
            due
        };
        for (_, queue, body) in due {
            self.inner.send(&queue, vec![body]).await?;
        }
        let mut state = self.state();
        let faults = state.faults.clone();
        let (refused, reply_lost) = (
            state.strikes(faults.refuse),
            state.strikes(faults.lose_reply),
        );
        if refused {
            Err(failed("refused"))
        } else {
            Ok(reply_lost)
        }
    }

    fn end<T>(reply_lost: bool, result: T) -> Result<T> {
        if reply_lost {
            Err(failed("the reply was lost"))
        } else {
            Ok(result)
        }
    }

    fn lost(&self) -> bool {
        let mut state = self.state();
        let p = state.faults.lose;
        state.strikes(p)
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    fn backend(&self) -> &'static str {
        self.inner.backend()
    }

    async fn ping(&self) -> Result<()> {
        let reply_lost = self.begin().await?;
        Self::end(reply_lost, self.inner.ping().await?)
    }

    async fn send(&self, queue: &QueueName, bodies: Vec<Bytes>) -> Result<()> {
        let reply_lost = self.begin().await?;
        let arriving = self.state().pass_on(queue, bodies);
        Self::end(reply_lost, self.inner.send(queue, arriving).await?)
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        let reply_lost = self.begin().await?;
        let mut received = self.inner.receive(queue, max, visibility).await?;
        {
            let mut state = self.state();
            let p = state.faults.reorder;
            if state.strikes(p) {
                state.shuffle(&mut received);
            }
        }
        Self::end(reply_lost, received)
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        let reply_lost = self.begin().await?;
        if !self.lost() {
            self.inner.delete(queue, receipts).await?;
        }
        Self::end(reply_lost, ())
    }

    async fn release(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        let reply_lost = self.begin().await?;
        if !self.lost() {
            self.inner.release(queue, receipts).await?;
        }
        Self::end(reply_lost, ())
    }

    fn counts_exactly(&self) -> bool {
        self.inner.counts_exactly()
    }

    async fn counts(&self, queue: &QueueName) -> Result<QueueCounts> {
        let reply_lost = self.begin().await?;
        Self::end(reply_lost, self.inner.counts(queue).await?)
    }

    async fn counts_all(&self) -> Result<QueueCounts> {
        let reply_lost = self.begin().await?;
        Self::end(reply_lost, self.inner.counts_all().await?)
    }

    async fn filled(&self, queues: &[QueueName]) -> Result<Vec<bool>> {
        let reply_lost = self.begin().await?;
        Self::end(reply_lost, self.inner.filled(queues).await?)
    }

    async fn set_filled(&self, queue: &QueueName) -> Result<()> {
        let reply_lost = self.begin().await?;
        self.state().names.insert(queue.0.clone());
        Self::end(reply_lost, self.inner.set_filled(queue).await?)
    }

    async fn drop_queue(&self, queue: &QueueName) -> Result<()> {
        let reply_lost = self.begin().await?;
        self.state().delayed.retain(|(_, name, _)| name != queue);
        Self::end(reply_lost, self.inner.drop_queue(queue).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{MemoryQueue, conformance::Suite};

    const LONG: Duration = Duration::from_secs(60);

    fn name() -> QueueName {
        QueueName("hongbao-test".into())
    }

    fn over_memory(faults: Faults, seed: u64) -> FaultyQueue {
        FaultyQueue::new(Arc::new(MemoryQueue::new()), faults, seed)
    }

    async fn send_numbers(queue: &FaultyQueue, numbers: std::ops::Range<u32>) -> bool {
        let bodies = numbers.map(|n| Bytes::from(n.to_string())).collect();
        queue.send(&name(), bodies).await.is_ok()
    }

    async fn receive_bodies(queue: &FaultyQueue) -> Vec<Bytes> {
        let received = queue.receive(&name(), usize::MAX, LONG).await;
        let received = received.unwrap_or_default();
        received.into_iter().map(|r| r.body).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn without_faults_it_conforms() {
        let queue = over_memory(Faults::default(), 1);
        Suite::new(Arc::new(queue)).run().await;
    }

    #[tokio::test(start_paused = true)]
    async fn everything_arrives_in_the_end() {
        let suite = Suite::new(Arc::new(MemoryQueue::new()));
        for seed in 0..10 {
            suite.everything_arrives_in_spite_of_faults(seed).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_twice_is_the_same_story() {
        let mut stories = Vec::new();
        for seed in [1, 1, 2] {
            let queue = over_memory(Faults::all(0.2), seed);
            let mut story = Vec::new();
            for round in 0..50 {
                let sent = send_numbers(&queue, round * 10..round * 10 + 10).await;
                tokio::time::advance(Duration::from_millis(100)).await;
                story.push((sent, receive_bodies(&queue).await));
            }
            stories.push(story);
        }
        assert_eq!(stories[0], stories[1]);
        assert_ne!(stories[0], stories[2]);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_lost_doubled_and_shuffled_about_as_often_as_asked() {
        let faults = Faults {
            lose: 0.1,
            duplicate: 0.2,
            reorder: 1.0,
            ..Faults::default()
        };
        let queue = over_memory(faults, 3);
        assert!(send_numbers(&queue, 0..10_000).await);
        let bodies = receive_bodies(&queue).await;
        assert!(!bodies.is_sorted(), "shuffled");
        let mut copies: HashMap<Bytes, u32> = HashMap::new();
        bodies
            .into_iter()
            .for_each(|body| *copies.entry(body).or_default() += 1);
        let lost = 10_000 - copies.len();
        let doubled = copies.values().filter(|&&n| n == 2).count();
        assert!((800..1200).contains(&lost), "{lost} lost");
        assert!((1600..2000).contains(&doubled), "{doubled} doubled");
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_messages_arrive_in_the_end() {
        let faults = Faults {
            delay: 1.0,
            delay_by: Duration::from_secs(5),
            ..Faults::default()
        };
        let queue = over_memory(faults, 4);
        assert!(send_numbers(&queue, 0..3).await);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(receive_bodies(&queue).await.is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(receive_bodies(&queue).await.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_reply_has_done_its_work_and_a_refusal_has_not() {
        let queue = over_memory(Faults::default(), 5);
        queue.set_faults(Faults {
            lose_reply: 1.0,
            ..Faults::default()
        });
        assert!(!send_numbers(&queue, 0..1).await);
        queue.set_faults(Faults {
            refuse: 1.0,
            ..Faults::default()
        });
        assert!(!send_numbers(&queue, 1..3).await);
        queue.set_faults(Faults::default());
        let counts = queue.counts(&name()).await.expect("no faults");
        assert_eq!(counts.visible, 1);
        queue.set_filled(&name()).await.expect("no faults");
        assert_eq!(queue.filled(&[name()]).await.expect("no faults"), [true]);
        queue.come_up_empty().await.expect("memory never fails");
        assert_eq!(queue.filled(&[name()]).await.expect("no faults"), [false]);
        assert!(receive_bodies(&queue).await.is_empty());
    }
}
