//! The embedded default: one SQLite file in WAL mode, synced at every commit.
//!
//! One connection writes, a few read. A campaign's fence slots exist here as everywhere, but
//! what they lock is the whole file: `BEGIN IMMEDIATE` admits one writer at a time.
//!
//! Nothing here may carry on after a failed sync: what the disk holds is unknown then, so the
//! ledger stops ([`SqliteLedger::stopped`]) and the process is to restart.
//!
//! # Layout
//! - [`open`]: the files, the lock against a second process, the connections.
//! - [`migrate`]: numbered schemas, older ones brought up, newer ones refused.
//! - [`write`]: the write connection, commits, and when to stop for good.
//! - [`backup`]: a copy of the file while it is in use.
//! - [`durable`]: what an acknowledgement means, as the write connection is set.
//! - [`checkpoint`]: keeps the write-ahead log short, beside the writers.
//! - [`fault`]: what an SQLite error means.
//! - [`campaigns`], [`change`], [`waves`], [`bundles`]: what an organiser issues.
//! - [`claims`], [`insert`], [`standing`]: the hot path.
//! - [`wins`], [`packed`], [`snapshot`]: reading claims, a few and very many.
//! - [`lead`]: which monitor leads.
//! - [`counters`], [`people`]: statistics; users, organisers, sessions.

mod backup;
mod bundles;
mod campaigns;
mod change;
mod checkpoint;
mod claims;
mod counters;
mod durable;
mod fault;
mod insert;
mod lead;
mod migrate;
mod open;
mod packed;
mod people;
mod snapshot;
mod standing;
mod waves;
mod wins;
mod write;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rules::{CampaignId, ClaimId, Clock as _, Fen, PacketId, Rules, Timestamp, Tranche, UserId};
use tokio::sync::watch;

use self::{fault::Fail, open::Inner};
pub use self::{
    migrate::SCHEMA,
    open::{FILE, OpenError, UNFINISHED},
};
use crate::{
    AuditSnapshot, BundleKey, Campaign, CampaignNo, CampaignPatch, Change, ClaimAsk, ClaimError,
    Claimed, Counts, Durability, Gap, Idempotency, Imported, Lead, Ledger, NewCampaign, NewUser,
    NodeId, Once, Organiser, Redeemed, Refund, Seen, TopUpRefused, Totals, User, Wave, Win, Winner,
    WinnersQuery, api::Result, issue::Closes,
};

/// The ledger in one SQLite file. Cheap to clone; the file stays locked against other
/// processes until the last clone is gone.
#[derive(Clone)]
pub struct SqliteLedger {
    inner: Arc<Inner>,
}

impl SqliteLedger {
    /// Turns to the reason once the ledger has stopped for good: a sync failed, or the file is
    /// damaged. The process should exit then; a restart reads what the disk really holds.
    #[must_use]
    pub fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.inner.writer.stopped()
    }

    /// The answer to a caller: errors translated, and the ledger stopped where it must be.
    fn answer<T>(&self, result: Result<T, Fail>) -> Result<T> {
        result.map_err(|fail| self.inner.writer.judge(fail))
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    async fn ping(&self) -> Result<()> {
        self.inner.writer.check()?;
        self.answer(open::ping(&self.inner).await)
    }

    async fn durability(&self) -> Result<Durability> {
        self.answer(durable::probe(&self.inner.writer).await)
    }

    async fn lead(&self, node: NodeId, lease_for: Duration) -> Result<Option<Lead>> {
        self.answer(lead::lead(&self.inner, node, lease_for).await)
    }

    async fn step_down(&self, lead: Lead) -> Result<()> {
        self.answer(lead::step_down(&self.inner, lead).await)
    }

    async fn create_campaign(&self, new: NewCampaign, once: Option<Idempotency>) -> Result<Once> {
        self.answer(campaigns::create(&self.inner, &new, once.as_ref()).await)
    }

    async fn done_before(&self, once: &Idempotency) -> Result<Option<Once>> {
        self.answer(campaigns::done(&self.inner, once).await)
    }

    async fn campaign(&self, id: CampaignId) -> Result<Option<Campaign>> {
        self.answer(campaigns::by_id(&self.inner, id).await)
    }

    async fn rules(&self, campaign: CampaignNo) -> Result<Rules> {
        self.answer(campaigns::rules(&self.inner, campaign).await)
    }

    async fn campaigns(&self, before: Option<CampaignNo>, limit: u32) -> Result<Vec<Campaign>> {
        self.answer(campaigns::page(&self.inner, before, limit).await)
    }

    async fn campaigns_since(&self, version: i64) -> Result<Vec<Campaign>> {
        self.answer(campaigns::since(&self.inner, version).await)
    }

    async fn patch_campaign(&self, id: CampaignId, patch: CampaignPatch) -> Result<Change> {
        self.answer(change::patch(&self.inner, id, &patch).await)
    }

    async fn pause_campaign(&self, id: CampaignId) -> Result<Change> {
        self.answer(change::pause(&self.inner, id).await)
    }

    async fn resume_campaign(&self, id: CampaignId) -> Result<Change> {
        self.answer(change::resume(&self.inner, id).await)
    }

    async fn top_up(
        &self,
        id: CampaignId,
        tranche: Tranche,
        once: Idempotency,
    ) -> Result<std::result::Result<Once, TopUpRefused>> {
        self.answer(change::top_up(&self.inner, id, tranche, &once).await)
    }

    async fn close_campaign(&self, id: CampaignId) -> Result<Option<Refund>> {
        self.answer(change::close(&self.inner, id, Closes::Always).await)
    }

    async fn close_ended_campaign(&self, id: CampaignId) -> Result<Option<Refund>> {
        self.answer(change::close(&self.inner, id, Closes::Ended).await)
    }

    async fn halt_campaign(&self, id: CampaignId, reason: &str) -> Result<()> {
        self.answer(change::halt(&self.inner, id, reason).await)
    }

    async fn begin_wave(&self, lead: Lead, campaign: CampaignNo, wave: &Wave) -> Result<()> {
        self.answer(waves::begin(&self.inner, lead, campaign, wave).await)
    }

    async fn open_wave(&self, lead: Lead, campaign: CampaignNo, wave: u32) -> Result<bool> {
        self.answer(waves::open(&self.inner, lead, campaign, wave).await)
    }

    async fn hold(
        &self,
        node: NodeId,
        until: Timestamp,
        bundles: &[BundleKey],
    ) -> Result<Vec<Vec<u32>>> {
        self.answer(bundles::hold(&self.inner, node, until, bundles).await)
    }

    async fn unhold(&self, node: NodeId, bundles: &[BundleKey]) -> Result<()> {
        self.answer(bundles::unhold(&self.inner, node, bundles).await)
    }

    async fn stranded(
        &self,
        campaign: CampaignNo,
        first_delay_ms: i64,
        regardless: bool,
        limit: u32,
    ) -> Result<Vec<BundleKey>> {
        let stranded =
            bundles::stranded(&self.inner, campaign, first_delay_ms, regardless, limit).await;
        self.answer(stranded)
    }

    async fn mark_sent(&self, lead: Lead, bundles: &[BundleKey]) -> Result<()> {
        self.answer(bundles::mark_sent(&self.inner, lead, bundles).await)
    }

    async fn claim(&self, slot: u8, asks: &[ClaimAsk]) -> Result<Claimed, ClaimError> {
        let results = claims::claim(&self.inner, slot, asks).await?;
        // This process is alone on its file: nobody's claims but its own are to be followed.
        Ok(Claimed {
            results,
            took: Vec::new(),
        })
    }

    async fn settle(&self, _slot: u8, asks: &[ClaimAsk]) -> Result<Vec<Option<Win>>> {
        // Every slot is the one write lock here.
        self.answer(claims::settle(&self.inner, asks).await)
    }

    async fn look(&self, campaign: CampaignNo, users: &[UserId]) -> Result<Vec<Vec<Win>>> {
        self.answer(claims::look(&self.inner, campaign, users).await)
    }

    async fn seen(&self, campaigns: &[CampaignNo]) -> Result<Vec<Seen>> {
        self.answer(wins::seen(&self.inner, campaigns).await)
    }

    async fn wins_after(
        &self,
        campaign: CampaignNo,
        seen: &Seen,
    ) -> Result<(Vec<(UserId, Win)>, Seen)> {
        self.answer(wins::after(&self.inner, campaign, seen).await)
    }

    async fn wins(&self, campaign: CampaignNo, user: &UserId) -> Result<Vec<Winner>> {
        self.answer(wins::of_user(&self.inner, campaign, user).await)
    }

    async fn winners(&self, campaign: CampaignNo, query: &WinnersQuery) -> Result<Vec<Winner>> {
        self.answer(wins::page(&self.inner, campaign, query).await)
    }

    async fn redeem(&self, campaign: CampaignNo, packet: PacketId) -> Result<Option<Redeemed>> {
        self.answer(wins::redeem(&self.inner, campaign, packet).await)
    }

    async fn has_claim(&self, campaign: CampaignNo, id: ClaimId) -> Result<bool> {
        self.answer(wins::has_claim(&self.inner, campaign, id).await)
    }

    async fn totals(&self, campaign: CampaignNo) -> Result<Totals> {
        self.answer(snapshot::totals(&self.inner, campaign).await)
    }

    async fn amounts_claimed(&self, campaign: CampaignNo) -> Result<Vec<(Fen, u64)>> {
        self.answer(wins::amounts(&self.inner, campaign).await)
    }

    async fn audit_snapshot(&self, id: CampaignId) -> Result<Option<AuditSnapshot>> {
        self.answer(snapshot::audit(&self.inner, id).await)
    }

    async fn begin_epoch(&self, node: NodeId) -> Result<()> {
        self.answer(counters::begin_epoch(&self.inner, node).await)
    }

    async fn save_counts(&self, node: NodeId, upto: Timestamp, counts: &[Counts]) -> Result<()> {
        self.answer(counters::save(&self.inner, node, upto, counts).await)
    }

    async fn end_epoch(&self, node: NodeId) -> Result<()> {
        self.answer(counters::end_epoch(&self.inner, node).await)
    }

    async fn counts(
        &self,
        campaign: CampaignNo,
        from: Timestamp,
        to: Timestamp,
        step_seconds: u32,
    ) -> Result<Vec<Counts>> {
        self.answer(counters::read(&self.inner, campaign, from, to, step_seconds).await)
    }

    async fn gaps(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>> {
        self.answer(counters::gaps(&self.inner, from, to).await)
    }

    async fn import_users(&self, users: &[NewUser]) -> Result<Imported> {
        self.answer(people::import(&self.inner, users).await)
    }

    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<User>> {
        self.answer(people::users(&self.inner, after, limit).await)
    }

    async fn users_count(&self) -> Result<u64> {
        self.answer(people::count(&self.inner).await)
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool> {
        self.answer(people::delete(&self.inner, user).await)
    }

    async fn user_by_code(&self, code_hash: &[u8; 32]) -> Result<Option<User>> {
        self.answer(people::by_code(&self.inner, code_hash).await)
    }

    async fn all_user_ids(&self) -> Result<Vec<UserId>> {
        self.answer(people::all_ids(&self.inner).await)
    }

    async fn add_first_organiser(&self, organiser: &Organiser) -> Result<bool> {
        self.answer(people::add_first_organiser(&self.inner, organiser).await)
    }

    async fn organiser(&self, username: &str) -> Result<Option<Organiser>> {
        self.answer(people::organiser(&self.inner, username).await)
    }

    async fn has_organiser(&self) -> Result<bool> {
        self.answer(people::has_organiser(&self.inner).await)
    }

    async fn add_session(
        &self,
        token_hash: &[u8; 32],
        username: &str,
        expires_at: Timestamp,
    ) -> Result<()> {
        self.answer(people::add_session(&self.inner, token_hash, username, expires_at).await)
    }

    async fn session(&self, token_hash: &[u8; 32]) -> Result<Option<String>> {
        self.answer(people::session(&self.inner, token_hash).await)
    }

    async fn delete_session(&self, token_hash: &[u8; 32]) -> Result<()> {
        self.answer(people::delete_session(&self.inner, token_hash).await)
    }
}
