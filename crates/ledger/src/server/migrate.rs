//! Numbered schemas, for processes of neighbouring versions that share one database.
//!
//! A migration that was released is never changed; a change of the schema is a new one. One
//! process migrates at a time, under a lock of the whole database. MySQL commits every change of
//! a table by itself, so each statement of a migration must be harmless when it is run again.
//!
//! In a rolling upgrade the first new process migrates while old ones go on. So each migration
//! says from which schema on a process may work beside it ([`Migration::compatible_from`]); an
//! older process refuses to start, and a new one is to be rolled out in two steps.

use std::time::Duration;

use super::{dialect::Dialect, fault::Fail, sql::Conn, value::values};
use crate::{OpenError, codec};

/// One step of the schema.
struct Migration {
    /// The oldest schema whose processes still work when this one is in place.
    compatible_from: u32,
    mysql: &'static str,
    postgres: &'static str,
}

/// Every migration, in order; the n-th brings a database to schema n.
const MIGRATIONS: [Migration; 3] = [
    Migration {
        compatible_from: 1,
        mysql: include_str!("../../migrations/server/mysql/0001_books.sql"),
        postgres: include_str!("../../migrations/server/postgres/0001_books.sql"),
    },
    Migration {
        compatible_from: 1,
        mysql: include_str!("../../migrations/server/mysql/0002_leader.sql"),
        postgres: include_str!("../../migrations/server/postgres/0002_leader.sql"),
    },
    Migration {
        compatible_from: 1,
        mysql: include_str!("../../migrations/server/mysql/0003_shared.sql"),
        postgres: include_str!("../../migrations/server/postgres/0003_shared.sql"),
    },
];

/// The schema that this version writes.
pub const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// How long a statement of a migration, or the wait for another process's, may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// The lock of the whole database: a number for PostgreSQL, a name for MySQL, where it is made
/// unique by the database's name.
const LOCK: i64 = 0x686f_6e67_6261_6f00;

/// Brings the database to [`SCHEMA`], unless a newer one is there that this version can work
/// with.
///
/// # Errors
/// [`OpenError::Newer`] when it cannot; nothing is changed then.
pub(super) async fn migrate(conn: &mut Conn) -> Result<(), OpenError> {
    patient(conn).await?;
    lock(conn).await?;
    let migrated = under_lock(conn).await;
    let unlocked = unlock(conn).await;
    migrated?;
    Ok(unlocked?)
}

/// The schema of the database as far as this version knows it; 0 when there are no tables.
///
/// # Errors
/// As [`migrate`].
pub(super) async fn schema(conn: &mut Conn) -> Result<u32, OpenError> {
    let sql = match conn.dialect() {
        Dialect::MySql => {
            "SELECT count(*) FROM information_schema.tables \
             WHERE table_schema = database() AND table_name = 'migrations'"
        }
        Dialect::Postgres => {
            "SELECT count(*) FROM information_schema.tables \
             WHERE table_schema = current_schema() AND table_name = 'migrations'"
        }
    };
    match conn.fetch_one(sql, &[]).await?.int(0)? {
        0 => Ok(0),
        _ => found(conn).await,
    }
}

async fn under_lock(conn: &mut Conn) -> Result<(), OpenError> {
    conn.raw(
        "CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY, \
         compatible_from BIGINT NOT NULL)"
            .into(),
    )
    .await?;
    let found = found(conn).await?;
    for (step, migration) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let sql = match conn.dialect() {
            Dialect::MySql => migration.mysql,
            Dialect::Postgres => migration.postgres,
        };
        for statement in statements(sql) {
            conn.raw(statement.into()).await?;
        }
        let number = step as u32 + 1;
        conn.execute(
            "INSERT INTO migrations (number, compatible_from) VALUES (?, ?)",
            &values![number, migration.compatible_from],
        )
        .await?;
        if found > 0 {
            tracing::info!(schema = number, "the ledger was migrated");
        }
    }
    Ok(())
}

/// The schema of the database as far as this version knows it; 0 when it is empty.
async fn found(conn: &mut Conn) -> Result<u32, OpenError> {
    let sql = "SELECT COALESCE(max(number), 0), COALESCE(max(CASE WHEN number > ? \
               THEN compatible_from END), 0) FROM migrations";
    let row = conn.fetch_one(sql, &values![SCHEMA]).await?;
    let found = codec::small(row.int(0)?, "a schema").map_err(Fail::from)?;
    let compatible_from: u32 = codec::small(row.int(1)?, "a schema").map_err(Fail::from)?;
    if compatible_from > SCHEMA {
        return Err(OpenError::Newer {
            found,
            known: SCHEMA,
        });
    }
    if found > SCHEMA {
        tracing::info!(
            found,
            known = SCHEMA,
            "a newer version has migrated the ledger"
        );
    }
    Ok(found.min(SCHEMA))
}

/// Statements end with a semicolon at the end of a line.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
}

/// Lets this connection wait longer than a claim may. It is not to be used for anything else.
async fn patient(conn: &mut Conn) -> Result<(), Fail> {
    let seconds = TIMEOUT.as_secs();
    conn.raw(match conn.dialect() {
        Dialect::MySql => format!("SET SESSION lock_wait_timeout = {seconds}"),
        Dialect::Postgres => {
            format!("SET lock_timeout = '{seconds}s'; SET statement_timeout = '{seconds}s'")
        }
    })
    .await?;
    Ok(())
}

async fn lock(conn: &mut Conn) -> Result<(), Fail> {
    match conn.dialect() {
        Dialect::MySql => {
            let seconds = i64::try_from(TIMEOUT.as_secs()).expect("a minute");
            let sql = "SELECT GET_LOCK(CONCAT('hongbao.', MD5(DATABASE())), ?)";
            let row = conn.fetch_one(sql, &values![seconds - 2]).await?;
            if row.maybe_int(0)? == Some(1) {
                return Ok(());
            }
            let what = "another process has been migrating the ledger for a minute";
            Err(crate::LedgerError::Unavailable(what.into()).into())
        }
        Dialect::Postgres => {
            conn.raw(format!("SELECT pg_advisory_lock({LOCK})")).await?;
            Ok(())
        }
    }
}

async fn unlock(conn: &mut Conn) -> Result<(), Fail> {
    match conn.dialect() {
        Dialect::MySql => {
            let sql = "SELECT RELEASE_LOCK(CONCAT('hongbao.', MD5(DATABASE())))";
            conn.fetch_one(sql, &[]).await?;
        }
        Dialect::Postgres => {
            conn.raw(format!("SELECT pg_advisory_unlock({LOCK})"))
                .await?;
        }
    }
    Ok(())
}
