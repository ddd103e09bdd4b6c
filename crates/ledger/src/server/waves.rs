//! Waves: planned, issuing, open.
//!
//! Locks are taken in the order leader, campaign, version, as everywhere.

use std::collections::HashMap;

use rules::Timestamp;

use super::{
    campaigns::set_version,
    fault::Fail,
    lead,
    open::Inner,
    sql::{Conn, Tx},
    value::{Row, Value, values},
};
use crate::{CampaignNo, Lead, Wave, WaveState, codec};

/// The waves of a campaign by number.
pub(super) async fn of_campaign(conn: &mut Conn, no: CampaignNo) -> Result<Vec<Wave>, Fail> {
    let mut waves = of_campaigns(conn, &[Value::from(no.0)]).await?;
    Ok(waves.remove(&no).unwrap_or_default())
}

/// The waves of each of some campaigns, given by number.
pub(super) async fn of_campaigns(
    conn: &mut Conn,
    numbers: &[Value],
) -> Result<HashMap<CampaignNo, Vec<Wave>>, Fail> {
    let sql = "SELECT campaign_no, number, tranche, first, packets, due_at, state, bundle_size, \
               algorithm, digest, opened_at, opening FROM waves WHERE campaign_no {IN} \
               ORDER BY campaign_no, number";
    let mut waves: HashMap<CampaignNo, Vec<Wave>> = HashMap::new();
    for row in conn.fetch_in(sql, &[], numbers).await? {
        let of = waves.entry(CampaignNo(row.int(0)?)).or_default();
        of.push(wave(&row)?);
    }
    Ok(waves)
}

fn wave(row: &Row) -> Result<Wave, Fail> {
    let number = |column: usize, what: &str| -> Result<u32, Fail> {
        Ok(codec::small(row.int(column)?, what)?)
    };
    let digest = row.maybe_bytes(9)?;
    let opening = row.maybe_int(11)?;
    Ok(Wave {
        number: number(1, "a wave's number")?,
        tranche: number(2, "a wave's tranche")?,
        offset: number(3, "a wave's offset")?,
        packets: number(4, "a wave's packets")?,
        due_at: Timestamp::from_micros(row.int(5)?),
        state: codec::state(row.int(6)?)?,
        bundle_size: number(7, "a bundle size")?,
        algorithm: number(8, "an algorithm")?,
        digest: digest
            .map(|d| codec::bytes32(d, "a wave's digest"))
            .transpose()?,
        opened_at: row.maybe_int(10)?.map(Timestamp::from_micros),
        opening: opening
            .map(|o| codec::small(o, "a wave's opening"))
            .transpose()?,
    })
}

/// Locks a campaign whose waves may be issued and gives its openings; `None` when it is closed,
/// paused or halted, or not there.
async fn issuable(conn: &mut Conn, no: CampaignNo) -> Result<Option<i64>, Fail> {
    let sql = "SELECT openings, closed_at, paused_at, halted FROM campaigns WHERE no = ? \
               FOR UPDATE";
    let Some(row) = conn.fetch_optional(sql, &values![no.0]).await? else {
        return Ok(None);
    };
    let stopped =
        row.maybe_int(1)?.is_some() || row.maybe_int(2)?.is_some() || row.maybe_text(3)?.is_some();
    Ok(if stopped { None } else { Some(row.int(0)?) })
}

/// The transaction of a leader's write, with the campaign locked and its openings; `None` when
/// nothing of it may be issued now.
async fn begin_issuing(
    inner: &Inner,
    lead: Lead,
    no: CampaignNo,
) -> Result<Option<(Tx, i64)>, Fail> {
    let mut tx = inner.begin().await?;
    lead::check(&mut tx, lead).await?;
    match issuable(&mut tx, no).await? {
        Some(openings) => Ok(Some((tx, openings))),
        None => {
            tx.rollback().await?;
            Ok(None)
        }
    }
}

/// See [`crate::Ledger::begin_wave`].
pub(super) async fn begin(
    inner: &Inner,
    lead: Lead,
    no: CampaignNo,
    wave: &Wave,
) -> Result<(), Fail> {
    let Some((mut tx, _)) = begin_issuing(inner, lead, no).await? else {
        return Ok(());
    };
    let begun = tx
        .execute(
            "UPDATE waves SET state = ?, bundle_size = ?, algorithm = ?, digest = ? \
             WHERE campaign_no = ? AND number = ? AND state = ?",
            &values![
                codec::state_to_column(WaveState::Issuing),
                wave.bundle_size,
                wave.algorithm,
                wave.digest.as_ref(),
                no.0,
                wave.number,
                codec::state_to_column(WaveState::Planned),
            ],
        )
        .await?;
    if begun == 0 {
        return tx.rollback().await;
    }
    set_version(&mut tx, no).await?;
    tx.commit().await?;
    Ok(())
}

/// See [`crate::Ledger::open_wave`].
pub(super) async fn open(
    inner: &Inner,
    lead: Lead,
    no: CampaignNo,
    wave: u32,
) -> Result<bool, Fail> {
    let Some((mut tx, openings)) = begin_issuing(inner, lead, no).await? else {
        return Ok(false);
    };
    let opened = tx
        .execute(
            "UPDATE waves SET state = ?, opened_at = ?, opening = ? \
             WHERE campaign_no = ? AND number = ? AND state = ?",
            &values![
                codec::state_to_column(WaveState::Open),
                inner.now().micros(),
                openings + 1,
                no.0,
                wave,
                codec::state_to_column(WaveState::Issuing),
            ],
        )
        .await?;
    if opened == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    let sql = "UPDATE campaigns SET openings = ? WHERE no = ?";
    tx.execute(sql, &values![openings + 1, no.0]).await?;
    set_version(&mut tx, no).await?;
    tx.commit().await?;
    Ok(true)
}
