//! Opening: the files, the lock against a second process, the connections.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rules::{Clock, Timestamp};
use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqliteConnection,
    pool::PoolConnection,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
    },
};

use super::{
    SqliteLedger, checkpoint,
    fault::Fail,
    lead,
    migrate::{SCHEMA, found, migrate},
    write::{BUSY_TIMEOUT, Writer},
};
use crate::{bundling::Finished, time::LedgerClock};

/// The ledger's file within a data directory.
pub const FILE: &str = "hongbao.db";
/// What that file is called until everything that belongs to it is there: where there is one, a
/// restore was not finished, and nothing is opened.
pub const UNFINISHED: &str = "hongbao.db.restoring";
/// The file whose lock keeps a second process out of a data directory.
const LOCK: &str = "lock";
/// Connections that read a few rows. Each has a thread and a page cache of its own.
const READERS_MAX: u32 = 3;
/// Connections that go through very many rows, apart from the others: a wave must not wait for
/// searches and audits.
const SCANNERS_MAX: u32 = 2;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process: stop that one first, or choose another data directory", .0.display())]
    InUse(PathBuf),
    /// Written by a later version.
    #[error(
        "the ledger has schema {found}, but this version knows schemas up to {known}: \
         use a newer version of hongbao"
    )]
    Newer {
        /// The file's schema.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// Written by an earlier version, and opened for reading only.
    #[error(
        "the ledger has schema {found} and this version reads schema {known}: \
         start `hongbao serve` on it once, which migrates it"
    )]
    Older {
        /// The file's schema.
        found: u32,
        /// The schema of this version.
        known: u32,
    },
    /// There is none.
    #[error("there is no ledger at {}", .0.display())]
    Missing(PathBuf),
    /// The URL of a database server cannot be used; the URL itself, which holds a password, is
    /// not repeated.
    #[error("cannot use the database URL: {0}")]
    Url(String),
    /// The directory or the lock cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Files {
        /// What cannot be used.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A restore into the directory was not finished.
    #[error(
        "a restore into {} was not finished: begin it again, or use another data directory",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// The file is not as SQLite left it.
    #[error("the ledger's file is damaged: {0}")]
    Damaged(String),
    /// The file cannot be used.
    #[error("cannot open the ledger: {0}")]
    Sql(#[from] sqlx::Error),
}

/// What an open ledger is made of.
pub(super) struct Inner {
    pub(super) clock: LedgerClock,
    pub(super) writer: Arc<Writer>,
    readers: SqlitePool,
    scanners: SqlitePool,
    /// Bundles without an unclaimed packet: once so, for ever so.
    pub(super) finished: Finished,
    /// Locked for as long as the ledger is open.
    _lock: File,
}

impl Inner {
    /// A connection that reads.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, Fail> {
        count_call();
        Ok(self.readers.acquire().await?)
    }

    /// A transaction that sees one instant of the books.
    pub(super) async fn snapshot(&self) -> Result<sqlx::Transaction<'static, Sqlite>, Fail> {
        count_call();
        Ok(self.readers.begin().await?)
    }

    /// As [`Self::reader`], to go through very many rows.
    pub(super) async fn scanner(&self) -> Result<PoolConnection<Sqlite>, Fail> {
        count_call();
        Ok(self.scanners.acquire().await?)
    }

    /// As [`Self::snapshot`], of very many rows.
    pub(super) async fn long_snapshot(&self) -> Result<sqlx::Transaction<'static, Sqlite>, Fail> {
        count_call();
        Ok(self.scanners.begin().await?)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Counts a call to the database: what shows that a losing grab makes none.
pub(super) fn count_call() {
    metrics::counter!("hongbao_ledger_calls_total").increment(1);
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Lets the checkpoint task see that the ledger is gone.
        self.writer.checkpoint.notify_one();
    }
}

impl SqliteLedger {
    /// Opens the ledger of a data directory (or one named by its file), made when there is
    /// none, and keeps other processes out of it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let file = file_of(path);
        if let Some(directory) = file.parent() {
            let mut private = DirBuilder::new();
            let made = private.recursive(true).mode(0o700).create(directory);
            made.map_err(|source| OpenError::Files {
                path: directory.into(),
                source,
            })?;
        }
        let lock = lock_beside(&file)?;
        if let Some(directory) = file.parent()
            && directory.join(UNFINISHED).exists()
        {
            return Err(OpenError::Unfinished(directory.into()));
        }
        make_private(&file)?;
        let options = options(&file);
        let mut connection = options.clone().create_if_missing(true).connect().await?;
        migrate(&mut connection).await?;
        lead::forget(&mut connection).await?;
        let floor = floor(&mut connection).await?;
        connection.close().await?;
        let inner = Inner::new(options, LedgerClock::new(clock, floor), lock);
        Ok(Self::start(inner))
    }

    /// Opens the ledger of a data directory (or one named by its file) for reading while no
    /// other process has it; every write is refused.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_read_only(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let file = file_of(path);
        // A restore itself reads its unfinished copy, by that name.
        if let Some(directory) = file.parent()
            && directory.join(UNFINISHED).exists()
            && !file.ends_with(UNFINISHED)
        {
            return Err(OpenError::Unfinished(directory.into()));
        }
        if !file.is_file() {
            return Err(OpenError::Missing(file));
        }
        let lock = lock_beside(&file)?;
        let options = options(&file);
        let mut connection = options.connect().await?;
        match found(&mut connection).await? {
            found if found > SCHEMA => {
                return Err(OpenError::Newer {
                    found,
                    known: SCHEMA,
                });
            }
            found if found < SCHEMA => {
                return Err(OpenError::Older {
                    found,
                    known: SCHEMA,
                });
            }
            _ => {}
        }
        let floor = floor(&mut connection).await?;
        connection.close().await?;
        let inner = Inner::new(options, LedgerClock::new(clock, floor), lock);
        inner.writer.refuse("it is opened for reading only");
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Closes in an orderly way: what is written is moved out of the log, and the log removed.
    /// A ledger that is merely dropped, or killed, loses nothing either.
    pub async fn close(self) {
        if let Err(fail) = self.inner.writer.close().await {
            let error = self.inner.writer.judge(fail);
            tracing::warn!(%error, "the ledger was not closed properly");
        }
        self.inner.readers.close().await;
        self.inner.scanners.close().await;
    }

    fn start(inner: Inner) -> Self {
        let writer = inner.writer.clone();
        let inner = Arc::new(inner);
        tokio::spawn(checkpoint::run(writer, Arc::downgrade(&inner)));
        Self { inner }
    }
}

impl Inner {
    fn new(options: SqliteConnectOptions, clock: LedgerClock, lock: File) -> Self {
        let pool = |max, name: &'static str| {
            SqlitePoolOptions::new()
                .max_connections(max)
                .min_connections(0)
                .idle_timeout(std::time::Duration::from_secs(60))
                .test_before_acquire(false)
                .connect_lazy_with(
                    options
                        .clone()
                        .pragma("cache_size", "-2000")
                        .row_buffer_size(1_024)
                        .thread_name(move |n| format!("ledger-{name}-{n}")),
                )
        };
        let (readers, scanners) = (pool(READERS_MAX, "read"), pool(SCANNERS_MAX, "scan"));
        let writer = options
            .pragma("cache_size", "-16000")
            .thread_name(|n| format!("ledger-write-{n}"));
        Self {
            clock,
            writer: Arc::new(Writer::new(writer)),
            readers,
            scanners,
            finished: Finished::default(),
            _lock: lock,
        }
    }
}

/// Whether the file answers.
pub(super) async fn ping(inner: &Inner) -> Result<(), Fail> {
    let mut connection = inner.reader().await?;
    sqlx::query("SELECT value FROM meta WHERE key = 'version'")
        .fetch_one(&mut *connection)
        .await?;
    Ok(())
}

/// The latest ledger time known to have been given out.
async fn floor(connection: &mut SqliteConnection) -> Result<Timestamp, sqlx::Error> {
    let micros: i64 = sqlx::query_scalar(
        "SELECT max((SELECT value FROM meta WHERE key = 'time'), \
                    coalesce((SELECT max(last_at) FROM fence), 0))",
    )
    .fetch_one(connection)
    .await?;
    Ok(Timestamp::from_micros(micros))
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // A failed read of a mapped page would kill the process instead of being an error.
        .pragma("mmap_size", "0")
        // Checkpoints are ours: see the module `checkpoint`.
        .pragma("wal_autocheckpoint", "0")
        .disable_statement_logging()
}

/// `path` itself when it names a file, else the ledger's file within it.
pub(super) fn file_of(path: &Path) -> PathBuf {
    let names_a_file = path.extension().is_some_and(|e| e == "db" || e == "sqlite");
    if path.is_file() || (names_a_file && !path.is_dir()) {
        path.into()
    } else {
        path.join(FILE)
    }
}

fn lock_beside(file: &Path) -> Result<File, OpenError> {
    let path = file.with_file_name(LOCK);
    let failed = |source| OpenError::Files {
        path: path.clone(),
        source,
    };
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let directory = file.parent().unwrap_or(file);
            Err(OpenError::InUse(directory.into()))
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the file where there is none, so that only its owner can read it: the seeds in it tell
/// every amount before it is won. What SQLite puts beside it is as private.
fn make_private(file: &Path) -> Result<(), OpenError> {
    let mut options = File::options();
    match options.write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(OpenError::Files {
            path: file.into(),
            source: error,
        }),
        _ => Ok(()),
    }
}
