//! Books of one instant: totals for the live page, and everything for the audit.

use rules::CampaignId;

use super::{
    bundles, campaigns, change,
    fault::Fail,
    open::Inner,
    sql::Conn,
    value::{Value, values},
    wins::{after, after_packet, packet},
};
use crate::{AuditClaim, AuditSnapshot, CampaignNo, Totals, audit::double_claims, codec};

/// Claims that one statement reads.
const PAGE: u32 = 16_384;

/// See [`crate::Ledger::totals`].
pub(super) async fn totals(inner: &Inner, campaign: CampaignNo) -> Result<Totals, Fail> {
    let mut snapshot = inner.snapshot().await?;
    let (claims, claimed) = change::fence_sums(&mut snapshot, campaign).await?;
    let refund = change::refunds(&mut snapshot, campaign).await?;
    let leased_packets = bundles::leased(&mut snapshot, campaign, inner.now()).await?;
    snapshot.rollback().await?;
    let refund = refund.first();
    Ok(Totals {
        claims,
        claimed,
        refunded_packets: refund.map_or(0, |r| r.packets),
        refunded: refund.map_or(rules::Fen::ZERO, |r| r.amount),
        leased_packets,
    })
}

/// See [`crate::Ledger::audit_snapshot`].
pub(super) async fn audit(inner: &Inner, id: CampaignId) -> Result<Option<AuditSnapshot>, Fail> {
    let mut snapshot = inner.long_snapshot().await?;
    let read = read(inner, &mut snapshot, id).await?;
    snapshot.rollback().await?;
    Ok(read)
}

async fn read(
    inner: &Inner,
    snapshot: &mut Conn,
    id: CampaignId,
) -> Result<Option<AuditSnapshot>, Fail> {
    let Some(campaign) = campaigns::read_by_id(snapshot, id).await? else {
        return Ok(None);
    };
    let no = campaign.no;
    let taken_at = inner.now();
    let claims = claims(snapshot, no).await?;
    let (fence_claims, fence_sum) = change::fence_sums(snapshot, no).await?;
    Ok(Some(AuditSnapshot {
        double_claims: double_claims(&claims),
        over_limit: over_limit(snapshot, no, campaign.win_limit.count).await?,
        refunds: change::refunds(snapshot, no).await?,
        taken_at,
        campaign,
        claims,
        fence_claims,
        fence_sum,
    }))
}

/// Every claim, by packet.
async fn claims(conn: &mut Conn, campaign: CampaignNo) -> Result<Vec<AuditClaim>, Fail> {
    let sql = concat!(
        "SELECT wave, idx, amount FROM claims WHERE ",
        after_packet!(),
        " ORDER BY wave, idx LIMIT ?"
    );
    let mut claims: Vec<AuditClaim> = Vec::new();
    loop {
        let last = claims.last().map(|claim| claim.packet);
        let mut values = after(campaign, last);
        values.push(Value::from(PAGE));
        let page = conn.fetch_all(sql, &values).await?;
        for row in &page {
            claims.push(AuditClaim {
                packet: packet(row, 0)?,
                amount: codec::amount(row.int(2)?)?,
            });
        }
        if page.len() < PAGE as usize {
            return Ok(claims);
        }
    }
}

/// (user, period) pairs with more wins than `limit`.
async fn over_limit(conn: &mut Conn, campaign: CampaignNo, limit: u32) -> Result<u64, Fail> {
    let sql = "SELECT count(*) FROM (SELECT user_id, period FROM claims WHERE campaign_no = ? \
               GROUP BY user_id, period HAVING count(*) > ?) AS over_limit";
    let row = conn.fetch_one(sql, &values![campaign.0, limit]).await?;
    Ok(codec::count(row.int(0)?)?)
}
