//! The suite that every backend must pass, whatever it runs on: sleeps only by tokio's clock,
//! so that a backend in memory passes it under a stepped clock.
//!
//! It asks for no more than the trait promises: a receive may bring fewer messages than are
//! there, and counts may be late by [`Suite::patience`].

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::{Faults, FaultyQueue, Queue, QueueCounts, QueueName, Receipt, Received};

/// A backend under test, and how quick it is.
#[derive(Clone)]
pub struct Suite {
    /// The backend.
    pub queue: Arc<dyn Queue>,
    /// The visibility timeout of messages that are to come back; the shortest that the backend
    /// can keep is best.
    pub visibility: Duration,
    /// How long a message or a count may take to show.
    pub patience: Duration,
    /// Begins the name of every queue made, so that several runs can share a server.
    pub prefix: String,
}

/// A visibility timeout that does not end during a case.
const LONG: Duration = Duration::from_secs(600);
/// How often is looked again for what must show.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Messages of the case with several receivers.
const CROWD_MESSAGES: usize = 1_000;
/// Its receivers.
const CROWD_RECEIVERS: usize = 8;
/// Messages of the case with faults.
const UNCERTAIN_MESSAGES: usize = 200;

impl Suite {
    /// A suite for a backend that is quick and keeps a visibility timeout of a second.
    #[must_use]
    pub fn new(queue: Arc<dyn Queue>) -> Self {
        Self {
            queue,
            visibility: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            prefix: "conformance".into(),
        }
    }

    /// Runs every case.
    ///
    /// # Panics
    /// When the backend does not behave.
    pub async fn run(&self) {
        self.queue.ping().await.expect("the backend answers");
        self.an_absent_queue_is_empty().await;
        self.what_is_sent_is_received_and_deleted().await;
        self.no_more_than_max_is_received().await;
        self.released_messages_are_visible_at_once().await;
        self.messages_come_back_after_their_timeout().await;
        self.a_receipt_over_is_passed_over().await;
        self.a_receipt_serves_once().await;
        self.receipts_fit_only_their_queue().await;
        self.bodies_are_carried_whole().await;
        self.counts_add_up().await;
        self.a_dropped_queue_is_empty_and_can_be_made_again().await;
        self.what_was_filled_is_known_of_each_queue().await;
        self.nobody_holds_a_message_that_another_holds().await;
    }

    /// A queue of this name, empty.
    async fn fresh(&self, case: &str) -> QueueName {
        let name = QueueName(format!("{}-{case}", self.prefix));
        self.queue.drop_queue(&name).await.expect("drop_queue");
        name
    }

    async fn send(&self, queue: &QueueName, bodies: &[&str]) {
        let bodies = bodies.iter().map(|b| Bytes::copy_from_slice(b.as_bytes()));
        self.queue
            .send(queue, bodies.collect())
            .await
            .expect("send");
    }

    async fn receive(&self, queue: &QueueName, max: usize, visibility: Duration) -> Vec<Received> {
        let received = self.queue.receive(queue, max, visibility).await;
        let received = received.expect("receive");
        assert!(received.len() <= max, "{} for {max}", received.len());
        received
    }

    /// Receives until `many` messages are in hand.
    async fn receive_all(
        &self,
        queue: &QueueName,
        many: usize,
        visibility: Duration,
    ) -> Vec<Received> {
        let deadline = Instant::now() + self.patience;
        let mut all = Vec::new();
        loop {
            all.extend(self.receive(queue, many - all.len(), visibility).await);
            if all.len() == many {
                return all;
            }
            let short = format!("{} of {many} messages arrived", all.len());
            assert!(Instant::now() < deadline, "{short}");
            sleep(LOOK_EVERY).await;
        }
    }

    async fn assert_nothing_visible(&self, queue: &QueueName) {
        let more = self.receive(queue, 10, LONG).await;
        assert!(more.is_empty(), "still visible: {more:?}");
    }

    async fn assert_counts(&self, queue: &QueueName, visible: u64, invisible: u64) {
        let expected = QueueCounts { visible, invisible };
        let deadline = Instant::now() + self.patience;
        loop {
            let counts = self.queue.counts(queue).await.expect("counts");
            if counts == expected {
                return;
            }
            let wrong = format!("{counts:?} where {expected:?} is right");
            assert!(Instant::now() < deadline, "{wrong}");
            sleep(LOOK_EVERY).await;
        }
    }

    async fn delete(&self, queue: &QueueName, received: &[Received]) {
        let receipts = receipts(received);
        self.queue.delete(queue, &receipts).await.expect("delete");
    }

    async fn release(&self, queue: &QueueName, received: &[Received]) {
        let receipts = receipts(received);
        self.queue.release(queue, &receipts).await.expect("release");
    }

    async fn an_absent_queue_is_empty(&self) {
        let queue = self.fresh("absent").await;
        self.assert_nothing_visible(&queue).await;
        self.assert_counts(&queue, 0, 0).await;
        let nobodys = [Receipt("1".into()), Receipt("nonsense".into())];
        self.queue.delete(&queue, &nobodys).await.expect("delete");
        self.queue.release(&queue, &nobodys).await.expect("release");
        self.queue.send(&queue, Vec::new()).await.expect("send");
        self.assert_nothing_visible(&queue).await;
        self.queue.drop_queue(&queue).await.expect("drop_queue");
    }

    async fn what_is_sent_is_received_and_deleted(&self) {
        let queue = self.fresh("delete").await;
        self.send(&queue, &["a", "b"]).await;
        self.send(&queue, &["c"]).await;
        let received = self.receive_all(&queue, 3, self.visibility).await;
        assert_eq!(bodies(&received), ["a", "b", "c"]);
        assert!(received.iter().all(|r| r.dequeue_count == 1));
        self.delete(&queue, &received).await;
        sleep(self.visibility * 2).await;
        self.assert_nothing_visible(&queue).await;
    }

    async fn no_more_than_max_is_received(&self) {
        let queue = self.fresh("max").await;
        self.send(&queue, &["a", "b", "c"]).await;
        assert!(self.receive(&queue, 0, LONG).await.is_empty());
        // `receive` asserts the bound.
        let mut received = self.receive_all(&queue, 2, LONG).await;
        received.extend(self.receive_all(&queue, 1, LONG).await);
        assert_eq!(bodies(&received), ["a", "b", "c"]);
    }

    async fn released_messages_are_visible_at_once(&self) {
        let queue = self.fresh("release").await;
        self.send(&queue, &["a", "b"]).await;
        let received = self.receive_all(&queue, 2, LONG).await;
        self.assert_nothing_visible(&queue).await;
        self.release(&queue, &received[..1]).await;
        let again = self.receive_all(&queue, 1, LONG).await;
        assert_eq!(again[0].body, received[0].body);
        assert_eq!(again[0].dequeue_count, 2);
        self.assert_nothing_visible(&queue).await;
    }

    async fn messages_come_back_after_their_timeout(&self) {
        let queue = self.fresh("timeout").await;
        self.send(&queue, &["a", "b"]).await;
        let first = self.receive_all(&queue, 2, self.visibility).await;
        // Both come back; one of them is then deleted.
        sleep(self.visibility * 2).await;
        let second = self.receive_all(&queue, 2, self.visibility).await;
        assert_eq!(bodies(&second), bodies(&first));
        assert!(second.iter().all(|r| r.dequeue_count == 2));
        self.delete(&queue, &second[..1]).await;
        sleep(self.visibility * 2).await;
        let third = self.receive_all(&queue, 1, LONG).await;
        assert_eq!(third[0].body, second[1].body);
        assert_eq!(third[0].dequeue_count, 3);
        self.assert_nothing_visible(&queue).await;
    }

    async fn a_receipt_over_is_passed_over(&self) {
        let queue = self.fresh("stale").await;
        self.send(&queue, &["a"]).await;
        let stale = self.receive_all(&queue, 1, self.visibility).await;
        sleep(self.visibility * 2).await;
        // Over, although nobody else has received the message yet.
        self.delete(&queue, &stale).await;
        let held = self.receive_all(&queue, 1, LONG).await;
        // The new holder's message is neither released nor deleted by the former's receipt.
        self.release(&queue, &stale).await;
        self.assert_nothing_visible(&queue).await;
        self.delete(&queue, &stale).await;
        self.release(&queue, &held).await;
        assert_eq!(self.receive_all(&queue, 1, LONG).await[0].dequeue_count, 3);
    }

    async fn a_receipt_serves_once(&self) {
        let queue = self.fresh("once").await;
        self.send(&queue, &["a"]).await;
        let spent = self.receive_all(&queue, 1, LONG).await;
        self.release(&queue, &spent).await;
        self.delete(&queue, &spent).await;
        let held = self.receive_all(&queue, 1, LONG).await;
        assert_ne!(held[0].receipt, spent[0].receipt);
        self.release(&queue, &spent).await;
        self.assert_nothing_visible(&queue).await;
        // A spent receipt among good ones does not hinder them.
        let mixed = [spent[0].clone(), held[0].clone()];
        self.delete(&queue, &mixed).await;
        self.delete(&queue, &mixed).await;
        self.assert_counts(&queue, 0, 0).await;
    }

    async fn receipts_fit_only_their_queue(&self) {
        let (one, other) = (self.fresh("one").await, self.fresh("other").await);
        self.send(&one, &["a"]).await;
        self.send(&other, &["b"]).await;
        let held = self.receive_all(&one, 1, LONG).await;
        assert_eq!(bodies(&held), ["a"]);
        self.delete(&other, &held).await;
        self.release(&other, &held).await;
        self.assert_nothing_visible(&one).await;
        assert_eq!(bodies(&self.receive_all(&other, 1, LONG).await), ["b"]);
        self.release(&one, &held).await;
        assert_eq!(bodies(&self.receive_all(&one, 1, LONG).await), ["a"]);
    }

    async fn bodies_are_carried_whole(&self) {
        let queue = self.fresh("bodies").await;
        let every_byte: Vec<u8> = (0..=255).collect();
        let longest: Vec<u8> = every_byte
            .iter()
            .copied()
            .cycle()
            .take(crate::bundle::BUNDLE_BYTES_MAX)
            .collect();
        let sent = vec![Bytes::from(every_byte), Bytes::from(longest)];
        let send = self.queue.send(&queue, sent.clone()).await;
        send.expect("send");
        let mut received = self.receive_all(&queue, 2, LONG).await;
        received.sort_by_key(|r| r.body.len());
        assert!(received.iter().map(|r| &r.body).eq(&sent));
    }

    async fn counts_add_up(&self) {
        let queue = self.fresh("counts").await;
        self.send(&queue, &["a", "b", "c", "d"]).await;
        self.assert_counts(&queue, 4, 0).await;
        let all = self.queue.counts_all().await.expect("counts_all");
        assert!(all.visible >= 4, "{all:?}");
        let held = self.receive_all(&queue, 3, LONG).await;
        self.assert_counts(&queue, 1, 3).await;
        let all = self.queue.counts_all().await.expect("counts_all");
        assert!(all.visible >= 1 && all.invisible >= 3, "{all:?}");
        self.delete(&queue, &held[..1]).await;
        self.assert_counts(&queue, 1, 2).await;
        self.release(&queue, &held).await;
        self.assert_counts(&queue, 3, 0).await;
        // What has outlived its timeout counts as visible before anybody receives it.
        let _outlived = self.receive_all(&queue, 3, self.visibility).await;
        sleep(self.visibility * 2).await;
        self.assert_counts(&queue, 3, 0).await;
    }

    async fn a_dropped_queue_is_empty_and_can_be_made_again(&self) {
        let queue = self.fresh("dropped").await;
        self.send(&queue, &["a", "b"]).await;
        let held = self.receive_all(&queue, 1, self.visibility).await;
        self.queue.drop_queue(&queue).await.expect("drop_queue");
        self.assert_nothing_visible(&queue).await;
        self.assert_counts(&queue, 0, 0).await;
        self.release(&queue, &held).await;
        sleep(self.visibility * 2).await;
        self.assert_nothing_visible(&queue).await;
        self.send(&queue, &["c"]).await;
        let made_again = self.receive_all(&queue, 1, LONG).await;
        self.release(&queue, &held).await;
        self.delete(&queue, &held).await;
        self.assert_counts(&queue, 0, 1).await;
        assert_eq!(bodies(&made_again), ["c"]);
    }

    async fn what_was_filled_is_known_of_each_queue(&self) {
        let (one, other) = (self.fresh("full").await, self.fresh("void").await);
        let both = [one.clone(), other.clone(), one.clone()];
        let filled = async || self.queue.filled(&both).await.expect("filled");
        assert_eq!(filled().await, [false; 3]);
        self.send(&other, &["a"]).await;
        assert_eq!(filled().await, [false; 3], "sending fills nothing");
        self.queue.set_filled(&one).await.expect("set_filled");
        self.queue.set_filled(&one).await.expect("set_filled");
        assert_eq!(filled().await, [true, false, true]);
        // Emptied by its receivers is not lost.
        self.send(&one, &["b"]).await;
        let held = self.receive_all(&one, 1, LONG).await;
        self.delete(&one, &held).await;
        assert_eq!(filled().await, [true, false, true]);
        self.assert_counts(&one, 0, 0).await;
        self.queue.drop_queue(&one).await.expect("drop_queue");
        self.queue.set_filled(&other).await.expect("set_filled");
        assert_eq!(filled().await, [false, true, false]);
        let none = self.queue.filled(&[]).await.expect("filled");
        assert!(none.is_empty());
        self.queue.drop_queue(&other).await.expect("drop_queue");
    }

    /// Several receivers at once, on as many threads as the runtime has: nobody holds a message
    /// that another holds, and each is deleted once.
    ///
    /// # Panics
    /// When the backend does not behave.
    pub async fn nobody_holds_a_message_that_another_holds(&self) {
        let queue = self.fresh("crowd").await;
        let sent: HashSet<String> = (0..CROWD_MESSAGES).map(|n| format!("{n}")).collect();
        let sent_refs: Vec<&str> = sent.iter().map(String::as_str).collect();
        for part in sent_refs.chunks(100) {
            self.send(&queue, part).await;
        }
        let crowd = Arc::new(Crowd::default());
        let receivers: Vec<_> = (0..CROWD_RECEIVERS)
            .map(|n| {
                let (suite, queue, crowd) = (self.clone(), queue.clone(), crowd.clone());
                tokio::spawn(async move { suite.receive_with_others(n, &queue, &crowd).await })
            })
            .collect();
        for receiver in receivers {
            receiver.await.expect("no receiver fails");
        }
        let deleted = std::mem::take(&mut *crowd.deleted.lock().expect("no receiver failed"));
        for body in &sent {
            assert_eq!(deleted.get(body), Some(&1), "deletions of {body}");
        }
        self.assert_counts(&queue, 0, 0).await;
    }

    /// Messages are lost, doubled, delayed and reordered, calls fail with and without having done
    /// their work, all by `seed`: who sends again what has not arrived gets everything through,
    /// nothing else ever arrives, and nothing is left when all copies are deleted.
    ///
    /// # Panics
    /// When the backend does not behave; with the seed.
    pub async fn everything_arrives_in_spite_of_faults(&self, seed: u64) {
        let queue = self.fresh("faults").await;
        let faulty = FaultyQueue::new(self.queue.clone(), Faults::all(0.1), seed);
        let sent: HashSet<Bytes> = (0..UNCERTAIN_MESSAGES)
            .map(|n| Bytes::from(n.to_string()))
            .collect();
        let mut missing = sent.clone();
        let deadline = Instant::now() + self.patience * 10;
        while !missing.is_empty() {
            let late = Instant::now() >= deadline;
            assert!(!late, "seed {seed}: {} never arrived", missing.len());
            let bodies: Vec<Bytes> = missing.iter().take(20).cloned().collect();
            let _uncertain = faulty.send(&queue, bodies).await.is_err();
            let received = faulty.receive(&queue, 20, self.visibility).await;
            let received = received.unwrap_or_default();
            for message in &received {
                assert!(sent.contains(&message.body), "seed {seed}: {message:?}");
                missing.remove(&message.body);
            }
            let _uncertain = faulty.delete(&queue, &receipts(&received)).await.is_err();
        }
        faulty.set_faults(Faults::default());
        let quiet = Instant::now() + self.visibility * 3;
        while Instant::now() < quiet {
            let received = faulty.receive(&queue, 100, self.visibility).await;
            let received = received.expect("no faults any more");
            let none = received.is_empty();
            assert!(received.iter().all(|one| sent.contains(&one.body)));
            self.delete(&queue, &received).await;
            if none {
                sleep(LOOK_EVERY).await;
            }
        }
        self.assert_counts(&queue, 0, 0).await;
    }

    /// Receives, holds for a moment, then deletes or releases, until all is deleted.
    async fn receive_with_others(&self, n: usize, queue: &QueueName, crowd: &Crowd) {
        let deadline = Instant::now() + self.patience * 10;
        for round in n.. {
            if crowd.deleted.lock().expect("no receiver failed").len() == CROWD_MESSAGES {
                return;
            }
            assert!(Instant::now() < deadline, "messages were lost");
            let received = self.receive(queue, 7, LONG).await;
            crowd.take(&received);
            if received.is_empty() {
                sleep(LOOK_EVERY).await;
            }
            tokio::task::yield_now().await;
            crowd.give_back(&received);
            // Every third batch goes back and is received again.
            if round % 3 == 0 {
                self.release(queue, &received).await;
            } else {
                self.delete(queue, &received).await;
                crowd.note_deleted(&received);
            }
        }
    }
}

/// What the receivers of one queue have in hand, together.
#[derive(Default)]
struct Crowd {
    held: Mutex<HashSet<Bytes>>,
    deleted: Mutex<HashMap<String, u32>>,
}

impl Crowd {
    fn take(&self, received: &[Received]) {
        let mut held = self.held.lock().expect("no receiver failed");
        for message in received {
            assert!(held.insert(message.body.clone()), "two hold {message:?}");
        }
    }

    fn give_back(&self, received: &[Received]) {
        let mut held = self.held.lock().expect("no receiver failed");
        received.iter().for_each(|message| {
            held.remove(&message.body);
        });
    }

    fn note_deleted(&self, received: &[Received]) {
        let mut deleted = self.deleted.lock().expect("no receiver failed");
        for body in bodies(received) {
            *deleted.entry(body).or_default() += 1;
        }
    }
}

fn receipts(received: &[Received]) -> Vec<Receipt> {
    received.iter().map(|r| r.receipt.clone()).collect()
}

/// The bodies as text, sorted: the order of messages is no promise.
fn bodies(received: &[Received]) -> Vec<String> {
    let mut bodies: Vec<_> = received
        .iter()
        .map(|r| String::from_utf8_lossy(&r.body).into_owned())
        .collect();
    bodies.sort();
    bodies
}
