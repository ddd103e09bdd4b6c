//! Bundles: who holds one, and which are to be sent again. See [`crate::bundling`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rules::Timestamp;

use super::{
    change::{fence_sums, refunds},
    fault::Fail,
    lead,
    open::Inner,
    sql::Conn,
    value::{Value, values},
    waves,
};
use crate::{
    BundleKey, CampaignNo, Lead, NodeId, Wave, WaveState,
    bundling::{Known, Resend},
    codec,
};

/// Bundles that one statement names.
const CHUNK: usize = 64;

/// The claims of a bundle.
const OF_A_BUNDLE: &str = "campaign_no = ? AND wave = ? AND idx >= ? AND idx < ?";

fn of_a_bundle(bundle: &BundleKey) -> [Value; 4] {
    let end = i64::from(bundle.first_index) + i64::from(bundle.packets);
    values![bundle.campaign.0, bundle.wave, bundle.first_index, end]
}

/// `condition` for any of `count` bundles.
fn any_of(condition: &str, count: usize) -> String {
    vec![format!("({condition})"); count].join(" OR ")
}

/// Each once, and in the order of their keys, in which every writer takes their locks.
fn in_order(bundles: &[BundleKey]) -> Vec<BundleKey> {
    let each: BTreeSet<_> = bundles.iter().copied().collect();
    each.into_iter().collect()
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
    let each = in_order(bundles);
    let rows: Vec<Vec<Value>> = each
        .iter()
        .map(|b| {
            values![
                b.campaign.0,
                b.wave,
                b.first_index,
                b.packets,
                node.0.cast_signed(),
                until.micros()
            ]
            .into()
        })
        .collect();
    let mut tx = inner.begin().await?;
    let tail = tx
        .dialect()
        .upsert("campaign_no, wave, first_index", &["node", "held_until"]);
    let head = "INSERT INTO bundles (campaign_no, wave, first_index, packets, node, held_until)";
    tx.insert_rows(head, &rows, &tail).await?;
    let claimed = claimed(&mut tx, &each).await?;
    tx.commit().await?;
    let of = |bundle: &BundleKey| {
        let indices = claimed.get(&(bundle.campaign, bundle.wave));
        let end = bundle.first_index.saturating_add(bundle.packets);
        let range = bundle.first_index..end;
        indices.map_or_else(Vec::new, |all| all.range(range).copied().collect())
    };
    Ok(bundles.iter().map(of).collect())
}

/// The claimed indices of `bundles`, by campaign and wave.
async fn claimed(
    conn: &mut Conn,
    bundles: &[BundleKey],
) -> Result<BTreeMap<(CampaignNo, u32), BTreeSet<u32>>, Fail> {
    let mut claimed: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
    for chunk in bundles.chunks(CHUNK) {
        let any = any_of(OF_A_BUNDLE, chunk.len());
        let sql = format!("SELECT campaign_no, wave, idx FROM claims {{BY PRIMARY}} WHERE {any}");
        let values: Vec<Value> = chunk.iter().flat_map(of_a_bundle).collect();
        for row in conn.fetch_all(&sql, &values).await? {
            let wave = codec::small(row.int(1)?, "a claim's wave")?;
            let index = codec::small(row.int(2)?, "a claim's index")?;
            let of_wave = claimed.entry((CampaignNo(row.int(0)?), wave)).or_default();
            of_wave.insert(index);
        }
    }
    Ok(claimed)
}

/// See [`crate::Ledger::unhold`].
pub(super) async fn unhold(inner: &Inner, node: NodeId, bundles: &[BundleKey]) -> Result<(), Fail> {
    if bundles.is_empty() {
        return Ok(());
    }
    let mut tx = inner.begin().await?;
    for chunk in in_order(bundles).chunks(CHUNK) {
        let one = "campaign_no = ? AND wave = ? AND first_index = ?";
        let any = any_of(one, chunk.len());
        let sql =
            format!("UPDATE bundles SET node = NULL, held_until = NULL WHERE node = ? AND ({any})");
        let mut values = values![node.0.cast_signed()].to_vec();
        let keys = chunk
            .iter()
            .map(|b| values![b.campaign.0, b.wave, b.first_index]);
        values.extend(keys.flatten());
        tx.execute(&sql, &values).await?;
    }
    tx.commit().await?;
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
    let mut tx = inner.begin().await?;
    lead::check(&mut tx, lead).await?;
    let now = inner.now().micros();
    let rows: Vec<Vec<Value>> = in_order(bundles)
        .iter()
        .map(|b| values![b.campaign.0, b.wave, b.first_index, b.packets, now, 1_i64].into())
        .collect();
    let tail = tx
        .dialect()
        .upsert("campaign_no, wave, first_index", &["sent_at"]);
    let tail = format!("{tail}, resent = bundles.resent + 1");
    let head = "INSERT INTO bundles (campaign_no, wave, first_index, packets, sent_at, resent)";
    tx.insert_rows(head, &rows, &tail).await?;
    tx.commit().await?;
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
    let resend = Resend {
        now: inner.now(),
        first_delay_ms,
        regardless,
    };
    let mut snapshot = inner.long_snapshot().await?;
    let stranded = read_stranded(inner, &mut snapshot, campaign, resend, limit as usize).await?;
    snapshot.rollback().await?;
    Ok(stranded)
}

async fn read_stranded(
    inner: &Inner,
    snapshot: &mut Conn,
    campaign: CampaignNo,
    resend: Resend,
    limit: usize,
) -> Result<Vec<BundleKey>, Fail> {
    let (claims, _) = fence_sums(snapshot, campaign).await?;
    let mut open: Vec<Wave> = waves::of_campaign(snapshot, campaign).await?;
    open.retain(|wave| wave.state == WaveState::Open);
    let issued: u64 = open.iter().map(|wave| u64::from(wave.packets)).sum();
    if !refunds(snapshot, campaign).await?.is_empty() {
        inner.finished.forget(campaign);
        return Ok(Vec::new());
    }
    if claims == issued {
        return Ok(Vec::new());
    }
    let finished = inner.finished.of(campaign);
    let (mut found, mut newly_finished) = (Vec::new(), HashSet::new());
    'waves: for wave in &open {
        let known = known_bundles(snapshot, campaign, wave.number).await?;
        for chunk in resend.due(campaign, wave, &known, &finished).chunks(CHUNK) {
            let counts = counts(snapshot, chunk).await?;
            for (bundle, claimed) in chunk.iter().zip(counts) {
                if claimed == u64::from(bundle.packets) {
                    newly_finished.insert((bundle.wave, bundle.first_index));
                } else {
                    found.push(*bundle);
                }
                if found.len() >= limit {
                    break 'waves;
                }
            }
        }
    }
    inner.finished.add(campaign, newly_finished);
    Ok(found)
}

async fn known_bundles(
    conn: &mut Conn,
    campaign: CampaignNo,
    wave: u32,
) -> Result<HashMap<u32, Known>, Fail> {
    let sql = "SELECT first_index, held_until, sent_at, resent FROM bundles \
               WHERE campaign_no = ? AND wave = ?";
    let rows = conn.fetch_all(sql, &values![campaign.0, wave]).await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let first_index = codec::small(row.int(0)?, "a bundle's index")?;
        let one = Known {
            held_until: row.maybe_int(1)?.map(Timestamp::from_micros),
            sent_at: row.maybe_int(2)?.map(Timestamp::from_micros),
            resent: codec::small(row.int(3)?, "a bundle's sendings")?,
        };
        known.insert(first_index, one);
    }
    Ok(known)
}

/// How many packets of each bundle are claimed, in the same order.
async fn counts(conn: &mut Conn, bundles: &[BundleKey]) -> Result<Vec<u64>, Fail> {
    let one = |n| format!("SELECT {n}, count(*) FROM claims {{BY PRIMARY}} WHERE {OF_A_BUNDLE}");
    let each: Vec<_> = (0..bundles.len()).map(one).collect();
    let values: Vec<Value> = bundles.iter().flat_map(of_a_bundle).collect();
    let mut counts = vec![0; bundles.len()];
    for row in conn.fetch_all(&each.join(" UNION ALL "), &values).await? {
        let place: usize = codec::small(row.int(0)?, "a bundle's place")?;
        counts[place] = codec::count(row.int(1)?)?;
    }
    Ok(counts)
}

/// Unclaimed packets of bundles whose hold has not ended.
pub(super) async fn leased(
    conn: &mut Conn,
    campaign: CampaignNo,
    now: Timestamp,
) -> Result<u64, Fail> {
    let sql = "SELECT CAST(COALESCE(sum(b.packets - (SELECT count(*) FROM claims c \
               WHERE c.campaign_no = b.campaign_no AND c.wave = b.wave \
               AND c.idx >= b.first_index AND c.idx < b.first_index + b.packets)), 0) AS {INT}) \
               FROM bundles b WHERE b.campaign_no = ? AND b.held_until > ?";
    let row = conn
        .fetch_one(sql, &values![campaign.0, now.micros()])
        .await?;
    Ok(codec::count(row.int(0)?)?)
}
