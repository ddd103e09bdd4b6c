//! The embedded default: every queue in this process's memory, lost when it ends and refilled
//! from the ledger when it starts.
//!
//! Nothing runs in the background: each call first takes back what has outlived its visibility
//! timeout, at a cost proportional to what is taken back. Time is tokio's monotonic clock. The
//! lock is never held across an await.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{Queue, QueueCounts, QueueName, Receipt, Received, Result};

/// The longest visibility timeout, as in MNS: 12 hours. A longer wish is cut to it.
pub const VISIBILITY_MAX: Duration = Duration::from_secs(43_200);

/// All queues of this process.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Queues that hold a message; an empty one is forgotten.
    queues: HashMap<QueueName, Messages>,
    /// The receives so far. Never used twice, so a spent receipt can never fit again, even
    /// after its queue was dropped and made anew.
    receives: u64,
    /// Queues that were said to hold all that they must.
    filled: HashSet<QueueName>,
}

#[derive(Debug, Default)]
struct Messages {
    /// Ready to be received, roughly by age: what comes back queues up behind.
    visible: VecDeque<Message>,
    /// In some receiver's hands, by the number of its receive.
    held: HashMap<u64, Held>,
    /// When each held message becomes visible again, soonest first.
    deadlines: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Message {
    body: Bytes,
    dequeue_count: u32,
}

#[derive(Debug)]
struct Held {
    message: Message,
    until: Instant,
}

impl Messages {
    /// Makes visible again what has outlived its timeout at `now`.
    fn take_back(&mut self, now: Instant) {
        while let Some(&(until, receive)) = self.deadlines.first()
            && until <= now
        {
            self.deadlines.pop_first();
            let held = self
                .held
                .remove(&receive)
                .expect("a deadline stands exactly as long as its message is held");
            self.visible.push_back(held.message);
        }
    }

    /// Takes a message out of the hands of the receiver that shows `receipt`; `None` when the
    /// receipt is spent.
    fn redeem(&mut self, receipt: &Receipt) -> Option<Message> {
        let receive = receipt.0.parse().ok()?;
        let held = self.held.remove(&receive)?;
        self.deadlines.remove(&(held.until, receive));
        Some(held.message)
    }

    fn counts(&self) -> QueueCounts {
        QueueCounts {
            visible: self.visible.len() as u64,
            invisible: self.held.len() as u64,
        }
    }

    fn is_empty(&self) -> bool {
        self.visible.is_empty() && self.held.is_empty()
    }
}

impl MemoryQueue {
    /// No queues, and so no messages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks the queues for `call`, which every call does once: so here calls are counted.
    fn state(&self, call: &'static str) -> MutexGuard<'_, State> {
        metrics::counter!("hongbao_queue_calls_total", "backend" => "memory", "call" => call)
            .increment(1);
        // Nothing that can panic stands between two changes that belong together, and the queue
        // may lose messages anyway: a poisoned lock is as good as another.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` on the queue, if it holds anything, after expiry; forgets it when emptied.
    fn with<T: Default>(
        &self,
        call: &'static str,
        queue: &QueueName,
        change: impl FnOnce(&mut Messages) -> T,
    ) -> T {
        let mut state = self.state(call);
        let Some(messages) = state.queues.get_mut(queue) else {
            return T::default();
        };
        messages.take_back(Instant::now());
        let result = change(messages);
        if messages.is_empty() {
            state.queues.remove(queue);
        }
        result
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn backend(&self) -> &'static str {
        "memory"
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn send(&self, queue: &QueueName, bodies: Vec<Bytes>) -> Result<()> {
        if bodies.is_empty() {
            return Ok(());
        }
        let mut state = self.state("send");
        let messages = state.queues.entry(queue.clone()).or_default();
        // What has come back is older than what is sent now.
        messages.take_back(Instant::now());
        messages
            .visible
            .extend(bodies.into_iter().map(|body| Message {
                body,
                dequeue_count: 0,
            }));
        Ok(())
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        let now = Instant::now();
        let until = now + visibility.min(VISIBILITY_MAX);
        let mut state = self.state("receive");
        let state = &mut *state;
        let Some(messages) = state.queues.get_mut(queue) else {
            return Ok(Vec::new());
        };
        messages.take_back(now);
        let many = max.min(messages.visible.len());
        let mut received = Vec::with_capacity(many);
        for mut message in messages.visible.drain(..many) {
            state.receives += 1;
            message.dequeue_count = message.dequeue_count.saturating_add(1);
            received.push(Received {
                receipt: Receipt(state.receives.to_string()),
                body: message.body.clone(),
                dequeue_count: message.dequeue_count,
            });
            messages.deadlines.insert((until, state.receives));
            messages
                .held
                .insert(state.receives, Held { message, until });
        }
        Ok(received)
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        self.with("delete", queue, |messages| {
            for receipt in receipts {
                drop(messages.redeem(receipt));
            }
        });
        Ok(())
    }

    async fn release(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<()> {
        self.with("release", queue, |messages| {
            for receipt in receipts {
                if let Some(message) = messages.redeem(receipt) {
                    messages.visible.push_back(message);
                }
            }
        });
        Ok(())
    }

    async fn counts(&self, queue: &QueueName) -> Result<QueueCounts> {
        Ok(self.with("counts", queue, |messages| messages.counts()))
    }

    async fn counts_all(&self) -> Result<QueueCounts> {
        let now = Instant::now();
        let mut all = QueueCounts::default();
        for messages in self.state("counts_all").queues.values_mut() {
            messages.take_back(now);
            let counts = messages.counts();
            all.visible += counts.visible;
            all.invisible += counts.invisible;
        }
        Ok(all)
    }

    async fn filled(&self, queues: &[QueueName]) -> Result<Vec<bool>> {
        let state = self.state("filled");
        Ok(queues.iter().map(|q| state.filled.contains(q)).collect())
    }

    async fn set_filled(&self, queue: &QueueName) -> Result<()> {
        self.state("set_filled").filled.insert(queue.clone());
        Ok(())
    }

    async fn drop_queue(&self, queue: &QueueName) -> Result<()> {
        // A million messages take a while to free: not under the lock.
        let dropped = {
            let mut state = self.state("drop");
            state.filled.remove(queue);
            state.queues.remove(queue)
        };
        drop(dropped);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::Suite;

    fn name() -> QueueName {
        QueueName("hongbao-test".into())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn conforms_under_a_stepped_clock() {
        Suite::new(Arc::new(MemoryQueue::new())).run().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn conforms_on_several_threads() {
        let suite = Suite::new(Arc::new(MemoryQueue::new()));
        suite.nobody_holds_a_message_that_another_holds().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_comes_back_exactly_at_its_timeout() {
        let queue = MemoryQueue::new();
        let bodies = vec![Bytes::from_static(b"a")];
        queue.send(&name(), bodies).await.expect("memory");
        let first = queue.receive(&name(), 9, SECOND).await.expect("memory");
        assert_eq!(first.len(), 1);

        tokio::time::advance(SECOND - Duration::from_millis(1)).await;
        let none = queue.receive(&name(), 9, SECOND).await.expect("memory");
        assert!(none.is_empty());
        let counts = queue.counts_all().await.expect("memory");
        assert_eq!((counts.visible, counts.invisible), (0, 1));

        // The counts know without anybody receiving.
        tokio::time::advance(Duration::from_millis(1)).await;
        let counts = queue.counts_all().await.expect("memory");
        assert_eq!((counts.visible, counts.invisible), (1, 0));
        let receipts = [first[0].receipt.clone()];
        queue.delete(&name(), &receipts).await.expect("memory");
        let again = queue.receive(&name(), 9, SECOND).await.expect("memory");
        assert_eq!((again.len(), again[0].dequeue_count), (1, 2));
    }

    #[tokio::test]
    async fn an_endless_timeout_is_cut_and_an_emptied_queue_is_forgotten() {
        let queue = MemoryQueue::new();
        let bodies = vec![Bytes::from_static(b"a")];
        queue.send(&name(), bodies).await.expect("memory");
        let received = queue
            .receive(&name(), usize::MAX, Duration::MAX)
            .await
            .expect("memory");
        let receipts = [received[0].receipt.clone()];
        queue.delete(&name(), &receipts).await.expect("memory");
        assert!(queue.state("test").queues.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_messages_are_carried_in_order() {
        const MANY: u32 = 1_000_000;
        let queue = MemoryQueue::new();
        let body = Bytes::from_static(b"one of a million");
        for _ in 0..10 {
            let bodies = vec![body.clone(); MANY as usize / 10];
            queue.send(&name(), bodies).await.expect("memory");
        }
        let mut deleted = 0;
        loop {
            let batch = queue.receive(&name(), 1000, SECOND).await.expect("memory");
            if batch.is_empty() {
                break;
            }
            let receipts: Vec<_> = batch.into_iter().map(|r| r.receipt).collect();
            deleted += receipts.len();
            queue.delete(&name(), &receipts).await.expect("memory");
        }
        assert_eq!(deleted, MANY as usize);
        let counts = queue.counts(&name()).await.expect("memory");
        assert_eq!(counts, QueueCounts::default());
    }
}
