//! Which monitor leads: one row, whose lock every write of a leader passes.
//!
//! A lead that was taken over cannot write: the epoch is compared under the row's lock, which
//! the next leader needs to take over.

use std::time::Duration;

use super::{fault::Fail, open::Inner, sql::Conn, value::values};
use crate::{Lead, LedgerError, NodeId};

/// See [`crate::Ledger::lead`].
pub(super) async fn lead(
    inner: &Inner,
    node: NodeId,
    lease_for: Duration,
) -> Result<Option<Lead>, Fail> {
    let node = node.0.cast_signed();
    // Those who wait to lead ask every few seconds: they disturb nobody by it.
    let sql = "SELECT epoch, node, until_at FROM leader WHERE only_row = 1";
    let row = inner.reader().await?.fetch_one(sql, &[]).await?;
    if row.int(1)? != node && row.int(2)? > inner.now().micros() {
        return Ok(None);
    }
    let mut tx = inner.begin().await?;
    let sql = "SELECT epoch, node, until_at FROM leader WHERE only_row = 1 FOR UPDATE";
    let row = tx.fetch_one(sql, &[]).await?;
    // After the lock was waited for: the lease is as long as it says.
    let now = inner.now();
    let own = row.int(1)? == node;
    if !own && row.int(2)? > now.micros() {
        tx.rollback().await?;
        return Ok(None);
    }
    let epoch = row.int(0)? + i64::from(!own);
    let until = now.plus_micros(i64::try_from(lease_for.as_micros()).unwrap_or(i64::MAX));
    tx.execute(
        "UPDATE leader SET epoch = ?, node = ?, until_at = ? WHERE only_row = 1",
        &values![epoch, node, until.micros()],
    )
    .await?;
    tx.commit().await?;
    Ok(Some(Lead { epoch, until }))
}

/// See [`crate::Ledger::step_down`].
pub(super) async fn step_down(inner: &Inner, lead: Lead) -> Result<(), Fail> {
    let mut tx = inner.begin().await?;
    tx.execute(
        "UPDATE leader SET until_at = 0, node = 0 WHERE only_row = 1 AND epoch = ?",
        &values![lead.epoch],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Refuses a write of a leader that another has followed. Call it first in the transaction that
/// writes: nobody takes over before its end.
pub(super) async fn check(conn: &mut Conn, lead: Lead) -> Result<(), Fail> {
    let sql = "SELECT epoch FROM leader WHERE only_row = 1 FOR UPDATE";
    if conn.fetch_one(sql, &[]).await?.int(0)? == lead.epoch {
        Ok(())
    } else {
        Err(LedgerError::Deposed.into())
    }
}
