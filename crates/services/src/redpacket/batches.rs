//! When claims that wait become a transaction, and how many transactions there are at a time.

use std::{collections::VecDeque, time::Duration};

use ledger::{NodeId, SLOTS};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::task::guarded;

/// The most claims in one transaction.
const BATCH_MAX: usize = 1_024;
/// Where commits are worth saving: so many claims are enough for one, ...
const GATHERED_ENOUGH: usize = 64;
/// ... nothing more is waited for so long after the last transaction began, ...
const GATHER_WITHIN: Duration = Duration::from_millis(40);
/// ... nor when no claim has come for so long.
const GATHER_UNTIL_QUIET: Duration = Duration::from_millis(10);
/// How often is looked whether more came: to be woken by each would cost each a system call.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// While another transaction is under way, these two are this long: it will end, unless it is
/// held up.
const GATHER_BEHIND: Duration = Duration::from_millis(100);

/// How claims become transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// One at a time, of whatever waits: the embedded ledger has one writer.
    One,
    /// Two at a time, so that one is prepared or answered while the other reaches the disk; and
    /// claims wait a little for others to share theirs: a database server that several replicas
    /// share does better with few large transactions.
    TwoGathered,
}

impl Commits {
    /// The fence slots through which `node` commits, one for each transaction at a time. Any
    /// will do; nodes only spread over them.
    fn slots(self, node: NodeId) -> VecDeque<u8> {
        let slots = u64::from(SLOTS);
        let first = node.0 % slots;
        // By other bits than the first, so that two nodes that share one rarely share both.
        let second = (first + 1 + node.0 / slots % (slots - 1)) % slots;
        let all = match self {
            Self::One => vec![first],
            Self::TwoGathered => vec![first, second],
        };
        all.into_iter().map(|slot| slot as u8).collect()
    }
}

/// Claims that wait (`C`), and the transactions that others of them have become.
pub(super) struct Batches<C> {
    waiting: mpsc::Receiver<C>,
    gathers: bool,
    /// The slots through which nothing is committed now, the one unused for longest first: one
    /// whose row somebody has locked is not tried again and again.
    free: VecDeque<u8>,
    /// Each gives its slot back.
    under_way: JoinSet<u8>,
}

impl<C: Send + 'static> Batches<C> {
    pub(super) fn new(waiting: mpsc::Receiver<C>, node: NodeId, commits: Commits) -> Self {
        Self {
            waiting,
            gathers: commits == Commits::TwoGathered,
            free: commits.slots(node),
            under_way: JoinSet::new(),
        }
    }

    /// Has every batch committed, with its slot, until nothing waits, nobody can send more, and
    /// all are done.
    pub(super) async fn run<F>(mut self, commit: impl Fn(u8, Vec<C>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (mut batch, mut last_began) = (Vec::with_capacity(BATCH_MAX), None);
        loop {
            let slot = self.free_slot().await;
            if self.waiting.recv_many(&mut batch, BATCH_MAX).await == 0 {
                break;
            }
            if let (true, Some(last_began)) = (self.gathers, last_began) {
                self.gather(&mut batch, last_began).await;
            }
            last_began = Some(Instant::now());
            let committing = commit(slot, std::mem::take(&mut batch));
            self.under_way.spawn(guarded("committing", async move {
                committing.await;
                slot
            }));
        }
        while self.under_way.join_next().await.is_some() {}
    }

    /// A slot through which nothing is committed, once there is one.
    async fn free_slot(&mut self) -> u8 {
        loop {
            if let Some(slot) = self.free.pop_front() {
                return slot;
            }
            let ended = self.under_way.join_next().await;
            let slot = ended.expect("every slot is free or in use");
            self.free
                .push_back(slot.expect("guarded, and never aborted"));
        }
    }

    /// Waits for more claims while they come in quick succession, or while another transaction
    /// is under way. One that comes alone, after a pause, does not wait.
    async fn gather(&mut self, batch: &mut Vec<C>, last_began: Instant) {
        let mut last_came = Instant::now();
        while batch.len() < GATHERED_ENOUGH {
            let until = match self.under_way.is_empty() {
                true => (last_began + GATHER_WITHIN).min(last_came + GATHER_UNTIL_QUIET),
                false => last_began + GATHER_BEHIND,
            };
            let now = Instant::now();
            if now >= until {
                return;
            }
            tokio::select! {
                Some(slot) = self.under_way.join_next() => {
                    self.free.push_back(slot.expect("guarded, and never aborted"));
                }
                () = sleep_until(until.min(now + LOOK_EVERY)) => {}
            }
            if !self.waiting.is_empty() {
                let room = BATCH_MAX - batch.len();
                self.waiting.recv_many(batch, room).await;
                last_came = Instant::now();
            } else if self.waiting.is_closed() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Semaphore;

    use super::*;

    const NODE: NodeId = NodeId(3);

    /// The slot and size of each transaction, in the order in which they began.
    type Begun = Arc<Mutex<Vec<(u8, usize)>>>;

    /// Claims are numbers here, and a transaction lasts until it is let go.
    struct Rig {
        send: mpsc::Sender<u32>,
        let_go: Arc<Semaphore>,
        begun: Begun,
        running: tokio::task::JoinHandle<()>,
    }

    impl Rig {
        fn start(commits: Commits) -> Self {
            let (send, waiting) = mpsc::channel(1_000);
            let (let_go, begun) = (Arc::new(Semaphore::new(0)), Begun::default());
            let commit = {
                let (let_go, begun) = (let_go.clone(), begun.clone());
                move |slot, batch: Vec<u32>| {
                    begun.lock().expect("no panic").push((slot, batch.len()));
                    let let_go = let_go.clone();
                    async move { let_go.acquire().await.expect("it stays open").forget() }
                }
            };
            Self {
                send,
                let_go,
                begun,
                running: tokio::spawn(Batches::new(waiting, NODE, commits).run(commit)),
            }
        }

        async fn claims(&self, count: u32) {
            for n in 0..count {
                self.send.send(n).await.expect("it runs");
            }
        }

        /// The sizes of the transactions begun, after `wait`.
        async fn sizes(&self, wait: Duration) -> Vec<usize> {
            tokio::time::sleep(wait).await;
            let begun = self.begun.lock().expect("no panic");
            begun.iter().map(|(_, size)| *size).collect()
        }

        /// Ends the sending, and everything that is under way.
        async fn end(self) -> Vec<(u8, usize)> {
            drop(self.send);
            self.let_go.add_permits(100);
            self.running.await.expect("no panic");
            let begun = self.begun.lock().expect("no panic");
            begun.clone()
        }
    }

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_takes_whatever_waits() {
        let rig = Rig::start(Commits::One);
        rig.claims(1).await;
        assert_eq!(rig.sizes(SOON).await, [1], "nothing is waited for");
        rig.claims(100).await;
        assert_eq!(rig.sizes(GATHER_BEHIND * 2).await, [1]);
        rig.let_go.add_permits(1);
        assert_eq!(rig.sizes(SOON).await, [1, 100]);
        assert_eq!(rig.end().await, [(3, 1), (3, 100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn two_at_a_time_when_the_second_is_worth_it() {
        let rig = Rig::start(Commits::TwoGathered);
        rig.claims(1).await;
        assert_eq!(rig.sizes(SOON).await, [1], "it came alone");
        rig.claims(63).await;
        assert_eq!(rig.sizes(GATHER_BEHIND / 2).await, [1], "too few");
        rig.claims(1).await;
        assert_eq!(rig.sizes(SOON).await, [1, 64]);
        rig.claims(500).await;
        assert_eq!(
            rig.sizes(GATHER_BEHIND * 2).await,
            [1, 64],
            "two are enough"
        );
        rig.let_go.add_permits(1);
        assert_eq!(rig.sizes(SOON).await, [1, 64, 500]);
        let begun = rig.end().await;
        assert_ne!(begun[0].0, begun[1].0, "each has its slot");
    }

    #[tokio::test(start_paused = true)]
    async fn few_claims_wait_for_each_other_and_not_for_long() {
        let rig = Rig::start(Commits::TwoGathered);
        rig.claims(1).await;
        rig.let_go.add_permits(1);
        assert_eq!(rig.sizes(SOON).await, [1]);
        rig.claims(2).await;
        assert_eq!(rig.sizes(GATHER_UNTIL_QUIET / 2).await, [1]);
        rig.claims(2).await;
        assert_eq!(rig.sizes(GATHER_UNTIL_QUIET / 2 + SOON).await, [1]);
        assert_eq!(rig.sizes(GATHER_UNTIL_QUIET).await, [1, 4]);
        // One that is held up holds up nobody else.
        rig.claims(1).await;
        assert_eq!(rig.sizes(GATHER_BEHIND / 2).await, [1, 4]);
        assert_eq!(rig.sizes(GATHER_BEHIND).await, [1, 4, 1]);
        let begun = rig.end().await;
        assert_ne!(
            begun[1].0, begun[2].0,
            "another slot than the one that hangs"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_seen_to_its_end() {
        let rig = Rig::start(Commits::TwoGathered);
        rig.claims(1).await;
        assert_eq!(rig.sizes(SOON).await, [1]);
        rig.claims(5).await;
        let Rig {
            send,
            running,
            let_go,
            begun,
        } = rig;
        drop(send);
        tokio::time::sleep(LOOK_EVERY * 4).await;
        assert_eq!(
            begun.lock().expect("no panic").len(),
            2,
            "nobody can send more"
        );
        assert!(!running.is_finished());
        let_go.add_permits(2);
        running.await.expect("no panic");
    }

    #[test]
    fn two_nodes_that_share_a_slot_rarely_share_both() {
        let slots = |id| Commits::TwoGathered.slots(NodeId(id));
        for id in 0..1_000 {
            let slots = slots(id);
            assert!(slots[0] != slots[1] && slots.iter().all(|&slot| slot < SLOTS));
        }
        let (one, other) = (slots(5), slots(5 + u64::from(SLOTS)));
        assert_eq!(one[0], other[0]);
        assert_ne!(one[1], other[1]);
    }
}
