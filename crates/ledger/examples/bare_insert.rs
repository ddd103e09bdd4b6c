//! The yardstick for claims: the same rows into the same schema, one thread, nothing else.
//!
//! `bare_insert TARGET ROWS BATCH` prints rows per second; each batch is one durable
//! transaction. TARGET is a directory (SQLite) or the URL of an empty database (`mysql://…`,
//! `postgres://…`).

use std::{path::Path, time::Instant};

use anyhow::Context as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection, PgConnection,
    SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// The schemas of the ledger, as they are released.
const SQLITE: &str = include_str!("../migrations/sqlite/0001_books.sql");
const MYSQL: &str = include_str!("../migrations/server/mysql/0001_books.sql");
const POSTGRES: &str = include_str!("../migrations/server/postgres/0001_books.sql");

/// What SQLite has, and the servers with two columns more.
const COLUMNS: &str = "campaign_no, wave, idx, claim_id, user, amount, tier, claimed_at, period, \
     ordinal, grab_id";
const SERVER_COLUMNS: &str = "campaign_no, wave, idx, claim_id, user_id, amount, tier, \
     claimed_at, period, ordinal, grab_id, slot, slot_seq";

/// Inserts `$rows` rows in transactions of `$batch`; seconds that it took.
macro_rules! run {
    ($connection:expr, $begin:literal, $sql:expr, $rows:expr, $batch:expr, $more:expr) => {{
        let sql: &'static str = Box::leak($sql.into_boxed_str());
        let start = Instant::now();
        for first in (0..$rows).step_by($batch) {
            sqlx::raw_sql($begin).execute(&mut $connection).await?;
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for n in first..first + $batch {
                let n = n as i64;
                query = query
                    .bind(1_i64)
                    .bind(1_i64)
                    .bind(n + 1)
                    .bind(uuid::Uuid::from_u128(n as u128).as_bytes().to_vec())
                    .bind($more.user(n))
                    .bind(100_i64)
                    .bind(None::<i64>)
                    .bind(1_767_225_599_123_456_i64)
                    .bind(0_i64)
                    .bind(1_i64)
                    .bind(None::<Vec<u8>>);
                if $more.has_slots() {
                    query = query.bind(0_i64).bind(first as i64 + 1);
                }
            }
            query.execute(&mut $connection).await?;
            sqlx::raw_sql("COMMIT").execute(&mut $connection).await?;
        }
        start.elapsed().as_secs_f64()
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, rows, batch] = &arguments[..] else {
        anyhow::bail!("usage: bare_insert DIR|URL ROWS BATCH");
    };
    let (rows, batch): (usize, usize) = (rows.parse()?, batch.parse()?);
    let seconds = if target.starts_with("mysql://") {
        let mut connection = MySqlConnection::connect(target).await?;
        sqlx::raw_sql(MYSQL).execute(&mut connection).await?;
        let sql = statement(SERVER_COLUMNS, batch, |_| "?".into());
        run!(connection, "START TRANSACTION", sql, rows, batch, Server)
    } else if target.starts_with("postgres://") {
        let mut connection = PgConnection::connect(target).await?;
        sqlx::raw_sql(POSTGRES).execute(&mut connection).await?;
        let sql = statement(SERVER_COLUMNS, batch, |n| format!("${n}"));
        run!(connection, "BEGIN", sql, rows, batch, Server)
    } else {
        let mut connection = open(Path::new(target)).await?;
        let sql = statement(COLUMNS, batch, |_| "?".into());
        run!(connection, "BEGIN IMMEDIATE", sql, rows, batch, Sqlite)
    };
    println!("{:.0} rows/s", rows as f64 / seconds);
    Ok(())
}

/// Users in no order, as a hash of a code is.
fn user(n: i64) -> String {
    format!("u{:016x}", (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// How SQLite keeps a claim.
struct Sqlite;

impl Sqlite {
    fn user(&self, n: i64) -> String {
        user(n)
    }

    const fn has_slots(&self) -> bool {
        false
    }
}

/// How a server keeps a claim.
struct Server;

impl Server {
    fn user(&self, n: i64) -> Vec<u8> {
        user(n).into_bytes()
    }

    const fn has_slots(&self) -> bool {
        true
    }
}

fn statement(columns: &str, batch: usize, placeholder: impl Fn(usize) -> String) -> String {
    let width = columns.split(',').count();
    let row = |n: usize| {
        let values: Vec<_> = (1..=width).map(|c| placeholder(n * width + c)).collect();
        format!("({})", values.join(","))
    };
    let rows: Vec<_> = (0..batch).map(row).collect();
    format!("INSERT INTO claims ({columns}) VALUES {}", rows.join(","))
}

async fn open(directory: &Path) -> anyhow::Result<SqliteConnection> {
    std::fs::create_dir_all(directory)?;
    let mut connection = SqliteConnectOptions::new()
        .filename(directory.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-16000")
        // As long a log as the ledger's, so that the yardstick is not the shorter for it.
        .pragma("wal_autocheckpoint", "8000")
        .disable_statement_logging()
        .connect()
        .await
        .context("cannot open the file")?;
    sqlx::raw_sql(SQLITE).execute(&mut connection).await?;
    Ok(connection)
}
