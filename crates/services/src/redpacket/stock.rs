//! The packets in this node's hands: bundles it holds under a lease, served from memory.
//!
//! A packet leaves the stock for one claim at a time and comes back when the claim did not
//! take it. A bundle is served until shortly before its lease ends; after that its packets
//! are somebody else's, and putting one back drops it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ledger::BundleKey;
use queue::{Receipt, bundle::Bundle};
use rules::{Fen, PacketId};
use tokio::{sync::Notify, time::Instant};

use super::winners::lock;

/// How long a grab waits for a packet to reach this node, in all.
const WAIT_FOR_STOCK: Duration = Duration::from_millis(200);
/// How often who waits says so again, in case the first receive brought nothing.
const ASK_AGAIN_EVERY: Duration = Duration::from_millis(25);
/// How many grabs of one campaign may wait so at once; the others have missed.
const WAITING_MAX: usize = 4_096;

/// A packet taken out of the stock, for one claim.
#[derive(Clone, Debug)]
pub(crate) struct HeldPacket {
    /// The packet.
    pub(crate) packet: PacketId,
    /// What it holds.
    pub(crate) amount: Fen,
    /// Its tier, for tiered splits.
    pub(crate) tier: Option<u16>,
    /// The bundle it came from.
    bundle: BundleKey,
}

struct Held {
    receipt: Receipt,
    bundle: Bundle,
    serve_until: Instant,
    /// Free indices, the next one last.
    free: Vec<u32>,
    in_flight: usize,
}

#[derive(Default)]
struct Shelf {
    bundles: HashMap<BundleKey, Held>,
    /// Bundles that still have free packets, the next one last.
    serving: Vec<BundleKey>,
    /// When packets last came or went.
    last_used: Option<Instant>,
}

/// The packets of one campaign in this node's hands.
#[derive(Default)]
pub(crate) struct Stock {
    shelf: Mutex<Shelf>,
    free: AtomicUsize,
    waiting: AtomicUsize,
    /// Told when packets arrive or the campaign changes.
    arrived: Notify,
    /// Told when packets are wanted.
    pub(crate) wanted: Notify,
}

/// One grab's patience: the 200 ms begin with its first wait and are not renewed.
#[derive(Default)]
pub(crate) struct Patience(Option<Instant>);

/// What became of a received bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// Its packets are served.
    New,
    /// The same bundle is being served already.
    Copy,
    /// The same bundle is still on the shelf although its lease is over, because of a packet in
    /// flight: this copy is to come back later.
    Later,
}

/// A bundle that leaves this node, and how.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// Which.
    pub(crate) key: BundleKey,
    /// The receipt it was received under.
    pub(crate) receipt: Receipt,
    /// Every packet is claimed: the message is to be deleted. Otherwise it is to be released.
    pub(crate) finished: bool,
}

impl Stock {
    /// Takes a free packet; tells the supplier when few are left.
    pub(crate) fn take(&self) -> Option<HeldPacket> {
        let now = Instant::now();
        let mut shelf = lock(&self.shelf);
        let shelf = &mut *shelf;
        while let Some(key) = shelf.serving.last().copied() {
            let Some(held) = shelf.bundles.get_mut(&key) else {
                shelf.serving.pop();
                continue;
            };
            if held.serve_until <= now {
                self.stop_serving(held);
            }
            let Some(index) = held.free.pop() else {
                shelf.serving.pop();
                continue;
            };
            held.in_flight += 1;
            shelf.last_used = Some(now);
            let left = self.free.fetch_sub(1, Ordering::AcqRel) - 1;
            if left < key.packets as usize {
                self.wanted.notify_one();
            }
            let place = (index - key.first_index) as usize;
            return Some(HeldPacket {
                packet: PacketId {
                    wave: key.wave,
                    index,
                },
                amount: held.bundle.amounts[place],
                tier: held.bundle.tiers.as_ref().map(|tiers| tiers[place]),
                bundle: key,
            });
        }
        self.wanted.notify_one();
        None
    }

    /// Gives back a packet that its claim did not take.
    pub(crate) fn put_back(&self, packet: &HeldPacket) {
        let mut shelf = lock(&self.shelf);
        let shelf = &mut *shelf;
        // A bundle whose lease ended may be gone: the queue delivers its packets again.
        let Some(held) = shelf.bundles.get_mut(&packet.bundle) else {
            return;
        };
        held.in_flight -= 1;
        if held.serve_until > Instant::now() {
            // Behind the bundle's others: where a stalled process holds it, the next user is to have
            // another.
            held.free.insert(0, packet.packet.index);
            if !shelf.serving.contains(&packet.bundle) {
                shelf.serving.push(packet.bundle);
            }
            self.free.fetch_add(1, Ordering::AcqRel);
            self.arrived.notify_waiters();
        }
    }

    /// Notes that a packet is claimed, by whomever.
    pub(crate) fn claimed(&self, packet: &HeldPacket) {
        let mut shelf = lock(&self.shelf);
        if let Some(held) = shelf.bundles.get_mut(&packet.bundle) {
            held.in_flight -= 1;
            if held.free.is_empty() && held.in_flight == 0 {
                self.wanted.notify_one();
            }
        }
    }

    /// Puts a received bundle on the shelf, without the indices that are `claimed` already.
    /// Refused while the same bundle lies there: its packets must not be in flight twice.
    pub(crate) fn add(
        &self,
        key: BundleKey,
        bundle: Bundle,
        receipt: Receipt,
        claimed: &[u32],
        serve_until: Instant,
    ) -> Added {
        let claimed: HashSet<u32> = claimed.iter().copied().collect();
        let indices = key.first_index..key.first_index + key.packets;
        let free: Vec<u32> = indices
            .rev()
            .filter(|index| !claimed.contains(index))
            .collect();
        let mut shelf = lock(&self.shelf);
        if let Some(held) = shelf.bundles.get(&key) {
            let served = held.serve_until > Instant::now();
            return if served { Added::Copy } else { Added::Later };
        }
        self.free.fetch_add(free.len(), Ordering::AcqRel);
        shelf.last_used = Some(Instant::now());
        shelf.serving.insert(0, key);
        shelf.bundles.insert(
            key,
            Held {
                receipt,
                bundle,
                serve_until,
                free,
                in_flight: 0,
            },
        );
        drop(shelf);
        self.arrived.notify_waiters();
        Added::New
    }

    /// Takes off the shelf every bundle that is finished, whose lease is about to end, or, when
    /// none came or went for `idle_after`, all with nothing in flight.
    pub(crate) fn sweep(&self, idle_after: Duration) -> Vec<Leaving> {
        let now = Instant::now();
        let mut shelf = lock(&self.shelf);
        let shelf = &mut *shelf;
        let idle = shelf
            .last_used
            .is_none_or(|used| now.duration_since(used) >= idle_after)
            && self.waiting.load(Ordering::Acquire) == 0;
        let mut leaving = Vec::new();
        shelf.bundles.retain(|key, held| {
            let over = held.serve_until <= now;
            if over {
                self.stop_serving(held);
            }
            let finished = held.free.is_empty() && !over;
            let leaves = held.in_flight == 0 && (finished || over || idle);
            if leaves {
                self.free.fetch_sub(held.free.len(), Ordering::AcqRel);
                leaving.push(Leaving {
                    key: *key,
                    receipt: held.receipt.clone(),
                    finished,
                });
            }
            !leaves
        });
        shelf.serving.retain(|key| shelf.bundles.contains_key(key));
        leaving
    }

    /// The lease is about to end: what is free is not served any more, even while other packets
    /// of the bundle are in flight.
    fn stop_serving(&self, held: &mut Held) {
        self.free.fetch_sub(held.free.len(), Ordering::AcqRel);
        held.free.clear();
    }

    /// Whether a grab would find no free packet.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.load(Ordering::Acquire) == 0
    }

    /// How many packets are free.
    pub(crate) fn free(&self) -> usize {
        self.free.load(Ordering::Acquire)
    }

    /// How many bundles lie here.
    pub(crate) fn bundles(&self) -> usize {
        lock(&self.shelf).bundles.len()
    }

    /// Whether grabs wait for packets.
    #[cfg(test)]
    fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Wakes the waiting grabs to look again, because the campaign has changed.
    pub(crate) fn look_again(&self) {
        self.arrived.notify_waiters();
    }

    /// Waits until packets are free or `done` holds, for what is left of `patience`. False when
    /// this time there are none, or when too many wait already.
    pub(crate) async fn wait(&self, patience: &mut Patience, done: impl Fn() -> bool) -> bool {
        let guard = WaitGuard::new(&self.waiting);
        if guard.place > WAITING_MAX {
            metrics::counter!("hongbao_stock_waits_refused_total").increment(1);
            return false;
        }
        let until = *patience
            .0
            .get_or_insert_with(|| Instant::now() + WAIT_FOR_STOCK);
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Registered before the look, so that an arrival in between is not missed.
            arrived.as_mut().enable();
            if !self.is_empty() || done() {
                return true;
            }
            let now = Instant::now();
            if now >= until {
                return false;
            }
            self.wanted.notify_one();
            // Woken or not, the loop looks again.
            let wake_at = until.min(now + ASK_AGAIN_EVERY);
            let _arrived = tokio::time::timeout_at(wake_at, arrived).await.is_ok();
        }
    }
}

/// Counts one waiting grab for as long as it lives.
struct WaitGuard<'a> {
    waiting: &'a AtomicUsize,
    place: usize,
}

impl<'a> WaitGuard<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        Self {
            waiting,
            place: waiting.fetch_add(1, Ordering::AcqRel) + 1,
        }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
