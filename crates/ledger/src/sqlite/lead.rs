//! Which monitor leads. One process has the file, so here it is about one process and its
//! predecessor; the promise is the same as on a shared database.

use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};

use super::{fault::Fail, open::Inner};
use crate::{Lead, LedgerError, NodeId};

/// Ends the lease of a process before this one: the file's lock says that it is gone, so nobody
/// need wait for the lease's end.
pub(super) async fn forget(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE lead SET until = 0, node = 0 WHERE node <> 0")
        .execute(connection)
        .await?;
    Ok(())
}

/// See [`crate::Ledger::lead`].
pub(super) async fn lead(
    inner: &Inner,
    node: NodeId,
    lease_for: Duration,
) -> Result<Option<Lead>, Fail> {
    let now = inner.now();
    let until = now.plus_micros(i64::try_from(lease_for.as_micros()).unwrap_or(i64::MAX));
    let mut write = inner.writer.begin().await?;
    let taken = sqlx::query(
        "UPDATE lead SET epoch = epoch + (node <> ?1), node = ?1, until = ?2 \
         WHERE node = ?1 OR until <= ?3 RETURNING epoch",
    )
    .bind(node.0.cast_signed())
    .bind(until.micros())
    .bind(now.micros())
    .fetch_optional(write.conn())
    .await?;
    let Some(taken) = taken else {
        write.rollback().await?;
        return Ok(None);
    };
    let epoch = taken.try_get(0)?;
    write.commit(1).await?;
    Ok(Some(Lead { epoch, until }))
}

/// See [`crate::Ledger::step_down`].
pub(super) async fn step_down(inner: &Inner, lead: Lead) -> Result<(), Fail> {
    let mut write = inner.writer.begin().await?;
    sqlx::query("UPDATE lead SET until = 0, node = 0 WHERE epoch = ?")
        .bind(lead.epoch)
        .execute(write.conn())
        .await?;
    write.commit(1).await?;
    Ok(())
}

/// Refuses a write of a leader that another has followed.
pub(super) async fn check(conn: &mut SqliteConnection, lead: Lead) -> Result<(), Fail> {
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM lead")
        .fetch_one(conn)
        .await?;
    if epoch == lead.epoch {
        Ok(())
    } else {
        Err(LedgerError::Deposed.into())
    }
}
