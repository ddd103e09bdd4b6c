//! Opening: connections, the schema, the clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rules::{Clock, Timestamp};

use super::{
    ServerLedger,
    connect::{self, Use},
    dialect::Dialect,
    fault::Fail,
    insert::Held,
    migrate,
    offset::{OffsetClock, TimeSource, keep_measuring},
    pool::{Pool, Texts},
    sql::{Answer, Conn, SNAPSHOT_TIMEOUT, STATEMENT_TIMEOUT, Tx},
};
use crate::{
    LedgerError, OpenError,
    bundling::Finished,
    time::{EvenClock, LedgerClock},
};

/// How long a transaction that writes may take, but for its COMMIT.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for one that writes very many rows.
const LONG_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// What an open ledger is made of.
pub(super) struct Inner {
    pub(super) clock: LedgerClock,
    writers: Pool,
    readers: Pool,
    scanners: Pool,
    texts: Arc<Texts>,
    /// Bundles without an unclaimed packet: once so, for ever so.
    pub(super) finished: Finished,
    /// Whether claims are to wait for rows.
    pub(super) held: Held,
    /// Ends the measuring with the ledger.
    _measured: Arc<OffsetClock>,
}

impl Inner {
    /// Which SQL the database speaks.
    pub(super) fn dialect(&self) -> Dialect {
        self.writers.dialect()
    }

    /// Begins a transaction that writes (READ COMMITTED), all of which is to be done soon.
    pub(super) async fn begin(&self) -> Result<Tx, Fail> {
        self.begin_by(Instant::now() + WRITE_TIMEOUT).await
    }

    /// As [`Self::begin`], for very many rows.
    pub(super) async fn begin_long(&self) -> Result<Tx, Fail> {
        self.begin_by(Instant::now() + LONG_WRITE_TIMEOUT).await
    }

    async fn begin_by(&self, deadline: Instant) -> Result<Tx, Fail> {
        Ok(self.begin_with("", deadline).await?.0)
    }

    /// As [`Self::begin`]; `first` are statements without values that are run at once with it,
    /// with their answers. All of it before COMMIT is to be done by `deadline`.
    pub(super) async fn begin_with(
        &self,
        first: &str,
        deadline: Instant,
    ) -> Result<(Tx, Vec<Answer>), Fail> {
        let script = match self.dialect() {
            Dialect::MySql => format!("START TRANSACTION;{first}"),
            Dialect::Postgres => format!("BEGIN;{first}"),
        };
        self.count_transaction();
        let (tx, mut answers) = self.writers.begin(&self.texts, &script, deadline).await?;
        // That of BEGIN itself.
        answers.remove(0);
        Ok((tx, answers))
    }

    /// Begins a transaction that sees one instant of the books.
    pub(super) async fn snapshot(&self) -> Result<Tx, Fail> {
        self.snapshot_of(&self.readers).await
    }

    /// As [`Self::snapshot`], of very many rows.
    pub(super) async fn long_snapshot(&self) -> Result<Tx, Fail> {
        self.snapshot_of(&self.scanners).await
    }

    async fn snapshot_of(&self, pool: &Pool) -> Result<Tx, Fail> {
        let begin = match self.dialect() {
            Dialect::MySql => "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.count_transaction();
        let deadline = Instant::now() + SNAPSHOT_TIMEOUT;
        let (tx, _) = pool.begin(&self.texts, begin, deadline).await?;
        Ok(tx)
    }

    /// A connection for single statements that read a few rows by their keys.
    pub(super) async fn reader(&self) -> Result<Conn, Fail> {
        self.count_transaction();
        self.readers.acquire(&self.texts, STATEMENT_TIMEOUT).await
    }

    /// As [`Self::reader`], for statements that go through very many rows.
    pub(super) async fn scanner(&self) -> Result<Conn, Fail> {
        self.count_transaction();
        self.scanners.acquire(&self.texts, SNAPSHOT_TIMEOUT).await
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Counts a transaction (a statement outside of one is one): what shows that a losing grab
    /// makes none, and how few a thousand wins take.
    fn count_transaction(&self) {
        metrics::counter!("hongbao_ledger_calls_total").increment(1);
        metrics::counter!("hongbao_ledger_transactions_total", "backend" => self.dialect().name())
            .increment(1);
    }
}

/// What is done with the tables when a ledger is opened.
enum Tables {
    /// They are made or migrated where that is needed.
    Migrated,
    /// They are left as they are.
    AsTheyAre,
}

impl ServerLedger {
    /// Opens the ledger in the database of `url` (`mysql://`, `mariadb://`, `postgres://` or
    /// `postgresql://`, with user, password, host, port and database), makes or migrates its
    /// tables, and keeps ledger time by the database's clock.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        // Only a measurement of the database's time is to move ours, and not this machine's clock:
        // set forward by an hour, it would end campaigns an hour early.
        let even = Arc::new(EvenClock::from(&*clock));
        Self::open_with(url, even, TimeSource::Database).await
    }

    /// As [`Self::open`], with the source of ledger time as a parameter.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_with(
        url: &str,
        clock: Arc<dyn Clock>,
        source: TimeSource,
    ) -> Result<Self, OpenError> {
        let (ledger, _) = Self::connect(url, clock, source, Tables::Migrated).await?;
        Ok(ledger)
    }

    /// Opens the ledger as it is: nothing is made or migrated. Beside it its schema, 0 when there
    /// are no tables; below [`migrate::SCHEMA`] it can be pinged and probed, and no more.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_unchanged(
        url: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, u32), OpenError> {
        Self::connect(url, clock, TimeSource::Clock, Tables::AsTheyAre).await
    }

    async fn connect(
        url: &str,
        clock: Arc<dyn Clock>,
        source: TimeSource,
        tables: Tables,
    ) -> Result<(Self, u32), OpenError> {
        let writers = connect::pool(url, Use::Write)?;
        let readers = connect::pool(url, Use::Read)?;
        let scanners = connect::pool(url, Use::Scan)?;
        let texts = Arc::new(Texts::default());
        let offset = Arc::new(OffsetClock::new(clock));
        let opening = async {
            let mut conn = writers.acquire(&texts, migrate::TIMEOUT).await?;
            let schema = match tables {
                Tables::Migrated => {
                    migrate::migrate(&mut conn).await?;
                    migrate::SCHEMA
                }
                Tables::AsTheyAre => migrate::schema(&mut conn).await?,
            };
            if source == TimeSource::Database {
                offset.measure(&mut conn).await?;
                let again = keep_measuring(Arc::downgrade(&offset), readers.clone(), texts.clone());
                tokio::spawn(again);
            }
            let can_be_passed_over = match conn.dialect() {
                Dialect::Postgres => true,
                Dialect::MySql => {
                    let version = conn.fetch_one("SELECT version()", &[]).await?;
                    version.text(0)?.contains("MariaDB")
                }
            };
            let floor = match schema {
                migrate::SCHEMA => floor(&mut conn).await?,
                _ => Timestamp::from_micros(0),
            };
            conn.discard();
            Ok::<_, OpenError>((floor, schema, Held::new(can_be_passed_over)))
        };
        let (floor, schema, held) = opening.await?;
        let ledger = Self {
            inner: Arc::new(Inner {
                clock: LedgerClock::new(offset.clone(), floor),
                writers,
                readers,
                scanners,
                texts,
                finished: Finished::default(),
                held,
                _measured: offset,
            }),
        };
        Ok((ledger, schema))
    }

    /// Closes every connection in an orderly way. A ledger that is merely dropped, or killed,
    /// loses nothing either.
    pub async fn close(self) {
        self.inner.writers.close().await;
        self.inner.readers.close().await;
        self.inner.scanners.close().await;
    }
}

impl From<Fail> for OpenError {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::Sql(error) => Self::Sql(error),
            Fail::Ledger(LedgerError::Corrupt(what)) => Self::Url(what),
            Fail::Ledger(error) => Self::Url(error.to_string()),
        }
    }
}

/// Whether the database answers.
pub(super) async fn ping(inner: &Inner) -> Result<(), Fail> {
    let pinging = async {
        let mut conn = inner.readers.acquire(&inner.texts, PING_TIMEOUT).await?;
        let sql = "SELECT value FROM meta WHERE name = 'version'";
        conn.fetch_one(sql, &[]).await
    };
    let late = || LedgerError::Unavailable("the database did not answer in time".into());
    let pinged = tokio::time::timeout(PING_TIMEOUT, pinging).await;
    pinged.map_err(|_| Fail::Ledger(late()))??;
    Ok(())
}

/// Longer than this is not ready.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The latest ledger time known to have been given out.
async fn floor(conn: &mut Conn) -> Result<Timestamp, Fail> {
    let sql = "SELECT GREATEST((SELECT value FROM meta WHERE name = 'time'), \
               COALESCE((SELECT max(last_at) FROM fence), 0))";
    Ok(Timestamp::from_micros(
        conn.fetch_one(sql, &[]).await?.int(0)?,
    ))
}
