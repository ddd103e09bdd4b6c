//! Keeps the write-ahead log short, beside the writers.
//!
//! SQLite's own checkpoint runs inside a commit and keeps its errors to itself. This one copies
//! most of the log while writers go on, then the rest under the write lock, so that the log
//! starts over; and a failed sync in it stops the ledger like any other.

use std::sync::{Arc, Weak};

use super::{
    fault::Fail,
    open::Inner,
    write::{Writer, checkpoint},
};

/// Checkpoints whenever asked to, until the ledger is gone.
pub(super) async fn run(writer: Arc<Writer>, ledger: Weak<Inner>) {
    loop {
        writer.checkpoint.notified().await;
        let Some(inner) = ledger.upgrade() else {
            return;
        };
        if let Err(fail) = once(&inner).await {
            let error = writer.judge(fail);
            tracing::warn!(%error, "a checkpoint failed");
        }
    }
}

async fn once(inner: &Inner) -> Result<(), Fail> {
    inner.writer.check()?;
    let mut connection = inner.reader().await?;
    checkpoint(&mut connection).await?;
    drop(connection);
    inner.writer.checkpoint_alone().await
}
