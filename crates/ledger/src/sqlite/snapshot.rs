//! Books of one instant: totals for the live page, and everything for the audit.

use rules::CampaignId;
use sqlx::SqliteConnection;

use super::{bundles, campaigns, change, fault::Fail, open::Inner, packed};
use crate::{AuditSnapshot, CampaignNo, Totals, audit::double_claims, codec};

/// See [`crate::Ledger::totals`].
pub(super) async fn totals(inner: &Inner, campaign: CampaignNo) -> Result<Totals, Fail> {
    let mut snapshot = inner.snapshot().await?;
    let (claims, claimed) = change::fence_sums(&mut snapshot, campaign).await?;
    let refund = change::refunds(&mut snapshot, campaign).await?;
    let refund = refund.first();
    Ok(Totals {
        claims,
        claimed,
        refunded_packets: refund.map_or(0, |r| r.packets),
        refunded: refund.map_or(rules::Fen::ZERO, |r| r.amount),
        leased_packets: bundles::leased(&mut snapshot, campaign, inner.now()).await?,
    })
}

/// See [`crate::Ledger::audit_snapshot`].
pub(super) async fn audit(inner: &Inner, id: CampaignId) -> Result<Option<AuditSnapshot>, Fail> {
    let mut snapshot = inner.long_snapshot().await?;
    let Some(campaign) = campaigns::read_by_id(&mut snapshot, id).await? else {
        return Ok(None);
    };
    let no = campaign.no;
    let claims = packed::claims(&mut snapshot, no).await?;
    let (fence_claims, fence_sum) = change::fence_sums(&mut snapshot, no).await?;
    Ok(Some(AuditSnapshot {
        double_claims: double_claims(&claims),
        over_limit: over_limit(&mut snapshot, no, campaign.win_limit.count).await?,
        refunds: change::refunds(&mut snapshot, no).await?,
        taken_at: inner.now(),
        campaign,
        claims,
        fence_claims,
        fence_sum,
    }))
}

async fn over_limit(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
    limit: u32,
) -> Result<u64, Fail> {
    let over: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM claims WHERE campaign_no = ? \
         GROUP BY user, period HAVING count(*) > ?)",
    )
    .bind(campaign.0)
    .bind(i64::from(limit))
    .fetch_one(conn)
    .await?;
    Ok(codec::count(over)?)
}
