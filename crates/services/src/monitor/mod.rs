//! The organiser's control: issuing, watching, exporting, auditing.
//!
//! The ledger is the only truth here too: nothing in this process's memory may be needed after
//! a restart, and every background task can be killed at any instant.
//!
//! # Layout
//! - [`leader`]: which of several monitors does the following.
//! - [`opening`], [`issuer`], [`scheduler`], [`reconciler`], [`auditor`]: what happens without being asked.
//! - [`durability`]: what an acknowledgement means, and when money is refused.
//! - [`organiser`], [`passwords`], [`login_tries`]: who may ask.
//! - [`requests`], [`view`]: what bodies and answers have in common.
//! - every other file: one endpoint.

mod audit;
mod auditor;
mod close;
mod create;
mod durability;
mod issuer;
mod leader;
mod list;
mod live;
mod locks;
mod log_stats;
mod login_tries;
mod open_campaigns;
mod opening;
mod organiser;
mod packets;
mod passwords;
mod patch;
mod pause;
mod qr;
mod queue_counts;
mod reconciler;
mod redeem;
mod requests;
mod resume;
mod scheduler;
mod sessions;
mod setup;
mod show;
mod stats;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
mod top_up;
mod users;
mod users_file;
mod view;
mod winners;
mod winners_csv;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{extract::DefaultBodyLimit, middleware::from_fn_with_state};
use eventlog::sls::statistics::Reader as LogStatistics;
use ledger::{Campaign, Durability, Ledger, LedgerError, NodeId, Refund};
use queue::{Queue, QueueName};
use rules::{CampaignId, Timestamp};
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::open_campaigns::OpenCampaigns;
use self::{
    audit::LateAudits,
    auditor::Auditor,
    issuer::{IssueError, Issuer},
    leader::Leader,
    locks::CampaignLocks,
    login_tries::LoginTries,
    passwords::Passwords,
    setup::Setup,
    view::OrganiserCampaign,
};
use crate::{
    account::{codes::Codes, registered::Registered},
    directory::Announcer,
    http::{ApiError, edge::LARGE_BODY_BYTES_MAX, origin::OriginRules},
    random::Random,
};

/// How long reading the counters waits for this process's own to be saved.
const SAVE_COUNTS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a change waits to be in force in this process before it is answered all the same.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after a failure the last audit of a closed campaign is tried again; it doubles, ...
const AUDIT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// ... up to this.
const AUDIT_AGAIN_AFTER_MAX: Duration = Duration::from_secs(600);

/// What the monitor is told by its configuration.
pub struct Settings {
    /// What links and QR codes show, without a slash at the end.
    pub public_url: String,
    /// Which pages are ours, for requests by cookie.
    pub origin: OriginRules,
    /// SHA-256 of the API key with the organiser's rights; `None`: there is none.
    pub api_key_sha256: Option<[u8; 32]>,
    /// How many grab nodes share the packets: it decides the size of bundles.
    pub replicas: u32,
    /// Whether logins from this machine are subject to back-off by address too.
    pub limit_loopback: bool,
    /// Hashes identification codes, for users' imports and for winners by code.
    pub codes: Codes,
    /// Whether participants are the registered ones only; else anyone's code stands for a user.
    pub registered_only: bool,
    /// How long it leads without renewing its lead: how long another waits that is to take over.
    pub lease: Duration,
    /// Whether campaigns are made although the database may lose wins that were answered.
    pub allow_weak_durability: bool,
    /// What the first organiser is made with, where several replicas must know the same; a new
    /// one is drawn when left out.
    pub setup_token: Option<String>,
}

/// What the monitor works with.
pub struct Tools {
    /// The truth.
    pub ledger: Arc<dyn Ledger>,
    /// What carries packets to the grab nodes.
    pub queue: Arc<dyn Queue>,
    /// Tells this process of changes.
    pub announcer: Announcer,
    /// Where seeds, ids and tokens come from.
    pub random: Arc<dyn Random>,
    /// This process, which may lead.
    pub node: NodeId,
    /// This process's list of imported users, where it has one, to follow an import at once.
    pub registered: Option<Arc<Registered>>,
}

/// Saves this process's counters at once, so that who reads them sees every grab answered here
/// before. Without it they are up to a second behind.
#[async_trait::async_trait]
pub trait SaveCounts: Send + Sync + 'static {
    /// Returns when all that was counted before this call is in the ledger, or could not be
    /// saved now. Calls at the same time should share one write.
    async fn save_counts(&self);
}

/// The organiser's control of one process.
pub struct Monitor {
    ledger: Arc<dyn Ledger>,
    queue: Arc<dyn Queue>,
    announcer: Announcer,
    random: Arc<dyn Random>,
    counters: OnceLock<Arc<dyn SaveCounts>>,
    settings: Settings,
    registered: Option<Arc<Registered>>,
    log_statistics: OnceLock<LogStatistics>,
    durability: durability::Watched,
    leader: Leader,
    issuer: Issuer,
    auditor: Auditor,
    locks: CampaignLocks,
    open_campaigns: Arc<OpenCampaigns>,
    passwords: Passwords,
    tries: LoginTries,
    late_audits: LateAudits,
    setup: Setup,
    live: live::Counted,
}

impl Monitor {
    /// The monitor, before anything runs.
    #[must_use]
    pub fn new(tools: Tools, settings: Settings) -> Arc<Self> {
        let issuer = Issuer::new(tools.ledger.clone(), tools.queue.clone(), settings.replicas);
        let leader = Leader::new(tools.ledger.clone(), tools.node, settings.lease);
        let tries = LoginTries::new(settings.limit_loopback);
        Arc::new(Self {
            leader,
            registered: tools.registered,
            log_statistics: OnceLock::new(),
            durability: durability::Watched::new(settings.allow_weak_durability),
            issuer,
            auditor: Auditor::new(tools.ledger.clone()),
            ledger: tools.ledger,
            queue: tools.queue,
            announcer: tools.announcer,
            random: tools.random,
            counters: OnceLock::new(),
            settings,
            locks: CampaignLocks::default(),
            open_campaigns: Arc::default(),
            passwords: Passwords::new(),
            tries,
            late_audits: LateAudits::default(),
            setup: Setup::default(),
            live: live::Counted::new(),
        })
    }

    /// What the directory's reader has to tell of changes, from its first read on.
    #[must_use]
    pub fn follower(&self) -> Arc<OpenCampaigns> {
        self.open_campaigns.clone()
    }

    /// Names the counters of this process's own grab node, where it has one. The first call
    /// counts.
    pub fn reads_counters_of(&self, counters: Arc<dyn SaveCounts>) {
        self.counters.get_or_init(|| counters);
    }

    /// Names what reads the statistics of the log service, where the access log is shipped to one.
    /// The first call counts.
    pub fn reads_log_statistics_of(&self, reader: LogStatistics) {
        self.log_statistics.get_or_init(|| reader);
    }

    /// The one-time token for `POST /monitor/api/setup`, when there is no organiser yet. It is
    /// to be printed, and is kept nowhere but as a hash in memory.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn begin_setup(&self) -> Result<Option<String>, LedgerError> {
        let (ledger, random) = (self.ledger.as_ref(), self.random.as_ref());
        let told = self.settings.setup_token.clone();
        self.setup.begin(ledger, told, random).await
    }

    /// What an acknowledgement means on the ledger's database now.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn durability(&self) -> Result<Durability, LedgerError> {
        self.durability.look(&*self.ledger).await
    }

    /// Leads at once, sends what is unclaimed into the queues that came up empty, and completes
    /// waves that a crash cut short. For a process that is alone on its ledger or its queue: it
    /// is ready only after this.
    ///
    /// # Errors
    /// When the ledger or the queue does not answer, or another monitor leads; trying again is
    /// safe.
    pub async fn refill(&self) -> Result<(), RefillError> {
        let refilled = async {
            self.leader.take().await?;
            let lead = self.leader.lead().ok_or(LedgerError::Deposed)?;
            reconciler::refill(self, lead).await
        };
        refilled.await.map_err(RefillError)
    }

    /// Schedules, reconciles and audits while it leads, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            self.leader.run(stop.clone()),
            scheduler::run(self.clone(), stop.clone()),
            reconciler::run(self.clone(), stop.clone()),
            auditor::run(self.clone(), stop.clone()),
            self.durability.run(&*self.ledger, stop),
        );
        // Only now: until here a write may have been under way that showed the lead.
        self.leader.step_down().await;
    }

    /// Makes what was committed before this call known to this process, the local grab node
    /// included.
    async fn announce(&self) {
        let announced = self.announcer.announce();
        if tokio::time::timeout(ANNOUNCE_TIMEOUT, announced)
            .await
            .is_err()
        {
            tracing::warn!("a change is committed, but this process has not read it yet");
        }
    }

    /// Makes a change of the imported users known to this process. Others read it within a
    /// second or so.
    async fn users_changed(&self) {
        if let Some(registered) = &self.registered
            && let Err(error) = registered.read(&*self.ledger).await
        {
            tracing::warn!(%error, "the imported users have changed, and are not read yet");
        }
    }

    /// Brings this process's own counters into the ledger, before they are read there.
    async fn save_counts(&self) {
        let Some(counters) = self.counters.get() else {
            return;
        };
        let saved = tokio::time::timeout(SAVE_COUNTS_TIMEOUT, counters.save_counts());
        if saved.await.is_err() {
            tracing::debug!("the latest counters are not saved yet");
        }
    }

    /// Closes a campaign: what is left is refunded, once. `None`: there is none. A caller that goes
    /// away interrupts nothing: what is closed is also cleared away and audited.
    async fn close(self: &Arc<Self>, id: CampaignId) -> Result<Option<Refund>, LedgerError> {
        let monitor = self.clone();
        let closing = async move {
            let refund = monitor.ledger.close_campaign(id).await?;
            Ok(monitor.closed(id, refund).await)
        };
        crate::task::to_the_end(closing).await
    }

    /// Closes a campaign whose end has come. `None`: it has not, or an audit has halted it.
    async fn close_ended(self: &Arc<Self>, id: CampaignId) -> Result<Option<Refund>, LedgerError> {
        let refund = self.ledger.close_ended_campaign(id).await?;
        Ok(self.closed(id, refund).await)
    }

    async fn closed(self: &Arc<Self>, id: CampaignId, refund: Option<Refund>) -> Option<Refund> {
        if refund.is_some() {
            self.announce().await;
            // The money is settled; clearing away and auditing need not keep the caller waiting.
            tokio::spawn(clear_away(self.clone(), id));
        }
        refund
    }

    async fn campaign(&self, id: CampaignId) -> Result<Campaign, ApiError> {
        let campaign = self.ledger.campaign(id).await?;
        campaign.ok_or_else(ApiError::no_such_campaign)
    }

    /// Where participants find the campaign.
    fn link(&self, id: CampaignId) -> String {
        let public_url = self.settings.public_url.trim_end_matches('/');
        format!("{public_url}/webpage?c={id}")
    }

    /// The campaign as the organiser sees it now, or as of `at`.
    async fn view(
        &self,
        id: CampaignId,
        at: Option<Timestamp>,
    ) -> Result<OrganiserCampaign, ApiError> {
        let campaign = self.campaign(id).await?;
        let rules = self.ledger.rules(campaign.no).await?;
        let totals = self.ledger.totals(campaign.no).await?;
        let at = at.unwrap_or_else(|| self.ledger.now());
        let link = self.link(id);
        Ok(OrganiserCampaign::new(campaign, link, rules, &totals, at))
    }
}

/// Why the queue could not be refilled.
#[derive(Debug, thiserror::Error)]
#[error("the queue could not be refilled: {0}")]
pub struct RefillError(#[source] IssueError);

impl RefillError {
    /// Whether it is because another monitor leads.
    #[must_use]
    pub const fn another_leads(&self) -> bool {
        matches!(self.0, IssueError::Ledger(LedgerError::Deposed))
    }
}

/// Removes a closed campaign's bundles, once nobody sends any more, and audits it.
async fn clear_away(monitor: Arc<Monitor>, id: CampaignId) {
    match monitor.ledger.campaign(id).await {
        Ok(Some(campaign)) => {
            let _turn = monitor.locks.lock(campaign.no).await;
            if let Err(error) = monitor.queue.drop_queue(&QueueName::of(id)).await {
                tracing::warn!(campaign.id = %id, %error, "a closed campaign's bundles stay in the queue");
            }
        }
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(campaign.id = %id, %error, "a closed campaign's bundles stay in the queue");
        }
    }
    let mut pause = AUDIT_AGAIN_AFTER;
    while !auditor::audit_and_judge(&monitor, id).await && pause <= AUDIT_AGAIN_AFTER_MAX {
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// 409 `campaign_ended`.
fn campaign_ended() -> ApiError {
    let message = "the campaign has ended, and that is final";
    ApiError::new(http::StatusCode::CONFLICT, "campaign_ended", message)
}

/// Every route under `/monitor/api`.
pub fn router(monitor: Arc<Monitor>) -> OpenApiRouter {
    let (anybodys, organisers) = routes();
    let guard = from_fn_with_state(monitor.clone(), organiser::guard);
    anybodys
        .merge(organisers.route_layer(guard))
        .with_state(monitor)
}

/// What the routes are, for the API's description.
#[must_use]
pub fn api() -> utoipa::openapi::OpenApi {
    let (anybodys, organisers) = routes();
    anybodys.merge(organisers).into_openapi()
}

type Routes = OpenApiRouter<Arc<Monitor>>;

/// The routes for anybody, and those for organisers.
fn routes() -> (Routes, Routes) {
    let anybodys = OpenApiRouter::new()
        .routes(routes!(setup::state, setup::make))
        .routes(routes!(sessions::login));
    let with_users = OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(show::show, patch::patch))
        .routes(routes!(users::import, users::list))
        .layer(DefaultBodyLimit::max(LARGE_BODY_BYTES_MAX));
    let organisers = OpenApiRouter::new()
        .routes(routes!(sessions::who, sessions::logout))
        .routes(routes!(pause::pause))
        .routes(routes!(resume::resume))
        .routes(routes!(close::close))
        .routes(routes!(top_up::top_up))
        .routes(routes!(live::live))
        .routes(routes!(winners::winners))
        .routes(routes!(redeem::redeem))
        .routes(routes!(stats::stats))
        .routes(routes!(log_stats::log_stats))
        .routes(routes!(audit::audit))
        .routes(routes!(qr::qr))
        .routes(routes!(queue_counts::queue))
        .routes(routes!(packets::packets))
        .routes(routes!(users::delete))
        .merge(with_users);
    (anybodys, organisers)
}
