//! Waves: planned, issuing, open.

use rules::Timestamp;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    campaigns::{PAGES_OF_A_CHANGE, next_version},
    fault::Fail,
    lead,
    open::Inner,
};
use crate::{CampaignNo, Lead, Wave, WaveState, codec};

/// The waves of a campaign by number.
pub(super) async fn of_campaign(
    conn: &mut SqliteConnection,
    no: CampaignNo,
) -> Result<Vec<Wave>, Fail> {
    let rows = sqlx::query(
        "SELECT number, tranche, first, packets, due_at, state, bundle_size, algorithm, digest, \
         opened_at, opening FROM waves WHERE campaign_no = ? ORDER BY number",
    )
    .bind(no.0)
    .fetch_all(conn)
    .await?;
    rows.iter().map(wave).collect()
}

fn wave(row: &SqliteRow) -> Result<Wave, Fail> {
    let number = |column: usize, what: &str| -> Result<u32, Fail> {
        Ok(codec::small(row.try_get(column)?, what)?)
    };
    let digest: Option<&[u8]> = row.try_get(8)?;
    let opened_at: Option<i64> = row.try_get(9)?;
    let opening: Option<i64> = row.try_get(10)?;
    Ok(Wave {
        number: number(0, "a wave's number")?,
        tranche: number(1, "a wave's tranche")?,
        offset: number(2, "a wave's offset")?,
        packets: number(3, "a wave's packets")?,
        due_at: Timestamp::from_micros(row.try_get(4)?),
        state: codec::state(row.try_get(5)?)?,
        bundle_size: number(6, "a bundle size")?,
        algorithm: number(7, "an algorithm")?,
        digest: digest
            .map(|d| codec::bytes32(d, "a wave's digest"))
            .transpose()?,
        opened_at: opened_at.map(Timestamp::from_micros),
        opening: opening
            .map(|o| codec::small(o, "a wave's opening"))
            .transpose()?,
    })
}

/// See [`crate::Ledger::begin_wave`].
pub(super) async fn begin(
    inner: &Inner,
    lead: Lead,
    no: CampaignNo,
    wave: &Wave,
) -> Result<(), Fail> {
    let mut write = inner.writer.begin().await?;
    lead::check(write.conn(), lead).await?;
    let begun = sqlx::query(
        "UPDATE waves SET state = ?, bundle_size = ?, algorithm = ?, digest = ? \
         WHERE campaign_no = ? AND number = ? AND state = ? \
         AND EXISTS (SELECT 1 FROM campaigns WHERE no = campaign_no \
         AND closed_at IS NULL AND paused_at IS NULL AND halted IS NULL)",
    )
    .bind(codec::state_to_column(WaveState::Issuing))
    .bind(i64::from(wave.bundle_size))
    .bind(i64::from(wave.algorithm))
    .bind(wave.digest.as_ref().map(|digest| &digest[..]))
    .bind(no.0)
    .bind(i64::from(wave.number))
    .bind(codec::state_to_column(WaveState::Planned))
    .execute(write.conn())
    .await?;
    if begun.rows_affected() == 0 {
        return write.rollback().await;
    }
    let version = next_version(write.conn()).await?;
    sqlx::query("UPDATE campaigns SET version = ? WHERE no = ?")
        .bind(version)
        .bind(no.0)
        .execute(write.conn())
        .await?;
    write.commit(PAGES_OF_A_CHANGE).await?;
    Ok(())
}

/// See [`crate::Ledger::open_wave`].
pub(super) async fn open(
    inner: &Inner,
    lead: Lead,
    no: CampaignNo,
    wave: u32,
) -> Result<bool, Fail> {
    let mut write = inner.writer.begin().await?;
    lead::check(write.conn(), lead).await?;
    let opened = sqlx::query(
        "UPDATE waves SET state = ?, opened_at = ?, \
         opening = (SELECT openings + 1 FROM campaigns WHERE no = campaign_no) \
         WHERE campaign_no = ? AND number = ? AND state = ? \
         AND EXISTS (SELECT 1 FROM campaigns WHERE no = campaign_no \
         AND closed_at IS NULL AND paused_at IS NULL AND halted IS NULL)",
    )
    .bind(codec::state_to_column(WaveState::Open))
    .bind(inner.now().micros())
    .bind(no.0)
    .bind(i64::from(wave))
    .bind(codec::state_to_column(WaveState::Issuing))
    .execute(write.conn())
    .await?;
    if opened.rows_affected() == 0 {
        write.rollback().await?;
        return Ok(false);
    }
    let version = next_version(write.conn()).await?;
    sqlx::query("UPDATE campaigns SET version = ?, openings = openings + 1 WHERE no = ?")
        .bind(version)
        .bind(no.0)
        .execute(write.conn())
        .await?;
    write.commit(PAGES_OF_A_CHANGE).await?;
    Ok(true)
}
