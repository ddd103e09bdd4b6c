//! The grab: the only hot path, and the calls around it that participants make.
//!
//! # Layout
//! - [`grab`]: the steps of a grab, from the headers to the answer; `short_lane`: the same from
//!   bytes to bytes. `tap`: what its headers say; `outcome`: what it ends in.
//! - `rain`: one campaign on this node; `winners` and `stock`: what it knows and holds.
//! - `batches`: when claims become a transaction; `committer`: what becomes of them; `courier`:
//!   their replies; `follow`: the claims that other replicas committed; `forget`: those of closed
//!   campaigns; `look`: the look a repeated tap gets; `supplier`: bundles from the queue and back.
//! - [`counting`]: counts into the ledger, each second; `telling`: into this process's metrics.
//! - `answer`: bytes on the wire.
//! - [`campaign`], [`campaigns`], [`wins`], [`events`]: the other endpoints.

mod answer;
mod batches;
pub mod campaign;
pub mod campaigns;
mod committer;
pub mod counting;
pub(crate) mod courier;
pub mod events;
mod follow;
mod forget;
pub mod grab;
mod look;
mod outcome;
mod rain;
pub(crate) mod short_lane;
mod stock;
mod supplier;
mod tap;
mod telling;
#[cfg(test)]
mod tests;
mod winners;
pub mod wins;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use eventlog::AccessLog;
use ledger::{Ledger, LedgerError, NodeId};
use queue::Queue;
use rules::CampaignId;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::batches::Commits;
use self::{
    committer::{Claim, Claims, Committer},
    look::{Looker, Looks},
    rain::Rain,
    supplier::Supplier,
    winners::lock,
};
use crate::{
    account::{asking::Admission, token::Tokens},
    directory::{Current, Directory, Follower},
    http::origin::OriginRules,
    random::Random,
};

/// What a grab node is made of.
pub struct Parts {
    /// The truth.
    pub ledger: Arc<dyn Ledger>,
    /// Where bundles come from.
    pub queue: Arc<dyn Queue>,
    /// This process's snapshot of the campaigns.
    pub directory: Arc<Directory>,
    /// Who may try.
    pub admission: Admission,
    /// Who is who.
    pub tokens: Arc<Tokens>,
    /// Where a cookie may be used from.
    pub origins: OriginRules,
    /// Where outcomes are logged.
    pub access_log: Arc<AccessLog>,
    /// Where ids come from.
    pub random: Arc<dyn Random>,
    /// This process, for holds and counts.
    pub node: NodeId,
    /// How long a received bundle is this node's.
    pub lease: Duration,
    /// How claims become transactions.
    pub commits: Commits,
    /// How many may listen to events at a time.
    pub streams_max: usize,
}

/// The campaigns of a node.
type Rains = HashMap<CampaignId, Arc<Rain>>;

/// A grab node.
pub struct Redpacket {
    pub(crate) ledger: Arc<dyn Ledger>,
    queue: Arc<dyn Queue>,
    directory: Arc<Directory>,
    admission: Admission,
    tokens: Arc<Tokens>,
    origins: OriginRules,
    access_log: Arc<AccessLog>,
    random: Arc<dyn Random>,
    node: NodeId,
    lease: Duration,
    claims: Claims,
    /// For campaigns that are open, or were until lately.
    looks: Looks,
    /// For those that ended long ago, so that neither holds the other up.
    old_looks: Looks,
    rains: ArcSwap<Rains>,
    /// Held while a campaign is put in, changed or replaced; never across a wait.
    changing: Mutex<()>,
    /// A place for each event stream.
    streams: Arc<Semaphore>,
    /// Done when event streams are to end, before connections drain.
    streams_ending: CancellationToken,
    /// Done when bundles are to be given back, after connections have drained.
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Redpacket {
    /// A node, and its background tasks under way. To be called within a tokio runtime that
    /// outlives every request.
    #[must_use]
    pub fn start(parts: Parts) -> Arc<Self> {
        let claims = Committer::start(
            parts.ledger.clone(),
            parts.admission.clone(),
            parts.node,
            parts.commits,
        );
        let (looks, looker) = Looker::new(parts.ledger.clone());
        crate::task::critical("looker", looker.run());
        let (old_looks, looker) = Looker::new(parts.ledger.clone());
        crate::task::critical("looker of old campaigns", looker.run());
        Arc::new(Self {
            ledger: parts.ledger,
            queue: parts.queue,
            directory: parts.directory,
            admission: parts.admission,
            tokens: parts.tokens,
            origins: parts.origins,
            access_log: parts.access_log,
            random: parts.random,
            node: parts.node,
            lease: parts.lease,
            claims,
            looks,
            old_looks,
            rains: ArcSwap::default(),
            changing: Mutex::default(),
            streams: Arc::new(Semaphore::new(parts.streams_max)),
            streams_ending: CancellationToken::new(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Gives every bundle back. Called when no request is under way.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends event streams, so that connections can drain.
    pub fn end_streams(&self) {
        self.streams_ending.cancel();
    }

    pub(crate) fn rain(&self, id: CampaignId) -> Option<Arc<Rain>> {
        self.rains.load().get(&id).cloned()
    }

    /// Reads all wins of a campaign, once; others wait meanwhile.
    async fn load_wins(&self, rain: &Rain) -> Result<(), LedgerError> {
        let _one_reader = rain.loading.lock().await;
        if rain.wins_loaded() {
            return Ok(());
        }
        let no = rain.view().campaign.no;
        let (wins, seen) = self
            .ledger
            .wins_after(no, &ledger::Seen::default())
            .await
            .inspect_err(|error| {
                tracing::warn!(%error, campaign = %rain.id, "could not read a campaign's wins");
            })?;
        let view = rain.view();
        if wins.iter().any(|(_, win)| !view.is_open(win.packet.wave)) {
            // As when following: counted against the waves that this node has heard of, they would
            // make it say "sold out" too early. Until it has heard, the ledger is asked.
            return Ok(());
        }
        drop(view);
        for (user, win) in &wins {
            rain.winners.record(user, win);
        }
        rain.followed.reached(seen);
        rain.wins_loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Undoes what a grab took, when its claim could not be handed over.
    fn give_up(&self, claim: Claim) {
        claim.rain.stock.put_back(&claim.packet);
        self.admission.withdraw(claim.rain.id, claim.attempt());
        claim.rain.winners.end(&claim.ask.user);
    }

    /// Puts a change in force; false when the campaign is new here.
    fn change(&self, current: &Current) -> bool {
        let _one_change = lock(&self.changing);
        let rain = self.rain(current.campaign.id);
        rain.map(|rain| rain.change(current.clone(), self.ledger.now()))
            .is_some()
    }

    async fn add(&self, current: &Current) {
        let live = current.campaign.closed_at.is_none();
        let rain = Arc::new(Rain::new(current.clone()));
        if live {
            // Without its wins a running campaign cannot say who has won; the first grab tries
            // again, and is answered 503 until it succeeds.
            let _later = self.load_wins(&rain).await.is_err();
            let supplier = Supplier::new(
                rain.clone(),
                self.ledger.clone(),
                self.queue.clone(),
                self.node,
                self.lease,
            );
            self.tasks.spawn(crate::task::guarded(
                "supplier",
                supplier.run(self.stopping.clone()),
            ));
        }
        let _one_change = lock(&self.changing);
        let mut rains = HashMap::clone(&self.rains.load());
        rains.insert(rain.id, rain);
        self.rains.store(Arc::new(rains));
    }
}

#[async_trait::async_trait]
impl Follower for Redpacket {
    async fn changed(&self, current: &Current) {
        if !self.change(current) {
            self.add(current).await;
        }
    }
}

/// Every route of the service. The grab is also answered before any router, see
/// [`crate::http::server`].
pub fn router(redpacket: Arc<Redpacket>) -> OpenApiRouter {
    routes().with_state(redpacket)
}

/// What the routes are, for the API's description.
#[must_use]
pub fn api() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Arc<Redpacket>> {
    OpenApiRouter::new()
        .routes(routes!(campaigns::campaigns))
        .routes(routes!(campaign::campaign))
        .routes(routes!(grab::route))
        .routes(routes!(wins::wins))
        .routes(routes!(events::events))
}
