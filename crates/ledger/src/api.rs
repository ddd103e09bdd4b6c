//! The trait that every database implements, and its errors.

use std::time::Duration;

use async_trait::async_trait;
use rules::{CampaignId, ClaimId, PacketId, Rules, Timestamp, Tranche, UserId};

use crate::model::*;

/// The call has no answer, and asking again later is safe.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database is away, busy beyond its time-out, or full. Nothing was written, unless the
    /// answer to a COMMIT was lost: then all of it may have been, and who asks again finds it done.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// Data that this version cannot read or that breaks an invariant.
    #[error("the ledger holds what it must not: {0}")]
    Corrupt(String),
    /// The caller led, and another leads now. Nothing was written.
    #[error("another monitor leads now; nothing was written")]
    Deposed,
}

/// Why a claim batch has no results.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Nothing was written; the packets are free.
    #[error("nothing was claimed: {0}")]
    NotDone(#[source] LedgerError),
    /// COMMIT was sent and its outcome is unknown: every packet of the batch is in doubt until
    /// [`Ledger::settle`] has answered.
    #[error("the outcome of a commit is unknown: {0}")]
    InDoubt(String),
}

/// The result of a ledger call.
pub type Result<T, E = LedgerError> = std::result::Result<T, E>;

/// The one truth. Every method is safe to repeat; none answers before its writes are durable.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// The current ledger time, which never goes back.
    fn now(&self) -> Timestamp;

    /// Whether the database answers, for readiness.
    async fn ping(&self) -> Result<()>;

    /// What an acknowledgement means on this database, as its settings are now.
    async fn durability(&self) -> Result<Durability>;

    // --- The leading monitor ---

    /// Makes `node` lead, or go on leading, for `lease_for` from now (ledger time). `None` while
    /// another's lease runs. Each new leader has a higher epoch than all before.
    async fn lead(&self, node: NodeId, lease_for: Duration) -> Result<Option<Lead>>;

    /// Ends a lead, so that another monitor need not wait for the lease's end. Without effect
    /// when another leads already.
    async fn step_down(&self, lead: Lead) -> Result<()>;

    // --- Campaigns ---

    /// Writes a campaign, its planned waves and its fence slots.
    async fn create_campaign(&self, new: NewCampaign, once: Option<Idempotency>) -> Result<Once>;

    /// What an earlier call under the same key has done; `None`: there was none. For refusals
    /// that a repeat must not meet because the first call, or time, has brought them about.
    async fn done_before(&self, once: &Idempotency) -> Result<Option<Once>>;

    /// The campaign with its waves; `None` when there is none.
    async fn campaign(&self, id: CampaignId) -> Result<Option<Campaign>>;

    /// Who may try. A change of them changes the campaign's version, so that rules that are read
    /// after a campaign are of its version or a later one.
    async fn rules(&self, campaign: CampaignNo) -> Result<Rules>;

    /// Campaigns by descending number, those below `before` only, at most `limit`.
    async fn campaigns(&self, before: Option<CampaignNo>, limit: u32) -> Result<Vec<Campaign>>;

    /// Campaigns changed after `version`, by ascending version.
    async fn campaigns_since(&self, version: i64) -> Result<Vec<Campaign>>;

    /// Changes title, end or rules, unless closed, or changed since `patch.version`
    /// where there is one.
    async fn patch_campaign(&self, id: CampaignId, patch: CampaignPatch) -> Result<Change>;

    /// Pauses, unless closed.
    async fn pause_campaign(&self, id: CampaignId) -> Result<Change>;

    /// Resumes, unless closed; planned waves (and the end with them) move on by the length of
    /// the pause.
    async fn resume_campaign(&self, id: CampaignId) -> Result<Change>;

    /// Appends a tranche (`tranche.number` is set here) as one more wave that is due now.
    /// The limits are checked under the lock of the write, so that top-ups at the same time keep
    /// them together. `Ok(Err(_))` when the campaign does not take it.
    async fn top_up(
        &self,
        id: CampaignId,
        tranche: Tranche,
        once: Idempotency,
    ) -> Result<std::result::Result<Once, TopUpRefused>>;

    /// Closes every fence slot and writes the refund of what is left, in one transaction. A
    /// repeat finds the refund that is there. `None`: no such campaign.
    async fn close_campaign(&self, id: CampaignId) -> Result<Option<Refund>>;

    /// As [`Self::close_campaign`] for a campaign whose end has come and that no audit has halted,
    /// judged under the lock of the write; `None` for any other.
    async fn close_ended_campaign(&self, id: CampaignId) -> Result<Option<Refund>>;

    /// Stops claims of a campaign because an audit found a difference.
    async fn halt_campaign(&self, id: CampaignId, reason: &str) -> Result<()>;

    // --- Waves and bundles ---

    /// Notes that wave `wave.number` is being issued: its bundle size, algorithm and digest.
    /// A wave that is issuing or open keeps what it has. [`LedgerError::Deposed`] unless `lead`
    /// is the latest.
    async fn begin_wave(&self, lead: Lead, campaign: CampaignNo, wave: &Wave) -> Result<()>;

    /// Opens an issuing wave, unless the campaign is closed, paused or halted; says whether it
    /// did. Repeated, it changes nothing. [`LedgerError::Deposed`] unless `lead` is the latest.
    async fn open_wave(&self, lead: Lead, campaign: CampaignNo, wave: u32) -> Result<bool>;

    /// Notes that `node` holds `bundles` until `until`, and reads which of their packets are
    /// claimed already: for each bundle, in the same order, the claimed indices, ascending.
    async fn hold(
        &self,
        node: NodeId,
        until: Timestamp,
        bundles: &[BundleKey],
    ) -> Result<Vec<Vec<u32>>>;

    /// Notes that `node` holds `bundles` no longer.
    async fn unhold(&self, node: NodeId, bundles: &[BundleKey]) -> Result<()>;

    /// The bundles of open waves of `campaign` that have unclaimed packets, that nobody holds,
    /// and that were last sent longer ago than a delay that starts at `first_delay_ms` and
    /// doubles with each sending up to 64 times it. With `regardless`, neither holds nor delay
    /// count: the queue came up empty. At most `limit`.
    async fn stranded(
        &self,
        campaign: CampaignNo,
        first_delay_ms: i64,
        regardless: bool,
        limit: u32,
    ) -> Result<Vec<BundleKey>>;

    /// Notes that `bundles` were sent again now. [`LedgerError::Deposed`] unless `lead` is the
    /// latest.
    async fn mark_sent(&self, lead: Lead, bundles: &[BundleKey]) -> Result<()>;

    // --- Claims ---

    /// Claims in one transaction through fence slot `slot` (0–15). Durable when it returns.
    async fn claim(&self, slot: u8, asks: &[ClaimAsk]) -> Result<Claimed, ClaimError>;

    /// After [`ClaimError::InDoubt`]: waits for the slot's lock, then reads each claim by its
    /// id. `Some`: it is durable. `None`: it never will be, and the packet is free.
    async fn settle(&self, slot: u8, asks: &[ClaimAsk]) -> Result<Vec<Option<Win>>>;

    /// Every win of `users` (same order), after passing through each slot's lock, so that no
    /// commit is still under way. Wins of one user by ascending `claimed_at`.
    async fn look(&self, campaign: CampaignNo, users: &[UserId]) -> Result<Vec<Vec<Win>>>;

    /// How many claims each slot of each of `campaigns` has, in the same order. A count is taken
    /// together with its claims, so whatever it counts can be read with
    /// [`Ledger::wins_after`].
    async fn seen(&self, campaigns: &[CampaignNo]) -> Result<Vec<Seen>>;

    /// The wins of the campaign that came after `seen`, with their users, and how far they
    /// reach. From `Seen::default()`: all of them. Some of those before may be given again.
    async fn wins_after(
        &self,
        campaign: CampaignNo,
        seen: &Seen,
    ) -> Result<(Vec<(UserId, Win)>, Seen)>;

    /// One user's wins with their redemption.
    async fn wins(&self, campaign: CampaignNo, user: &UserId) -> Result<Vec<Winner>>;

    /// Winners by ascending packet.
    async fn winners(&self, campaign: CampaignNo, query: &WinnersQuery) -> Result<Vec<Winner>>;

    /// Redeems a claimed packet; a repeat gives the first time again. `None`: not claimed.
    async fn redeem(&self, campaign: CampaignNo, packet: PacketId) -> Result<Option<Redeemed>>;

    /// Whether a claim of this id is there, for tests and support.
    async fn has_claim(&self, campaign: CampaignNo, id: ClaimId) -> Result<bool>;

    /// Exact counts and sums, of one instant.
    async fn totals(&self, campaign: CampaignNo) -> Result<Totals>;

    /// How many claims there are of each amount, ascending by amount.
    async fn amounts_claimed(&self, campaign: CampaignNo) -> Result<Vec<(rules::Fen, u64)>>;

    /// Everything an audit needs, in one snapshot. `None`: no such campaign.
    async fn audit_snapshot(&self, id: CampaignId) -> Result<Option<AuditSnapshot>>;

    // --- Counters ---

    /// Begins a node's epoch of counting. Where one process has the ledger, every other epoch
    /// that did not end properly becomes a gap now; where several share it, see [`Self::gaps`].
    async fn begin_epoch(&self, node: NodeId) -> Result<()>;

    /// Adds `counts` and notes that `node` has counted up to `upto`. A repeat with the same
    /// `upto` adds nothing, so each save of a node needs a later one.
    async fn save_counts(&self, node: NodeId, upto: Timestamp, counts: &[Counts]) -> Result<()>;

    /// Ends a node's epoch properly.
    async fn end_epoch(&self, node: NodeId) -> Result<()>;

    /// Counts of a campaign summed over nodes and into steps of `step_seconds`, for seconds in
    /// [from, to), ascending.
    async fn counts(
        &self,
        campaign: CampaignNo,
        from: Timestamp,
        to: Timestamp,
        step_seconds: u32,
    ) -> Result<Vec<Counts>>;

    /// Spans that meet [from, to) in which a node died, so that its last second's counts may be
    /// missing. A node has died when its epoch was not ended and another process follows it on
    /// a ledger of its own; or, on a ledger that several share, when it has not saved for over
    /// 10 s (ledger time), which any later call may notice. A node that was only slow has lost
    /// nothing: its next save goes on counting, and its gap is gone.
    async fn gaps(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>>;

    // --- People ---

    /// Adds or changes users; all or none.
    async fn import_users(&self, users: &[NewUser]) -> Result<Imported>;

    /// Imported users by ascending id after `after`, at most `limit`.
    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<User>>;

    /// How many users are imported.
    async fn users_count(&self) -> Result<u64>;

    /// Removes an imported user; wins stay. False when there is none.
    async fn delete_user(&self, user: &UserId) -> Result<bool>;

    /// The imported user with this code.
    async fn user_by_code(&self, code_hash: &[u8; 32]) -> Result<Option<User>>;

    /// Ids of all imported users.
    async fn all_user_ids(&self) -> Result<Vec<UserId>>;

    /// Adds the first organiser; false when there is one already.
    async fn add_first_organiser(&self, organiser: &Organiser) -> Result<bool>;

    /// The organiser of this name.
    async fn organiser(&self, username: &str) -> Result<Option<Organiser>>;

    /// Whether there is any organiser.
    async fn has_organiser(&self) -> Result<bool>;

    /// Keeps an organiser's session under the hash of its token.
    async fn add_session(
        &self,
        token_hash: &[u8; 32],
        username: &str,
        expires_at: Timestamp,
    ) -> Result<()>;

    /// The organiser of an unexpired session.
    async fn session(&self, token_hash: &[u8; 32]) -> Result<Option<String>>;

    /// Ends a session.
    async fn delete_session(&self, token_hash: &[u8; 32]) -> Result<()>;
}
