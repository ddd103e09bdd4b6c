//! The [`Ledger`] trait on a database server: every method is a function of its module, made
//! again where the database gave it up for another transaction's sake.

use std::time::Duration;

use async_trait::async_trait;
use rules::{CampaignId, ClaimId, Clock as _, Fen, PacketId, Rules, Timestamp, Tranche, UserId};

use super::{
    ServerLedger, bundles, campaigns, change, claims, counters, doubt, durable, fault::Fail,
    follow, lead, open, patience::Patience, people, snapshot, waves, wins,
};
use crate::{
    AuditSnapshot, BundleKey, Campaign, CampaignNo, CampaignPatch, Change, ClaimAsk, ClaimError,
    Claimed, Counts, Durability, Gap, Idempotency, Imported, Lead, Ledger, NewCampaign, NewUser,
    NodeId, Once, Organiser, Redeemed, Refund, Seen, TopUpRefused, Totals, User, Wave, Win, Winner,
    WinnersQuery, api::Result, issue::Closes,
};

/// Makes a call that is one transaction, again after a deadlock or a lock time-out.
macro_rules! done {
    ($call:expr) => {{
        let mut patience = Patience::new();
        loop {
            match $call.await {
                Err(fail) if patience.lasts(&fail).await => {}
                result => break result.map_err(Fail::judge),
            }
        }
    }};
}

#[async_trait]
impl Ledger for ServerLedger {
    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    async fn ping(&self) -> Result<()> {
        done!(open::ping(&self.inner))
    }

    async fn durability(&self) -> Result<Durability> {
        done!(durable::probe(&self.inner))
    }

    async fn lead(&self, node: NodeId, lease_for: Duration) -> Result<Option<Lead>> {
        done!(lead::lead(&self.inner, node, lease_for))
    }

    async fn step_down(&self, lead: Lead) -> Result<()> {
        done!(lead::step_down(&self.inner, lead))
    }

    async fn create_campaign(&self, new: NewCampaign, once: Option<Idempotency>) -> Result<Once> {
        done!(campaigns::create(&self.inner, &new, once.as_ref()))
    }

    async fn done_before(&self, once: &Idempotency) -> Result<Option<Once>> {
        done!(campaigns::done(&self.inner, once))
    }

    async fn campaign(&self, id: CampaignId) -> Result<Option<Campaign>> {
        done!(campaigns::by_id(&self.inner, id))
    }

    async fn rules(&self, campaign: CampaignNo) -> Result<Rules> {
        done!(campaigns::rules(&self.inner, campaign))
    }

    async fn campaigns(&self, before: Option<CampaignNo>, limit: u32) -> Result<Vec<Campaign>> {
        done!(campaigns::page(&self.inner, before, limit))
    }

    async fn campaigns_since(&self, version: i64) -> Result<Vec<Campaign>> {
        done!(campaigns::since(&self.inner, version))
    }

    async fn patch_campaign(&self, id: CampaignId, patch: CampaignPatch) -> Result<Change> {
        done!(change::patch(&self.inner, id, &patch))
    }

    async fn pause_campaign(&self, id: CampaignId) -> Result<Change> {
        done!(change::pause(&self.inner, id))
    }

    async fn resume_campaign(&self, id: CampaignId) -> Result<Change> {
        done!(change::resume(&self.inner, id))
    }

    async fn top_up(
        &self,
        id: CampaignId,
        tranche: Tranche,
        once: Idempotency,
    ) -> Result<std::result::Result<Once, TopUpRefused>> {
        done!(change::top_up(&self.inner, id, &tranche, &once))
    }

    async fn close_campaign(&self, id: CampaignId) -> Result<Option<Refund>> {
        done!(change::close(&self.inner, id, Closes::Always))
    }

    async fn close_ended_campaign(&self, id: CampaignId) -> Result<Option<Refund>> {
        done!(change::close(&self.inner, id, Closes::Ended))
    }

    async fn halt_campaign(&self, id: CampaignId, reason: &str) -> Result<()> {
        done!(change::halt(&self.inner, id, reason))
    }

    async fn begin_wave(&self, lead: Lead, campaign: CampaignNo, wave: &Wave) -> Result<()> {
        done!(waves::begin(&self.inner, lead, campaign, wave))
    }

    async fn open_wave(&self, lead: Lead, campaign: CampaignNo, wave: u32) -> Result<bool> {
        done!(waves::open(&self.inner, lead, campaign, wave))
    }

    async fn hold(
        &self,
        node: NodeId,
        until: Timestamp,
        bundles: &[BundleKey],
    ) -> Result<Vec<Vec<u32>>> {
        done!(bundles::hold(&self.inner, node, until, bundles))
    }

    async fn unhold(&self, node: NodeId, bundles: &[BundleKey]) -> Result<()> {
        done!(bundles::unhold(&self.inner, node, bundles))
    }

    async fn stranded(
        &self,
        campaign: CampaignNo,
        first_delay_ms: i64,
        regardless: bool,
        limit: u32,
    ) -> Result<Vec<BundleKey>> {
        done!(bundles::stranded(
            &self.inner,
            campaign,
            first_delay_ms,
            regardless,
            limit
        ))
    }

    async fn mark_sent(&self, lead: Lead, bundles: &[BundleKey]) -> Result<()> {
        done!(bundles::mark_sent(&self.inner, lead, bundles))
    }

    async fn claim(&self, slot: u8, asks: &[ClaimAsk]) -> Result<Claimed, ClaimError> {
        claims::claim(&self.inner, slot, asks).await
    }

    async fn settle(&self, slot: u8, asks: &[ClaimAsk]) -> Result<Vec<Option<Win>>> {
        done!(doubt::settle(&self.inner, slot, asks))
    }

    async fn look(&self, campaign: CampaignNo, users: &[UserId]) -> Result<Vec<Vec<Win>>> {
        done!(doubt::look(&self.inner, campaign, users))
    }

    async fn seen(&self, campaigns: &[CampaignNo]) -> Result<Vec<Seen>> {
        done!(follow::seen(&self.inner, campaigns))
    }

    async fn wins_after(
        &self,
        campaign: CampaignNo,
        seen: &Seen,
    ) -> Result<(Vec<(UserId, Win)>, Seen)> {
        done!(follow::after(&self.inner, campaign, seen))
    }

    async fn wins(&self, campaign: CampaignNo, user: &UserId) -> Result<Vec<Winner>> {
        done!(wins::of_user(&self.inner, campaign, user))
    }

    async fn winners(&self, campaign: CampaignNo, query: &WinnersQuery) -> Result<Vec<Winner>> {
        done!(wins::page(&self.inner, campaign, query))
    }

    async fn redeem(&self, campaign: CampaignNo, packet: PacketId) -> Result<Option<Redeemed>> {
        done!(wins::redeem(&self.inner, campaign, packet))
    }

    async fn has_claim(&self, campaign: CampaignNo, id: ClaimId) -> Result<bool> {
        done!(wins::has_claim(&self.inner, campaign, id))
    }

    async fn totals(&self, campaign: CampaignNo) -> Result<Totals> {
        done!(snapshot::totals(&self.inner, campaign))
    }

    async fn amounts_claimed(&self, campaign: CampaignNo) -> Result<Vec<(Fen, u64)>> {
        done!(wins::amounts(&self.inner, campaign))
    }

    async fn audit_snapshot(&self, id: CampaignId) -> Result<Option<AuditSnapshot>> {
        done!(snapshot::audit(&self.inner, id))
    }

    async fn begin_epoch(&self, node: NodeId) -> Result<()> {
        done!(counters::begin_epoch(&self.inner, node))
    }

    async fn save_counts(&self, node: NodeId, upto: Timestamp, counts: &[Counts]) -> Result<()> {
        done!(counters::save(&self.inner, node, upto, counts))
    }

    async fn end_epoch(&self, node: NodeId) -> Result<()> {
        done!(counters::end_epoch(&self.inner, node))
    }

    async fn counts(
        &self,
        campaign: CampaignNo,
        from: Timestamp,
        to: Timestamp,
        step_seconds: u32,
    ) -> Result<Vec<Counts>> {
        done!(counters::read(
            &self.inner,
            campaign,
            from,
            to,
            step_seconds
        ))
    }

    async fn gaps(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>> {
        done!(counters::gaps(&self.inner, from, to))
    }

    async fn import_users(&self, users: &[NewUser]) -> Result<Imported> {
        done!(people::import(&self.inner, users))
    }

    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<User>> {
        done!(people::users(&self.inner, after, limit))
    }

    async fn users_count(&self) -> Result<u64> {
        done!(people::count(&self.inner))
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool> {
        done!(people::delete(&self.inner, user))
    }

    async fn user_by_code(&self, code_hash: &[u8; 32]) -> Result<Option<User>> {
        done!(people::by_code(&self.inner, code_hash))
    }

    async fn all_user_ids(&self) -> Result<Vec<UserId>> {
        done!(people::all_ids(&self.inner))
    }

    async fn add_first_organiser(&self, organiser: &Organiser) -> Result<bool> {
        done!(people::add_first_organiser(&self.inner, organiser))
    }

    async fn organiser(&self, username: &str) -> Result<Option<Organiser>> {
        done!(people::organiser(&self.inner, username))
    }

    async fn has_organiser(&self) -> Result<bool> {
        done!(people::has_organiser(&self.inner))
    }

    async fn add_session(
        &self,
        token_hash: &[u8; 32],
        username: &str,
        expires_at: Timestamp,
    ) -> Result<()> {
        done!(people::add_session(
            &self.inner,
            token_hash,
            username,
            expires_at
        ))
    }

    async fn session(&self, token_hash: &[u8; 32]) -> Result<Option<String>> {
        done!(people::session(&self.inner, token_hash))
    }

    async fn delete_session(&self, token_hash: &[u8; 32]) -> Result<()> {
        done!(people::delete_session(&self.inner, token_hash))
    }
}
