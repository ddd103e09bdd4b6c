//! Brings bundles from the queue into a campaign's stock, and takes them back.
//!
//! One task per live campaign: it leases bundles when packets are wanted and a little ahead of
//! that, notes in the ledger that this node holds them, deletes those that are finished and
//! releases those that nobody asks for or whose lease is about to end.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ledger::{BundleKey, Ledger, NodeId, WaveState};
use queue::{
    Queue, QueueName, Receipt, Received,
    bundle::{Bundle, BundleSealer},
};
use tokio::time::Instant;

use super::{
    rain::Rain,
    stock::{Added, Leaving},
};

/// How long before the lease ends the node stops serving the bundle: longer than a grab may
/// take from the taking of a packet to its commit.
const STOP_BEFORE_LEASE_ENDS: Duration = Duration::from_secs(3);
/// A node that gave out no packet of a campaign for so long gives its bundles back.
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// How often finished, idle and ending bundles are looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// The pause after a receive that brought nothing, or failed: what losing grabs may cost the
/// queue at the most.
const PAUSE_WHEN_EMPTY: Duration = Duration::from_millis(20);
/// How many packets to lease ahead of demand.
const PACKETS_AHEAD: u32 = 1_024;
/// The most bundles in one receive.
const RECEIVE_MAX: u32 = 16;

/// What a receive has brought.
#[derive(Default)]
struct Opened {
    /// Bundles of open waves.
    bundles: Vec<(BundleKey, Bundle, Receipt)>,
    /// Bundles of waves that are not open yet, and second copies.
    early: Vec<Receipt>,
    /// What is no bundle of ours.
    forged: Vec<Receipt>,
}

/// The supply of one campaign on this node.
pub(crate) struct Supplier {
    rain: Arc<Rain>,
    ledger: Arc<dyn Ledger>,
    queue: Arc<dyn Queue>,
    node: NodeId,
    /// How long a received bundle is this node's.
    lease: Duration,
    name: QueueName,
    sealer: BundleSealer,
}

impl Supplier {
    pub(crate) fn new(
        rain: Arc<Rain>,
        ledger: Arc<dyn Ledger>,
        queue: Arc<dyn Queue>,
        node: NodeId,
        lease: Duration,
    ) -> Self {
        let view = rain.view();
        let name = QueueName::of(view.campaign.id);
        let sealer = BundleSealer::new(&view.campaign.seed);
        drop(view);
        Self {
            rain,
            ledger,
            queue,
            node,
            lease,
            name,
            sealer,
        }
    }

    /// Supplies until the campaign is closed or `stopping` is done, then gives all back.
    pub(crate) async fn run(self, stopping: tokio_util::sync::CancellationToken) {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        while self.rain.view().campaign.closed_at.is_none() {
            tokio::select! {
                () = stopping.cancelled() => break,
                _ = sweep.tick() => self.give_back(IDLE_AFTER).await,
                () = self.rain.stock.wanted.notified() => {
                    self.give_back(IDLE_AFTER).await;
                    if self.is_low() && !self.bring().await {
                        tokio::time::sleep(PAUSE_WHEN_EMPTY).await;
                    }
                }
            }
        }
        self.give_back(Duration::ZERO).await;
    }

    /// Whether the stock is to be filled up: grabs wait, or the next few would empty it.
    fn is_low(&self) -> bool {
        let free = self.rain.stock.free();
        !self.rain.all_claimed(&self.rain.view())
            && (free == 0 || free < self.bundle_size() as usize)
    }

    fn bundle_size(&self) -> u32 {
        self.rain.view().bundle_size.max(1)
    }

    /// Receives bundles and puts them in stock; false when that brought no packets.
    async fn bring(&self) -> bool {
        // Measured from before the receive, so that the lease cannot end unseen.
        let received_at = Instant::now();
        let held_until = self.ledger.now().plus_micros(self.lease.as_micros() as i64);
        // Small bundles mean a small wave: taking many would leave nothing to other nodes.
        let size = self.bundle_size();
        let max = if size < 32 {
            2
        } else {
            (PACKETS_AHEAD / size).clamp(1, RECEIVE_MAX)
        };
        let received = match self
            .queue
            .receive(&self.name, max as usize, self.lease)
            .await
        {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, queue = %self.name.0, "could not receive bundles");
                return false;
            }
        };
        if received.is_empty() {
            return false;
        }
        let Opened {
            bundles,
            early,
            forged,
        } = self.open(received);
        self.delete(&forged).await;
        self.release(&early).await;
        let keys: Vec<BundleKey> = bundles.iter().map(|(key, ..)| *key).collect();
        let claimed = match self.ledger.hold(self.node, held_until, &keys).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, bundles = keys.len(), "could not note held bundles");
                let receipts: Vec<Receipt> = bundles.into_iter().map(|(.., r)| r).collect();
                self.release(&receipts).await;
                return false;
            }
        };
        assert_eq!(
            claimed.len(),
            bundles.len(),
            "one list of claimed packets for each bundle"
        );
        let serve_until = received_at + self.lease.saturating_sub(STOP_BEFORE_LEASE_ENDS);
        let (mut copies, mut later) = (Vec::new(), Vec::new());
        let mut brought = false;
        for ((key, bundle, receipt), claimed) in bundles.into_iter().zip(claimed) {
            let stock = &self.rain.stock;
            match stock.add(key, bundle, receipt.clone(), &claimed, serve_until) {
                Added::New => brought |= claimed.len() < key.packets as usize,
                Added::Copy => copies.push(receipt),
                Added::Later => later.push(receipt),
            }
        }
        // Of two copies in this node's hands one will do.
        self.delete(&copies).await;
        self.release(&later).await;
        brought
    }

    /// Verifies what was received.
    fn open(&self, received: Vec<Received>) -> Opened {
        let view = self.rain.view();
        let mut opened = Opened::default();
        let mut seen = HashSet::new();
        for message in received {
            let bundle = match self.sealer.decode(view.campaign.id, &message.body) {
                Ok(bundle) => bundle,
                Err(error) => {
                    metrics::counter!("hongbao_bundles_refused_total").increment(1);
                    tracing::error!(%error, queue = %self.name.0, "refused a message that is no bundle of ours");
                    opened.forged.push(message.receipt);
                    continue;
                }
            };
            let key = BundleKey {
                campaign: view.campaign.no,
                wave: bundle.wave,
                first_index: bundle.first_index,
                packets: bundle.amounts.len() as u32,
            };
            let place = (bundle.wave as usize).checked_sub(1);
            let wave = place.and_then(|place| view.campaign.waves.get(place));
            let open = wave.is_some_and(|wave| wave.state == WaveState::Open);
            if open && seen.insert(key) {
                opened.bundles.push((key, bundle, message.receipt));
            } else {
                opened.early.push(message.receipt);
            }
        }
        opened
    }

    /// Sends back what the stock no longer serves: deletes what is finished, releases the rest.
    async fn give_back(&self, idle_after: Duration) {
        let leaving = self.rain.stock.sweep(idle_after);
        if leaving.is_empty() {
            return;
        }
        let keys: Vec<BundleKey> = leaving.iter().map(|one| one.key).collect();
        let (finished, free): (Vec<Leaving>, Vec<Leaving>) =
            leaving.into_iter().partition(|one| one.finished);
        let receipts = |of: Vec<Leaving>| of.into_iter().map(|one| one.receipt).collect::<Vec<_>>();
        self.delete(&receipts(finished)).await;
        // The hold goes first: nobody may find the message while we still claim to hold it.
        if let Err(error) = self.ledger.unhold(self.node, &keys).await {
            // The hold ends with its lease at the latest.
            tracing::warn!(%error, bundles = keys.len(), "could not note released bundles");
        }
        self.release(&receipts(free)).await;
    }

    async fn delete(&self, receipts: &[Receipt]) {
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.queue.delete(&self.name, receipts).await {
            // It comes back when its visibility ends, is found claimed, and is deleted then.
            tracing::warn!(%error, queue = %self.name.0, "could not delete finished bundles");
        }
    }

    async fn release(&self, receipts: &[Receipt]) {
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.queue.release(&self.name, receipts).await {
            tracing::warn!(%error, queue = %self.name.0, "could not release bundles");
        }
    }
}
