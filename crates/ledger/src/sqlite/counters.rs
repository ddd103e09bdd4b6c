//! Counts of grabs, second by second, and the gaps that dead nodes left.

use rules::Timestamp;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{fault::Fail, open::Inner};
use crate::{
    CampaignNo, Counts, Gap, NodeId, codec,
    counting::{Steps, first_second},
};

/// See [`crate::Ledger::begin_epoch`]. One process has the file, so every epoch that is still
/// there belongs to a node that died.
pub(super) async fn begin_epoch(inner: &Inner, node: NodeId) -> Result<(), Fail> {
    let now = inner.now().micros();
    let mut write = inner.writer.begin().await?;
    sqlx::query(
        "INSERT INTO gaps (from_at, to_at) SELECT counted_to, ?2 FROM epochs \
         WHERE node <> ?1 AND counted_to < ?2 ON CONFLICT DO NOTHING",
    )
    .bind(node.0.cast_signed())
    .bind(now)
    .execute(write.conn())
    .await?;
    sqlx::query("DELETE FROM epochs WHERE node <> ?")
        .bind(node.0.cast_signed())
        .execute(write.conn())
        .await?;
    sqlx::query("INSERT INTO epochs (node, counted_to) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(node.0.cast_signed())
        .bind(now)
        .execute(write.conn())
        .await?;
    write.commit(4).await?;
    Ok(())
}

/// See [`crate::Ledger::save_counts`].
pub(super) async fn save(
    inner: &Inner,
    node: NodeId,
    upto: Timestamp,
    counts: &[Counts],
) -> Result<(), Fail> {
    let mut write = inner.writer.begin().await?;
    let later = sqlx::query(
        "INSERT INTO epochs (counted_to, node) VALUES (?1, ?2) ON CONFLICT (node) \
         DO UPDATE SET counted_to = ?1 WHERE counted_to < ?1",
    )
    .bind(upto.micros())
    .bind(node.0.cast_signed())
    .execute(write.conn())
    .await?;
    if later.rows_affected() == 0 {
        // A repeat of what was committed although the node did not hear of it.
        return write.rollback().await;
    }
    for counted in counts {
        add(write.conn(), node, counted).await?;
    }
    // What the clock starts from after a restart.
    sqlx::query("UPDATE meta SET value = max(value, ?) WHERE key = 'time'")
        .bind(inner.now().micros())
        .execute(write.conn())
        .await?;
    write.commit(4).await?;
    Ok(())
}

async fn add(conn: &mut SqliteConnection, node: NodeId, counted: &Counts) -> Result<(), Fail> {
    let before: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT tally FROM counters WHERE campaign_no = ? AND second = ? AND node = ?",
    )
    .bind(counted.campaign.0)
    .bind(counted.second)
    .bind(node.0.cast_signed())
    .fetch_optional(&mut *conn)
    .await?;
    let mut tally = counted.tally.clone();
    if let Some(before) = before {
        tally.add(&codec::tally(&before)?);
    }
    sqlx::query(
        "INSERT INTO counters (campaign_no, second, node, tally) VALUES (?, ?, ?, ?) \
         ON CONFLICT DO UPDATE SET tally = excluded.tally",
    )
    .bind(counted.campaign.0)
    .bind(counted.second)
    .bind(node.0.cast_signed())
    .bind(codec::tally_to_column(&tally))
    .execute(conn)
    .await?;
    Ok(())
}

/// See [`crate::Ledger::end_epoch`].
pub(super) async fn end_epoch(inner: &Inner, node: NodeId) -> Result<(), Fail> {
    let mut write = inner.writer.begin().await?;
    sqlx::query("DELETE FROM epochs WHERE node = ?")
        .bind(node.0.cast_signed())
        .execute(write.conn())
        .await?;
    sqlx::query("UPDATE meta SET value = max(value, ?) WHERE key = 'time'")
        .bind(inner.now().micros())
        .execute(write.conn())
        .await?;
    write.commit(2).await?;
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
    let rows = sqlx::query(
        "SELECT second, tally FROM counters \
         WHERE campaign_no = ? AND second >= ? AND second < ? ORDER BY second",
    )
    .bind(campaign.0)
    .bind(first_second(from))
    .bind(first_second(to))
    .fetch_all(&mut *inner.scanner().await?)
    .await?;
    let mut steps = Steps::new(step_seconds);
    for row in rows {
        steps.add(row.try_get(0)?, &codec::tally(row.try_get(1)?)?);
    }
    Ok(steps.counts(campaign))
}

/// See [`crate::Ledger::gaps`].
pub(super) async fn gaps(inner: &Inner, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>, Fail> {
    let rows = sqlx::query(
        "SELECT from_at, to_at FROM gaps WHERE to_at > ? AND from_at < ? ORDER BY from_at, to_at",
    )
    .bind(from.micros())
    .bind(to.micros())
    .fetch_all(&mut *inner.reader().await?)
    .await?;
    let gap = |row: &SqliteRow| {
        Ok(Gap {
            from: Timestamp::from_micros(row.try_get(0)?),
            to: Timestamp::from_micros(row.try_get(1)?),
        })
    };
    rows.iter().map(gap).collect()
}
