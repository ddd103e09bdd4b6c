//! Changes that an organiser, or an audit, makes to a campaign: patch, pause, resume, top-up,
//! close, halt. Each is one transaction that locks the campaign's row first and sets its version
//! last; the close locks every fence slot in between, in their order.

use rules::{CampaignId, Fen, Timestamp, Tranche};

use super::{
    campaigns::{
        done_before, insert_tranche, insert_waves, next_version, remember, set_version, tranches,
    },
    fault::Fail,
    open::Inner,
    sql::{Conn, Tx},
    value::{Row, values},
};
use crate::{
    CampaignNo, CampaignPatch, Change, Idempotency, Once, Refund, SLOTS, TopUpRefused, WaveState,
    codec,
    issue::{self, Closes},
};

/// Waves whose bundles are removed in one transaction.
const WAVES_AT_ONCE: usize = 64;

/// What a change must know of the campaign first.
struct Head {
    no: CampaignNo,
    paused_at: Option<Timestamp>,
    closed: bool,
    halted: bool,
    ends_at: Timestamp,
    version: i64,
}

/// Locks the campaign until the transaction ends.
async fn lock(conn: &mut Conn, id: CampaignId) -> Result<Option<Head>, Fail> {
    let sql = "SELECT no, paused_at, closed_at, halted, ends_at, version FROM campaigns \
               WHERE id = ? FOR UPDATE";
    let row = conn.fetch_optional(sql, &values![id.0.as_bytes()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Head {
        no: CampaignNo(row.int(0)?),
        paused_at: row.maybe_int(1)?.map(Timestamp::from_micros),
        closed: row.maybe_int(2)?.is_some(),
        halted: row.maybe_text(3)?.is_some(),
        ends_at: Timestamp::from_micros(row.int(4)?),
        version: row.int(5)?,
    }))
}

/// A transaction in which a campaign that is not closed is locked, or why there is none.
async fn begin(inner: &Inner, id: CampaignId) -> Result<Result<(Tx, Head), Change>, Fail> {
    let mut tx = inner.begin().await?;
    let change = match lock(&mut tx, id).await? {
        Some(head) if !head.closed => return Ok(Ok((tx, head))),
        Some(_) => Change::Ended,
        None => Change::NotFound,
    };
    tx.rollback().await?;
    Ok(Err(change))
}

/// Sets the version and commits.
async fn done(mut tx: Tx, no: CampaignNo) -> Result<Change, Fail> {
    set_version(&mut tx, no).await?;
    tx.commit().await?;
    Ok(Change::Done)
}

async fn unchanged(tx: Tx) -> Result<Change, Fail> {
    tx.rollback().await?;
    Ok(Change::Unchanged)
}

/// See [`crate::Ledger::patch_campaign`].
pub(super) async fn patch(
    inner: &Inner,
    id: CampaignId,
    patch: &CampaignPatch,
) -> Result<Change, Fail> {
    let rules = patch.rules.as_ref().map(codec::json).transpose()?;
    let (mut tx, head) = match begin(inner, id).await? {
        Ok(begun) => begun,
        Err(change) => return Ok(change),
    };
    if patch.version.is_some_and(|version| version != head.version) {
        tx.rollback().await?;
        return Ok(Change::Overtaken);
    }
    let sql = "SELECT title, ends_at, rules FROM campaigns WHERE no = ?";
    let before = tx.fetch_one(sql, &values![head.no.0]).await?;
    let title = patch.title.as_deref().unwrap_or(before.text(0)?);
    let ends_at = patch.ends_at.map_or(before.int(1)?, Timestamp::micros);
    let rules = rules.as_deref().unwrap_or(before.text(2)?);
    if (title, ends_at, rules) == (before.text(0)?, before.int(1)?, before.text(2)?) {
        return unchanged(tx).await;
    }
    let sql = "UPDATE campaigns SET title = ?, ends_at = ?, rules = ? WHERE no = ?";
    tx.execute(sql, &values![title, ends_at, rules, head.no.0])
        .await?;
    done(tx, head.no).await
}

/// See [`crate::Ledger::pause_campaign`].
pub(super) async fn pause(inner: &Inner, id: CampaignId) -> Result<Change, Fail> {
    let (mut tx, head) = match begin(inner, id).await? {
        Ok(begun) => begun,
        Err(change) => return Ok(change),
    };
    if head.paused_at.is_some() {
        return unchanged(tx).await;
    }
    let sql = "UPDATE campaigns SET paused_at = ? WHERE no = ?";
    tx.execute(sql, &values![inner.now().micros(), head.no.0])
        .await?;
    done(tx, head.no).await
}

/// See [`crate::Ledger::resume_campaign`].
pub(super) async fn resume(inner: &Inner, id: CampaignId) -> Result<Change, Fail> {
    let (mut tx, head) = match begin(inner, id).await? {
        Ok(begun) => begun,
        Err(change) => return Ok(change),
    };
    let Some(paused_at) = head.paused_at else {
        return unchanged(tx).await;
    };
    let pause_micros = issue::pause_micros(paused_at, inner.now());
    let planned = codec::state_to_column(WaveState::Planned);
    let sql = "UPDATE waves SET due_at = due_at + ? WHERE campaign_no = ? AND state = ?";
    tx.execute(sql, &values![pause_micros, head.no.0, planned])
        .await?;
    let sql = "UPDATE campaigns SET paused_at = NULL, ends_at = ends_at + ? WHERE no = ?";
    tx.execute(sql, &values![pause_micros, head.no.0]).await?;
    done(tx, head.no).await
}

/// See [`crate::Ledger::top_up`].
pub(super) async fn top_up(
    inner: &Inner,
    id: CampaignId,
    tranche: &Tranche,
    once: &Idempotency,
) -> Result<Result<Once, TopUpRefused>, Fail> {
    let mut tx = inner.begin().await?;
    let head = lock(&mut tx, id).await?;
    // Before the key is looked for: of calls with one key, the second sees the first.
    let version = next_version(&mut tx).await?;
    if let Some(before) = done_before(&mut tx, once).await? {
        tx.rollback().await?;
        return Ok(Ok(before));
    }
    let head = match head {
        Some(head) if !head.closed => head,
        other => {
            tx.rollback().await?;
            return Ok(Err(match other {
                Some(_) => TopUpRefused::Ended,
                None => TopUpRefused::NotFound,
            }));
        }
    };
    let now = inner.now();
    let tranches = tranches(&mut tx, head.no).await?;
    let sql = "SELECT max(number) FROM waves WHERE campaign_no = ?";
    let last = tx.fetch_one(sql, &values![head.no.0]).await?.int(0)?;
    let added = tranche.packets;
    let top_up = match issue::top_up(tranches, tranche.clone(), last, head.paused_at, now)? {
        Ok(top_up) => top_up,
        Err(refusal) => {
            tx.rollback().await?;
            return Ok(Err(TopUpRefused::Limit(refusal)));
        }
    };
    insert_tranche(&mut tx, head.no, &top_up.tranche).await?;
    insert_waves(&mut tx, head.no, &[top_up.wave]).await?;
    let budget = codec::amount_to_column(top_up.budget);
    let sql = "UPDATE campaigns SET packets = packets + ?, budget = ?, version = ? WHERE no = ?";
    tx.execute(sql, &values![added, budget, version, head.no.0])
        .await?;
    remember(&mut tx, once, id, now).await?;
    tx.commit().await?;
    Ok(Ok(Once::Done(id)))
}

/// See [`crate::Ledger::close_campaign`] and [`crate::Ledger::close_ended_campaign`].
pub(super) async fn close(
    inner: &Inner,
    id: CampaignId,
    closes: Closes,
) -> Result<Option<Refund>, Fail> {
    let mut tx = inner.begin().await?;
    let Some(head) = lock(&mut tx, id).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    if let Some(refund) = refunds(&mut tx, head.no).await?.first() {
        tx.rollback().await?;
        return Ok(Some(*refund));
    }
    if !closes.is_meant_for(head.ends_at, head.halted, inner.now()) {
        tx.rollback().await?;
        return Ok(None);
    }
    // One after another in their order, as claims of several campaigns take them: whatever a
    // claim has begun is committed or gone then, and none begins before this is committed.
    let sql = "SELECT slot FROM fence WHERE campaign_no = ? ORDER BY slot FOR UPDATE";
    let slots = tx.fetch_all(sql, &values![head.no.0]).await?;
    assert_eq!(slots.len(), usize::from(SLOTS), "a fence has its slots");
    let sql = "UPDATE fence SET closed = 1 WHERE campaign_no = ?";
    tx.execute(sql, &values![head.no.0]).await?;
    let tranches = tranches(&mut tx, head.no).await?;
    let sums = fence_sums(&mut tx, head.no).await?;
    let refund = issue::refund(id, &tranches, sums, inner.now())?;
    write_refund(&mut tx, head.no, &refund).await?;
    done(tx, head.no).await?;
    inner.finished.forget(head.no);
    if let Err(fail) = forget_bundles(inner, head.no).await {
        let error = fail.judge();
        tracing::warn!(campaign.no = head.no.0, %error, "what was known of bundles stays");
    }
    Ok(Some(refund))
}

async fn write_refund(conn: &mut Conn, no: CampaignNo, refund: &Refund) -> Result<(), Fail> {
    let refunded_at = refund.refunded_at.micros();
    conn.execute(
        "INSERT INTO refunds (campaign_no, packets, amount, refunded_at) VALUES (?, ?, ?, ?)",
        &values![
            no.0,
            codec::to_column(refund.packets)?,
            codec::amount_to_column(refund.amount),
            refunded_at
        ],
    )
    .await?;
    let sql = "UPDATE campaigns SET closed_at = ?, paused_at = NULL WHERE no = ?";
    conn.execute(sql, &values![refunded_at, no.0]).await?;
    Ok(())
}

/// Removes what is known of a closed campaign's bundles: nothing of it can be sent or held any
/// more. Apart from the refund, because those of thousands of waves take longer than a transaction
/// may; rows that stay count as leased until their lease ends, and are read by nobody after.
async fn forget_bundles(inner: &Inner, no: CampaignNo) -> Result<(), Fail> {
    let sql = "SELECT COALESCE(max(wave), 0) FROM bundles WHERE campaign_no = ?";
    let mut reader = inner.reader().await?;
    let last = reader.fetch_one(sql, &values![no.0]).await?.int(0)?;
    drop(reader);
    for first in (1..=last).step_by(WAVES_AT_ONCE) {
        let to = first + WAVES_AT_ONCE as i64 - 1;
        let mut tx = inner.begin().await?;
        let sql = "DELETE FROM bundles WHERE campaign_no = ? AND wave BETWEEN ? AND ?";
        tx.execute(sql, &values![no.0, first, to]).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Claims and their sum, over all fence slots.
pub(super) async fn fence_sums(conn: &mut Conn, no: CampaignNo) -> Result<(u64, Fen), Fail> {
    let sql = "SELECT CAST(COALESCE(sum(claims), 0) AS {INT}), \
               CAST(COALESCE(sum(amount), 0) AS {INT}) FROM fence WHERE campaign_no = ?";
    let row = conn.fetch_one(sql, &values![no.0]).await?;
    Ok((codec::count(row.int(0)?)?, codec::amount(row.int(1)?)?))
}

/// Every refund of a campaign; more than one is wrong.
pub(super) async fn refunds(conn: &mut Conn, no: CampaignNo) -> Result<Vec<Refund>, Fail> {
    let sql = "SELECT packets, amount, refunded_at FROM refunds WHERE campaign_no = ?";
    let rows = conn.fetch_all(sql, &values![no.0]).await?;
    let refund = |row: &Row| {
        Ok(Refund {
            packets: codec::count(row.int(0)?)?,
            amount: codec::amount(row.int(1)?)?,
            refunded_at: Timestamp::from_micros(row.int(2)?),
        })
    };
    rows.iter().map(refund).collect()
}

/// See [`crate::Ledger::halt_campaign`]. The first reason stays.
pub(super) async fn halt(inner: &Inner, id: CampaignId, reason: &str) -> Result<(), Fail> {
    let mut tx = inner.begin().await?;
    let Some(head) = lock(&mut tx, id).await?.filter(|head| !head.halted) else {
        return tx.rollback().await;
    };
    let sql = "UPDATE campaigns SET halted = ? WHERE no = ?";
    tx.execute(sql, &values![reason, head.no.0]).await?;
    done(tx, head.no).await?;
    Ok(())
}
