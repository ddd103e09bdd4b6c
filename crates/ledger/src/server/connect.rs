//! From a URL to connections that behave the same everywhere, whatever the server's defaults.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    ConnectOptions as _, Executor as _,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{dialect::Dialect, pool::Pool};
use crate::OpenError;

/// How long a caller waits for a connection, made or given back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(2_000);
/// Connections that write. A node commits two batches of claims at a time; the others are for
/// what goes on beside them. Few, because every replica of every service has as many, and MySQL takes
/// 151 together unless told otherwise.
const WRITERS_MAX: u32 = 6;
/// Connections that read a few rows. A leader's lease and a pause hang on them, so that what takes
/// long has others.
const READERS_MAX: u32 = 3;
/// Connections that go through very many rows: audits, searches, sums.
const SCANNERS_MAX: u32 = 3;
/// An unused connection that reads is closed after this, or twice this: before the server does it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same of one that writes. The server ends those of a process that stands still after 30 s.
const WRITER_IDLE_TIMEOUT: Duration = Duration::from_secs(12);
/// A connection is made anew after this, so that a server that was added is used.
const LIFETIME: Duration = Duration::from_secs(1_800);

/// What a connection is for. One that writes is tried by its BEGIN, and replaced when that fails;
/// one that reads is tried before it is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Writes, READ COMMITTED: what a statement needs is what is committed when it runs.
    Write,
    /// Reads, REPEATABLE READ: a transaction sees one instant.
    Read,
    /// The same, through very many rows.
    Scan,
}

/// Connections to the database of `url` for `purpose`; none is made yet.
///
/// # Errors
/// When the URL cannot be understood.
pub(super) fn pool(url: &str, purpose: Use) -> Result<Pool, OpenError> {
    match dialect(url)? {
        Dialect::MySql => {
            let url = url.replacen("mariadb://", "mysql://", 1);
            let options = MySqlConnectOptions::from_str(&url).map_err(|e| refused(&e))?;
            if options.get_database().is_none_or(str::is_empty) {
                return Err(nameless());
            }
            let options = options
                .charset("utf8mb4")
                .pipes_as_concat(false)
                .disable_statement_logging();
            let pool = MySqlPoolOptions::new()
                .max_connections(connections(purpose))
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(idle_timeout(purpose))
                .max_lifetime(LIFETIME)
                .test_before_acquire(purpose != Use::Write)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        for setting in mysql_session(purpose) {
                            connection.execute(setting).await?;
                        }
                        Ok(())
                    })
                })
                .connect_lazy_with(options);
            Ok(Pool::MySql(pool))
        }
        Dialect::Postgres => {
            let options = PgConnectOptions::from_str(url).map_err(|e| refused(&e))?;
            if options.get_database().is_none_or(str::is_empty) {
                return Err(nameless());
            }
            let options = options
                .application_name("hongbao")
                .disable_statement_logging();
            let pool = PgPoolOptions::new()
                .max_connections(connections(purpose))
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(idle_timeout(purpose))
                .max_lifetime(LIFETIME)
                .test_before_acquire(purpose != Use::Write)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        connection.execute(postgres_session(purpose)).await?;
                        Ok(())
                    })
                })
                .connect_lazy_with(options);
            Ok(Pool::Postgres(pool))
        }
    }
}

/// The dialect that a URL's scheme stands for.
pub(super) fn dialect(url: &str) -> Result<Dialect, OpenError> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("mysql" | "mariadb") => Ok(Dialect::MySql),
        Some("postgres" | "postgresql") => Ok(Dialect::Postgres),
        _ => Err(OpenError::Url(
            "it begins with none of mysql://, mariadb://, postgres:// and postgresql://".into(),
        )),
    }
}

fn connections(purpose: Use) -> u32 {
    match purpose {
        Use::Write => WRITERS_MAX,
        Use::Read => READERS_MAX,
        Use::Scan => SCANNERS_MAX,
    }
}

fn idle_timeout(purpose: Use) -> Duration {
    match purpose {
        Use::Write => WRITER_IDLE_TIMEOUT,
        Use::Read | Use::Scan => IDLE_TIMEOUT,
    }
}

/// Settings of a MySQL session. A value out of range must be an error, never cut to fit; a lock
/// is waited for a second, the least that InnoDB knows; and a transaction of a process that has
/// gone without a word must not keep its locks for the eight hours of the usual `wait_timeout`
/// (MariaDB can be told so of transactions alone). TiDB must lock when it is asked to, which it
/// does not in clusters that have come from before its version 3.0.8.
fn mysql_session(purpose: Use) -> [&'static str; 3] {
    const SETTINGS: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,\
         ERROR_FOR_DIVISION_BY_ZERO', SESSION autocommit = 1, \
         SESSION lock_wait_timeout = 5, \
         SESSION innodb_lock_wait_timeout = 1 /*M!100300 , SESSION idle_transaction_timeout = 10 */\
         /*T! , SESSION tidb_txn_mode = 'pessimistic' */";
    let (isolation, idle) = match purpose {
        Use::Write => (
            "SET SESSION TRANSACTION ISOLATION LEVEL read committed",
            "SET SESSION wait_timeout = 30",
        ),
        Use::Read | Use::Scan => (
            "SET SESSION TRANSACTION ISOLATION LEVEL repeatable read",
            "SET SESSION wait_timeout = 180",
        ),
    };
    [SETTINGS, isolation, idle]
}

/// Settings of a PostgreSQL session, in one round. Writes go by keys only: a plan that was made
/// while a table was empty must not read the whole of it for ever, nor be made anew each time.
fn postgres_session(purpose: Use) -> &'static str {
    match purpose {
        Use::Write => {
            "SET lock_timeout = '400ms'; SET statement_timeout = '2s'; \
             SET plan_cache_mode = 'force_generic_plan'; SET enable_seqscan = off; SET jit = off; \
             SET idle_in_transaction_session_timeout = '10s'; \
             SET default_transaction_isolation = 'read committed'"
        }
        Use::Read | Use::Scan => {
            "SET lock_timeout = '1s'; SET statement_timeout = '60s'; \
             SET idle_in_transaction_session_timeout = '90s'; \
             SET default_transaction_isolation = 'repeatable read'"
        }
    }
}

fn refused(error: &sqlx::Error) -> OpenError {
    OpenError::Url(error.to_string())
}

fn nameless() -> OpenError {
    OpenError::Url("it names no database: scheme://user:password@host:port/database".into())
}
