//! Bundles: who holds one, and which are to be sent again.
//!
//! These rows are hints for the reconciler. No promise rests on them: a bundle too many is
//! harmless, because the keys of the claims decide.

use std::collections::{HashMap, HashSet};

use rules::Timestamp;
use sqlx::{Row as _, SqliteConnection};

use super::{change::fence_sums, fault::Fail, lead, open::Inner, waves};
use crate::{
    BundleKey, CampaignNo, Lead, NodeId, Wave, WaveState,
    bundling::{Known, Resend},
    codec,
};

/// `[[campaign, wave, first index, packets], …]`, so that one statement takes all bundles.
fn keys(bundles: &[BundleKey]) -> Result<String, Fail> {
    let rows: Vec<_> = bundles
        .iter()
        .map(|b| (b.campaign.0, b.wave, b.first_index, b.packets))
        .collect();
    Ok(codec::json(&rows)?)
}

fn pages(bundles: &[BundleKey]) -> u64 {
    2 + bundles.len() as u64 / 8
}

/// See [`crate::Ledger::hold`].
pub(super) async fn hold(
    inner: &Inner,
    node: NodeId,
    until: Timestamp,
    bundles: &[BundleKey],
) -> Result<Vec<Vec<u32>>, Fail> {
    if bundles.is_empty() {
        return Ok(Vec::new());
    }
    let keys = keys(bundles)?;
    let mut write = inner.writer.begin().await?;
    sqlx::query(
        "INSERT INTO bundles (campaign_no, wave, first_index, packets, node, held_until) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?2, ?3 FROM json_each(?1) \
         WHERE true \
         ON CONFLICT DO UPDATE SET node = excluded.node, held_until = excluded.held_until",
    )
    .bind(&keys)
    .bind(node.0.cast_signed())
    .bind(until.micros())
    .execute(write.conn())
    .await?;
    // Read in the same transaction: no claim through another node's lease is under way.
    let rows = sqlx::query(
        "SELECT k.key, c.idx FROM json_each(?) AS k CROSS JOIN claims AS c \
         WHERE c.campaign_no = k.value ->> 0 AND c.wave = k.value ->> 1 \
         AND c.idx >= k.value ->> 2 AND c.idx < (k.value ->> 2) + (k.value ->> 3) \
         ORDER BY k.key, c.idx",
    )
    .bind(&keys)
    .fetch_all(write.conn())
    .await?;
    write.commit(pages(bundles)).await?;
    let mut claimed = vec![Vec::new(); bundles.len()];
    for row in rows {
        let place: usize = codec::small(row.try_get(0)?, "a bundle's place")?;
        claimed[place].push(codec::small(row.try_get(1)?, "a packet's index")?);
    }
    Ok(claimed)
}

/// See [`crate::Ledger::unhold`].
pub(super) async fn unhold(inner: &Inner, node: NodeId, bundles: &[BundleKey]) -> Result<(), Fail> {
    if bundles.is_empty() {
        return Ok(());
    }
    let mut write = inner.writer.begin().await?;
    sqlx::query(
        "UPDATE bundles SET node = NULL, held_until = NULL \
         WHERE node = ? AND (campaign_no, wave, first_index) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
    )
    .bind(node.0.cast_signed())
    .bind(keys(bundles)?)
    .execute(write.conn())
    .await?;
    write.commit(pages(bundles)).await?;
    Ok(())
}

/// See [`crate::Ledger::mark_sent`].
pub(super) async fn mark_sent(
    inner: &Inner,
    lead: Lead,
    bundles: &[BundleKey],
) -> Result<(), Fail> {
    if bundles.is_empty() {
        return Ok(());
    }
    let mut write = inner.writer.begin().await?;
    lead::check(write.conn(), lead).await?;
    sqlx::query(
        "INSERT INTO bundles (campaign_no, wave, first_index, packets, sent_at, resent) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?2, 1 FROM json_each(?1) \
         WHERE true \
         ON CONFLICT DO UPDATE SET sent_at = excluded.sent_at, resent = resent + 1",
    )
    .bind(keys(bundles)?)
    .bind(inner.now().micros())
    .execute(write.conn())
    .await?;
    write.commit(pages(bundles)).await?;
    Ok(())
}

/// See [`crate::Ledger::stranded`].
pub(super) async fn stranded(
    inner: &Inner,
    campaign: CampaignNo,
    first_delay_ms: i64,
    regardless: bool,
    limit: u32,
) -> Result<Vec<BundleKey>, Fail> {
    let mut snapshot = inner.long_snapshot().await?;
    let (claims, _) = fence_sums(&mut snapshot, campaign).await?;
    let open: Vec<Wave> = waves::of_campaign(&mut snapshot, campaign)
        .await?
        .into_iter()
        .filter(|wave| wave.state == WaveState::Open)
        .collect();
    let issued: u64 = open.iter().map(|wave| u64::from(wave.packets)).sum();
    let closed = refunded(&mut snapshot, campaign).await?;
    if claims == issued || closed {
        return Ok(Vec::new());
    }
    let resend = Resend {
        now: inner.now(),
        first_delay_ms,
        regardless,
    };
    let finished = inner.finished.of(campaign);
    let (mut found, mut newly_finished) = (Vec::new(), HashSet::new());
    'waves: for wave in &open {
        let known = known_bundles(&mut snapshot, campaign, wave.number).await?;
        for bundle in resend.due(campaign, wave, &known, &finished) {
            if claimed_of(&mut snapshot, bundle).await? == u64::from(bundle.packets) {
                newly_finished.insert((bundle.wave, bundle.first_index));
                continue;
            }
            found.push(bundle);
            if found.len() >= limit as usize {
                break 'waves;
            }
        }
    }
    inner.finished.add(campaign, newly_finished);
    Ok(found)
}

async fn refunded(conn: &mut SqliteConnection, campaign: CampaignNo) -> Result<bool, Fail> {
    let sql = "SELECT EXISTS (SELECT 1 FROM refunds WHERE campaign_no = ?)";
    Ok(sqlx::query_scalar(sql)
        .bind(campaign.0)
        .fetch_one(conn)
        .await?)
}

async fn known_bundles(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
    wave: u32,
) -> Result<HashMap<u32, Known>, Fail> {
    let rows = sqlx::query(
        "SELECT first_index, held_until, sent_at, resent FROM bundles \
         WHERE campaign_no = ? AND wave = ?",
    )
    .bind(campaign.0)
    .bind(i64::from(wave))
    .fetch_all(conn)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let held_until: Option<i64> = row.try_get(1)?;
        let sent_at: Option<i64> = row.try_get(2)?;
        known.insert(
            codec::small(row.try_get(0)?, "a bundle's index")?,
            Known {
                held_until: held_until.map(Timestamp::from_micros),
                sent_at: sent_at.map(Timestamp::from_micros),
                resent: codec::small(row.try_get(3)?, "a bundle's sendings")?,
            },
        );
    }
    Ok(known)
}

/// How many packets of a bundle are claimed.
async fn claimed_of(conn: &mut SqliteConnection, bundle: BundleKey) -> Result<u64, Fail> {
    let claimed: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM claims WHERE campaign_no = ? AND wave = ? \
         AND idx >= ? AND idx < ?",
    )
    .bind(bundle.campaign.0)
    .bind(i64::from(bundle.wave))
    .bind(i64::from(bundle.first_index))
    .bind(i64::from(bundle.first_index) + i64::from(bundle.packets))
    .fetch_one(conn)
    .await?;
    Ok(codec::count(claimed)?)
}

/// Unclaimed packets of bundles whose hold has not ended.
pub(super) async fn leased(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
    now: Timestamp,
) -> Result<u64, Fail> {
    let leased: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(b.packets - (SELECT count(*) FROM claims AS c \
         WHERE c.campaign_no = b.campaign_no AND c.wave = b.wave \
         AND c.idx >= b.first_index AND c.idx < b.first_index + b.packets)), 0) \
         FROM bundles AS b WHERE b.campaign_no = ? AND b.held_until > ?",
    )
    .bind(campaign.0)
    .bind(now.micros())
    .fetch_one(conn)
    .await?;
    Ok(codec::count(leased)?)
}
