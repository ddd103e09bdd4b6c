//! Counts of grabs, second by second, and the gaps that dead nodes left.
//!
//! Several nodes count at once. An epoch that was not ended is a gap once it has not counted for
//! [`LOST_AFTER_MICROS`]; a node that then counts on was only slow, kept its counts, and takes
//! its gap back. The epoch's row is kept for that: so a repeated save is known as one even then.

use rules::Timestamp;

use super::{
    fault::Fail,
    open::Inner,
    sql::Conn,
    value::{Value, values},
};
use crate::{
    CampaignNo, Counts, Gap, NodeId, codec,
    counting::{Steps, first_second},
};

/// Ledger time after which a node that has not counted has died. Living nodes save each second.
const LOST_AFTER_MICROS: i64 = 10_000_000;

/// Seconds that one statement reads before they are added to.
const CHUNK: usize = 32;

/// Rows of one page of counts.
const PAGE: u32 = 10_000;

fn lost_before(now: Timestamp) -> i64 {
    now.micros().saturating_sub(LOST_AFTER_MICROS)
}

/// Notes which other nodes have died. Hardly ever is there any: so it looks without a lock.
async fn note_lost(inner: &Inner, node: NodeId) -> Result<(), Fail> {
    let now = inner.now();
    let sql = "SELECT node FROM epochs WHERE lost_at IS NULL AND counted_to < ? AND node <> ? \
               ORDER BY node";
    let values = values![lost_before(now), node.0.cast_signed()];
    let lost = inner.reader().await?.fetch_all(sql, &values).await?;
    if lost.is_empty() {
        return Ok(());
    }
    let mut tx = inner.begin().await?;
    for row in lost {
        let sql = "UPDATE epochs SET lost_at = ? \
                   WHERE node = ? AND lost_at IS NULL AND counted_to < ?";
        let values = values![now.micros(), row.int(0)?, lost_before(now)];
        tx.execute(sql, &values).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// See [`crate::Ledger::begin_epoch`].
pub(super) async fn begin_epoch(inner: &Inner, node: NodeId) -> Result<(), Fail> {
    note_lost(inner, node).await?;
    let mut tx = inner.begin().await?;
    begin_from(&mut tx, node, inner.now().micros()).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins an epoch that counts from `from`, unless the node has one.
async fn begin_from(conn: &mut Conn, node: NodeId, from: i64) -> Result<(), Fail> {
    let tail = conn.dialect().passing_over("node");
    let row = values![node.0.cast_signed(), from].to_vec();
    conn.insert_rows("INSERT INTO epochs (node, counted_to)", &[row], &tail)
        .await?;
    Ok(())
}

/// See [`crate::Ledger::save_counts`].
pub(super) async fn save(
    inner: &Inner,
    node: NodeId,
    upto: Timestamp,
    counts: &[Counts],
) -> Result<(), Fail> {
    note_lost(inner, node).await?;
    let mut tx = inner.begin().await?;
    if counted_to(&mut tx, node).await? >= upto.micros() {
        // A repeat of what was committed although the node did not hear of it.
        return tx.rollback().await;
    }
    let sql = "UPDATE epochs SET counted_to = ?, lost_at = NULL WHERE node = ?";
    let values = values![upto.micros(), node.0.cast_signed()];
    tx.execute(sql, &values).await?;
    for chunk in counts.chunks(CHUNK) {
        add(&mut tx, node, chunk).await?;
    }
    note_time(inner, &mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Locks the node's epoch, begun here where there is none, and tells how far it has counted.
async fn counted_to(conn: &mut Conn, node: NodeId) -> Result<i64, Fail> {
    let sql = "SELECT counted_to FROM epochs WHERE node = ? FOR UPDATE";
    let values = values![node.0.cast_signed()];
    if let Some(row) = conn.fetch_optional(sql, &values).await? {
        return row.int(0);
    }
    begin_from(conn, node, i64::MIN).await?;
    conn.fetch_one(sql, &values).await?.int(0)
}

/// Adds to what is there of the same seconds. Only the node itself writes its rows, under the
/// lock of its epoch.
async fn add(conn: &mut Conn, node: NodeId, counts: &[Counts]) -> Result<(), Fail> {
    let node = node.0.cast_signed();
    let place = "(campaign_no = ? AND second = ? AND node = ?)";
    let sql = format!(
        "SELECT campaign_no, second, tally FROM counters WHERE {}",
        vec![place; counts.len()].join(" OR ")
    );
    let places: Vec<Value> = counts
        .iter()
        .flat_map(|c| values![c.campaign.0, c.second, node])
        .collect();
    let mut sums: Vec<Counts> = Vec::with_capacity(counts.len());
    for row in conn.fetch_all(&sql, &places).await? {
        sums.push(Counts {
            campaign: CampaignNo(row.int(0)?),
            second: row.int(1)?,
            tally: codec::tally(row.bytes(2)?)?,
        });
    }
    for counted in counts {
        let place = (counted.campaign, counted.second);
        match sums.iter_mut().find(|s| (s.campaign, s.second) == place) {
            Some(sum) => sum.tally.add(&counted.tally),
            None => sums.push(counted.clone()),
        }
    }
    let rows: Vec<_> = sums
        .iter()
        .map(|sum| {
            let tally = codec::tally_to_column(&sum.tally);
            values![sum.campaign.0, sum.second, node, &tally[..]].to_vec()
        })
        .collect();
    let tail = conn
        .dialect()
        .upsert("campaign_no, second, node", &["tally"]);
    let head = "INSERT INTO counters (campaign_no, second, node, tally)";
    conn.insert_rows(head, &rows, &tail).await?;
    Ok(())
}

/// Keeps what the clock starts from where the database's own has gone back.
async fn note_time(inner: &Inner, conn: &mut Conn) -> Result<(), Fail> {
    let now = inner.now().micros();
    let sql = "UPDATE meta SET value = ? WHERE name = 'time' AND value < ?";
    conn.execute(sql, &values![now, now]).await?;
    Ok(())
}

/// See [`crate::Ledger::end_epoch`].
pub(super) async fn end_epoch(inner: &Inner, node: NodeId) -> Result<(), Fail> {
    let mut tx = inner.begin().await?;
    let sql = "DELETE FROM epochs WHERE node = ?";
    tx.execute(sql, &values![node.0.cast_signed()]).await?;
    note_time(inner, &mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// See [`crate::Ledger::counts`].
pub(super) async fn read(
    inner: &Inner,
    campaign: CampaignNo,
    from: Timestamp,
    to: Timestamp,
    step_seconds: u32,
) -> Result<Vec<Counts>, Fail> {
    // Both conditions say the same; each database uses the one that it understands.
    let sql = "SELECT second, node, tally FROM counters WHERE campaign_no = ? AND second < ? \
               AND (second, node) > (?, ?) AND (second > ? OR (second = ? AND node > ?)) \
               ORDER BY second, node LIMIT ?";
    let mut steps = Steps::new(step_seconds);
    let (mut second, mut node) = (first_second(from).saturating_sub(1), i64::MAX);
    let mut reader = inner.scanner().await?;
    loop {
        let to = first_second(to);
        let values = values![campaign.0, to, second, node, second, second, node, PAGE];
        let page = reader.fetch_all(sql, &values).await?;
        for row in &page {
            (second, node) = (row.int(0)?, row.int(1)?);
            steps.add(second, &codec::tally(row.bytes(2)?)?);
        }
        if page.len() < PAGE as usize {
            return Ok(steps.counts(campaign));
        }
    }
}

/// See [`crate::Ledger::gaps`]. A node whose death nobody has noted yet is missing until now.
pub(super) async fn gaps(inner: &Inner, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>, Fail> {
    let now = inner.now();
    let sql = "SELECT DISTINCT counted_to, COALESCE(lost_at, ?) FROM epochs \
               WHERE (lost_at IS NOT NULL OR counted_to < ?) \
               AND counted_to < ? AND COALESCE(lost_at, ?) > ? ORDER BY 1, 2";
    let values = values![
        now.micros(),
        lost_before(now),
        to.micros(),
        now.micros(),
        from.micros()
    ];
    let rows = inner.reader().await?.fetch_all(sql, &values).await?;
    let mut gaps = Vec::with_capacity(rows.len());
    for row in rows {
        gaps.push(Gap {
            from: Timestamp::from_micros(row.int(0)?),
            to: Timestamp::from_micros(row.int(1)?),
        });
    }
    Ok(gaps)
}
