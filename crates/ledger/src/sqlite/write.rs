//! The write connection: one transaction at a time, and the end of all writing when the disk
//! has failed.
//!
//! A transaction that is dropped before its commit takes its connection with it: closing rolls
//! back, and nothing of it can leak into the next one.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{Mutex, MutexGuard, Notify, watch};

use super::fault::{Fail, Fault, fault};
use crate::{LedgerError, failures};

/// Pages that may be written to the log before a checkpoint is asked for, roughly: 32 MB. The
/// longer the log, the more changes of one page are moved into the file as one.
const CHECKPOINT_PAGES: u64 = 8_000;

/// The one writer.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: Mutex<Option<SqliteConnection>>,
    /// Why nothing is written any more; see [`Self::stopped`].
    stopped: watch::Sender<Option<String>>,
    /// Asks for a checkpoint.
    pub(super) checkpoint: Notify,
    /// Pages written since the last checkpoint, roughly.
    pages: std::sync::atomic::AtomicU64,
}

/// How a connection commits.
pub(super) struct Modes {
    /// `PRAGMA journal_mode`, such as `wal`.
    pub(super) journal: String,
    /// `PRAGMA synchronous`: 0 to 3.
    pub(super) synchronous: i64,
}

/// What became of a commit that did not succeed.
#[derive(Debug)]
pub(super) enum CommitFault {
    /// It is rolled back.
    NotDone(Fail),
    /// It may have happened.
    Unknown(Fail),
}

impl From<CommitFault> for Fail {
    fn from(fault: CommitFault) -> Self {
        // All calls but a claim are safe to repeat, done or not.
        match fault {
            CommitFault::NotDone(fail) | CommitFault::Unknown(fail) => fail,
        }
    }
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self {
            options,
            connection: Mutex::new(None),
            stopped: watch::Sender::new(None),
            checkpoint: Notify::new(),
            pages: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Turns to the reason once nothing is written any more.
    pub(super) fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.stopped.subscribe()
    }

    /// Refuses when writing has stopped.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        match &*self.stopped.borrow() {
            Some(reason) => Err(LedgerError::Unavailable(reason.clone())),
            None => Ok(()),
        }
    }

    /// Ends all writing, for the first reason given.
    pub(super) fn stop(&self, reason: String) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            if first {
                tracing::error!(reason, "the ledger has stopped");
                *stopped = Some(reason);
            }
            first
        });
    }

    /// Refuses all writing from the start.
    pub(super) fn refuse(&self, reason: &str) {
        self.stopped.send_replace(Some(reason.to_owned()));
    }

    /// The failure in the ledger's words. Stops all writing when the disk has failed.
    pub(super) fn judge(&self, fail: Fail) -> LedgerError {
        let error = match fail {
            Fail::Ledger(error) => error,
            Fail::Sql(error) => self.judge_sql(&error),
        };
        failures::count(&error);
        error
    }

    fn judge_sql(&self, error: &sqlx::Error) -> LedgerError {
        match fault(error) {
            Fault::Broken => {
                let reason = format!("stopped after a failed disk access; restart ({error})");
                self.stop(reason.clone());
                LedgerError::Unavailable(reason)
            }
            Fault::Later | Fault::Unknown => LedgerError::Unavailable(error.to_string()),
            Fault::Row => LedgerError::Corrupt(error.to_string()),
        }
    }

    /// Waits for the write lock and begins a transaction.
    pub(super) async fn begin(&self) -> Result<Write<'_>, Fail> {
        super::open::count_call();
        self.check()?;
        let mut slot = self.connection.lock().await;
        self.check()?;
        if slot.is_none() {
            *slot = Some(self.options.connect().await?);
        }
        let mut write = Write {
            writer: self,
            slot,
            ended: false,
        };
        sqlx::query("BEGIN IMMEDIATE").execute(write.conn()).await?;
        Ok(write)
    }

    /// How the write connection commits.
    pub(super) async fn modes(&self) -> Result<Modes, Fail> {
        super::open::count_call();
        let mut slot = self.connection.lock().await;
        if slot.is_none() {
            *slot = Some(self.options.connect().await?);
        }
        let connection = slot.as_mut().expect("it has just been opened, or was");
        let journal = sqlx::query_scalar("PRAGMA journal_mode");
        let synchronous = sqlx::query_scalar("PRAGMA synchronous");
        Ok(Modes {
            journal: journal.fetch_one(&mut *connection).await?,
            synchronous: synchronous.fetch_one(connection).await?,
        })
    }

    /// Closes the write connection in an orderly way; nothing is written afterwards.
    pub(super) async fn close(&self) -> Result<(), Fail> {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection {
            connection.close().await?;
        }
        Ok(())
    }

    /// Runs a checkpoint on the write connection, so that no writer adds to the log meanwhile.
    pub(super) async fn checkpoint_alone(&self) -> Result<(), Fail> {
        let mut slot = self.connection.lock().await;
        self.check()?;
        if let Some(connection) = slot.as_mut() {
            checkpoint(connection).await?;
        }
        Ok(())
    }
}

/// Moves what the log holds into the file, as far as readers allow, without waiting for them.
pub(super) async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), Fail> {
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
        .execute(connection)
        .await?;
    Ok(())
}

/// A write transaction. The lock is held until it ends.
pub(super) struct Write<'a> {
    writer: &'a Writer,
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    ended: bool,
}

impl Write<'_> {
    /// The connection, within the transaction.
    pub(super) fn conn(&mut self) -> &mut SqliteConnection {
        self.slot
            .as_mut()
            .expect("a transaction has its connection until it ends")
    }

    /// Commits durably. `pages` is roughly how many pages the transaction has changed.
    pub(super) async fn commit(mut self, pages: u64) -> Result<(), CommitFault> {
        let Err(error) = sqlx::query("COMMIT").execute(self.conn()).await else {
            self.ended = true;
            self.writer.count_pages(pages);
            return Ok(());
        };
        tracing::warn!(%error, "a commit failed");
        let certain = fault(&error) == Fault::Later && self.rolled_back().await;
        if certain {
            Err(CommitFault::NotDone(error.into()))
        } else {
            Err(CommitFault::Unknown(error.into()))
        }
    }

    /// Whether the failed commit's transaction was still there, and is rolled back now.
    async fn rolled_back(&mut self) -> bool {
        // The connection is closed afterwards in any case: see `Drop`.
        match sqlx::query("ROLLBACK").execute(self.conn()).await {
            Ok(_) => true,
            // SQLite has rolled back by itself, as it may when the disk is full. That it did so
            // before the commit was in the log is for the caller to see from the books.
            Err(error) => error
                .as_database_error()
                .is_some_and(|e| e.message().contains("no transaction is active")),
        }
    }

    /// Ends the transaction without a trace.
    pub(super) async fn rollback(mut self) -> Result<(), Fail> {
        sqlx::query("ROLLBACK").execute(self.conn()).await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Closed on its own thread, which rolls back; the next transaction waits for that.
            drop(self.slot.take());
        }
    }
}

impl Writer {
    fn count_pages(&self, pages: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        let before = self.pages.fetch_add(pages, Relaxed);
        if before + pages >= CHECKPOINT_PAGES {
            self.pages.store(0, Relaxed);
            self.checkpoint.notify_one();
        }
    }
}

/// How long a transaction waits for a lock of the file that another connection still holds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
