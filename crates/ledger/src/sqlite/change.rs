//! Changes that an organiser, or an audit, makes to a campaign: patch, pause, resume, top-up,
//! close, halt. Each is one transaction that sets the campaign's version.

use rules::{CampaignId, Fen, Timestamp, Tranche};
use sqlx::{Row as _, SqliteConnection};

use super::{
    campaigns::{
        PAGES_OF_A_CHANGE, done_before, insert_tranche, insert_wave, next_version, remember,
        tranches,
    },
    fault::Fail,
    open::Inner,
};
use crate::{
    CampaignNo, CampaignPatch, Change, Idempotency, Once, Refund, TopUpRefused, WaveState, codec,
    issue::{self, Closes},
};

/// What a change must know of the campaign first.
struct Head {
    no: CampaignNo,
    paused_at: Option<Timestamp>,
    closed: bool,
    halted: bool,
    ends_at: Timestamp,
    version: i64,
}

async fn head(conn: &mut SqliteConnection, id: CampaignId) -> Result<Option<Head>, Fail> {
    let row =
        sqlx::query("SELECT no, paused_at, closed_at IS NOT NULL, halted IS NOT NULL, ends_at, version FROM campaigns WHERE id = ?")
            .bind(&id.0.as_bytes()[..])
            .fetch_optional(conn)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let paused_at: Option<i64> = row.try_get(1)?;
    Ok(Some(Head {
        no: CampaignNo(row.try_get(0)?),
        paused_at: paused_at.map(Timestamp::from_micros),
        closed: row.try_get(2)?,
        halted: row.try_get(3)?,
        ends_at: Timestamp::from_micros(row.try_get(4)?),
        version: row.try_get(5)?,
    }))
}

async fn set_version(conn: &mut SqliteConnection, no: CampaignNo) -> Result<(), Fail> {
    let version = next_version(conn).await?;
    sqlx::query("UPDATE campaigns SET version = ? WHERE no = ?")
        .bind(version)
        .bind(no.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// See [`crate::Ledger::patch_campaign`].
pub(super) async fn patch(
    inner: &Inner,
    id: CampaignId,
    patch: &CampaignPatch,
) -> Result<Change, Fail> {
    let rules = patch.rules.as_ref().map(codec::json).transpose()?;
    let mut write = inner.writer.begin().await?;
    let change = match head(write.conn(), id).await? {
        None => Change::NotFound,
        Some(head) if head.closed => Change::Ended,
        Some(head) if patch.version.is_some_and(|version| version != head.version) => {
            Change::Overtaken
        }
        Some(head) => {
            let changed = sqlx::query(
                "UPDATE campaigns SET title = coalesce(?1, title), \
                 ends_at = coalesce(?2, ends_at), rules = coalesce(?3, rules) \
                 WHERE no = ?4 AND (title <> coalesce(?1, title) \
                 OR ends_at <> coalesce(?2, ends_at) OR rules <> coalesce(?3, rules))",
            )
            .bind(&patch.title)
            .bind(patch.ends_at.map(Timestamp::micros))
            .bind(&rules)
            .bind(head.no.0)
            .execute(write.conn())
            .await?;
            if changed.rows_affected() > 0 {
                set_version(write.conn(), head.no).await?;
                write.commit(PAGES_OF_A_CHANGE).await?;
                return Ok(Change::Done);
            }
            Change::Unchanged
        }
    };
    write.rollback().await?;
    Ok(change)
}

/// See [`crate::Ledger::pause_campaign`].
pub(super) async fn pause(inner: &Inner, id: CampaignId) -> Result<Change, Fail> {
    let mut write = inner.writer.begin().await?;
    let change = match head(write.conn(), id).await? {
        None => Change::NotFound,
        Some(head) if head.closed => Change::Ended,
        Some(head) if head.paused_at.is_some() => Change::Unchanged,
        Some(head) => {
            sqlx::query("UPDATE campaigns SET paused_at = ? WHERE no = ?")
                .bind(inner.now().micros())
                .bind(head.no.0)
                .execute(write.conn())
                .await?;
            set_version(write.conn(), head.no).await?;
            write.commit(PAGES_OF_A_CHANGE).await?;
            return Ok(Change::Done);
        }
    };
    write.rollback().await?;
    Ok(change)
}

/// See [`crate::Ledger::resume_campaign`].
pub(super) async fn resume(inner: &Inner, id: CampaignId) -> Result<Change, Fail> {
    let mut write = inner.writer.begin().await?;
    let (no, paused_at) = match head(write.conn(), id).await? {
        None => {
            write.rollback().await?;
            return Ok(Change::NotFound);
        }
        Some(head) => match (head.closed, head.paused_at) {
            (false, Some(paused_at)) => (head.no, paused_at),
            (closed, _) => {
                write.rollback().await?;
                return Ok(if closed {
                    Change::Ended
                } else {
                    Change::Unchanged
                });
            }
        },
    };
    let pause_micros = issue::pause_micros(paused_at, inner.now());
    let planned = codec::state_to_column(WaveState::Planned);
    sqlx::query("UPDATE waves SET due_at = due_at + ? WHERE campaign_no = ? AND state = ?")
        .bind(pause_micros)
        .bind(no.0)
        .bind(planned)
        .execute(write.conn())
        .await?;
    sqlx::query("UPDATE campaigns SET paused_at = NULL, ends_at = ends_at + ? WHERE no = ?")
        .bind(pause_micros)
        .bind(no.0)
        .execute(write.conn())
        .await?;
    set_version(write.conn(), no).await?;
    write.commit(PAGES_OF_A_CHANGE).await?;
    Ok(Change::Done)
}

/// See [`crate::Ledger::top_up`].
pub(super) async fn top_up(
    inner: &Inner,
    id: CampaignId,
    tranche: Tranche,
    once: &Idempotency,
) -> Result<Result<Once, TopUpRefused>, Fail> {
    let mut write = inner.writer.begin().await?;
    if let Some(before) = done_before(write.conn(), once).await? {
        write.rollback().await?;
        return Ok(Ok(before));
    }
    let head = match head(write.conn(), id).await? {
        Some(head) if !head.closed => head,
        other => {
            write.rollback().await?;
            return Ok(Err(match other {
                Some(_) => TopUpRefused::Ended,
                None => TopUpRefused::NotFound,
            }));
        }
    };
    let now = inner.now();
    let conn = write.conn();
    let tranches = tranches(conn, head.no).await?;
    let last: i64 = sqlx::query_scalar("SELECT max(number) FROM waves WHERE campaign_no = ?")
        .bind(head.no.0)
        .fetch_one(&mut *conn)
        .await?;
    let added = i64::from(tranche.packets);
    let top_up = match issue::top_up(tranches, tranche, last, head.paused_at, now)? {
        Ok(top_up) => top_up,
        Err(refusal) => {
            write.rollback().await?;
            return Ok(Err(TopUpRefused::Limit(refusal)));
        }
    };
    insert_tranche(conn, head.no, &top_up.tranche).await?;
    insert_wave(conn, head.no, &top_up.wave).await?;
    sqlx::query("UPDATE campaigns SET packets = packets + ?, budget = ? WHERE no = ?")
        .bind(added)
        .bind(codec::amount_to_column(top_up.budget))
        .bind(head.no.0)
        .execute(&mut *conn)
        .await?;
    set_version(conn, head.no).await?;
    remember(conn, once, id, now).await?;
    write.commit(PAGES_OF_A_CHANGE).await?;
    Ok(Ok(Once::Done(id)))
}

/// See [`crate::Ledger::close_campaign`] and [`crate::Ledger::close_ended_campaign`].
pub(super) async fn close(
    inner: &Inner,
    id: CampaignId,
    closes: Closes,
) -> Result<Option<Refund>, Fail> {
    let mut write = inner.writer.begin().await?;
    let Some(head) = head(write.conn(), id).await? else {
        write.rollback().await?;
        return Ok(None);
    };
    if let Some(refund) = refunds(write.conn(), head.no).await?.first() {
        write.rollback().await?;
        return Ok(Some(*refund));
    }
    let refunded_at = inner.now();
    if !closes.is_meant_for(head.ends_at, head.halted, refunded_at) {
        write.rollback().await?;
        return Ok(None);
    }
    let conn = write.conn();
    // In the order of the slots where rows are locked one by one; here they are locked at once.
    sqlx::query("UPDATE fence SET closed = 1 WHERE campaign_no = ?")
        .bind(head.no.0)
        .execute(&mut *conn)
        .await?;
    let tranches = tranches(conn, head.no).await?;
    let sums = fence_sums(conn, head.no).await?;
    let refund = issue::refund(id, &tranches, sums, refunded_at)?;
    write_refund(conn, head.no, &refund).await?;
    set_version(conn, head.no).await?;
    write.commit(PAGES_OF_A_CHANGE).await?;
    inner.finished.forget(head.no);
    Ok(Some(refund))
}

async fn write_refund(
    conn: &mut SqliteConnection,
    no: CampaignNo,
    refund: &Refund,
) -> Result<(), Fail> {
    sqlx::query(
        "INSERT INTO refunds (campaign_no, packets, amount, refunded_at) VALUES (?, ?, ?, ?)",
    )
    .bind(no.0)
    .bind(codec::to_column(refund.packets)?)
    .bind(codec::amount_to_column(refund.amount))
    .bind(refund.refunded_at.micros())
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE campaigns SET closed_at = ?, paused_at = NULL WHERE no = ?")
        .bind(refund.refunded_at.micros())
        .bind(no.0)
        .execute(&mut *conn)
        .await?;
    // Nothing of it can be sent or held any more.
    sqlx::query("DELETE FROM bundles WHERE campaign_no = ?")
        .bind(no.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Claims and their sum, over all fence slots.
pub(super) async fn fence_sums(
    conn: &mut SqliteConnection,
    no: CampaignNo,
) -> Result<(u64, Fen), Fail> {
    let sql = "SELECT coalesce(sum(claims), 0), coalesce(sum(amount), 0) FROM fence \
               WHERE campaign_no = ?";
    let row = sqlx::query(sql).bind(no.0).fetch_one(conn).await?;
    Ok((
        codec::count(row.try_get(0)?)?,
        codec::amount(row.try_get(1)?)?,
    ))
}

/// Every refund of a campaign; more than one is wrong.
pub(super) async fn refunds(
    conn: &mut SqliteConnection,
    no: CampaignNo,
) -> Result<Vec<Refund>, Fail> {
    let sql = "SELECT packets, amount, refunded_at FROM refunds WHERE campaign_no = ?";
    let rows = sqlx::query(sql).bind(no.0).fetch_all(conn).await?;
    let refund = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Refund {
            packets: codec::count(row.try_get(0)?)?,
            amount: codec::amount(row.try_get(1)?)?,
            refunded_at: Timestamp::from_micros(row.try_get(2)?),
        })
    };
    rows.iter().map(refund).collect()
}

/// See [`crate::Ledger::halt_campaign`]. The first reason stays.
pub(super) async fn halt(inner: &Inner, id: CampaignId, reason: &str) -> Result<(), Fail> {
    let mut write = inner.writer.begin().await?;
    let halted: Option<i64> = sqlx::query_scalar(
        "UPDATE campaigns SET halted = ? WHERE id = ? AND halted IS NULL RETURNING no",
    )
    .bind(reason)
    .bind(&id.0.as_bytes()[..])
    .fetch_optional(write.conn())
    .await?;
    let Some(no) = halted else {
        return write.rollback().await;
    };
    set_version(write.conn(), CampaignNo(no)).await?;
    write.commit(PAGES_OF_A_CHANGE).await?;
    Ok(())
}
