//! The yardstick for claims: the same rows into the same schema, one thread, nothing else.
//!
//! `bare_insert DIR ROWS BATCH` prints rows per second; each batch is one synced transaction.

use std::{path::Path, time::Instant};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// The schema of the ledger, as it is released.
const SCHEMA: &str = include_str!("../migrations/sqlite/0001_books.sql");

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, rows, batch] = &arguments[..] else {
        anyhow::bail!("usage: bare_insert DIR ROWS BATCH");
    };
    let (rows, batch): (usize, usize) = (rows.parse()?, batch.parse()?);
    let mut connection = open(Path::new(directory)).await?;
    let values = vec!["(?,?,?,?,?,?,?,?,?,?,?)"; batch].join(",");
    let sql: &'static str = Box::leak(
        format!(
            "INSERT INTO claims (campaign_no, wave, idx, claim_id, user, amount, tier, \
             claimed_at, period, ordinal, grab_id) VALUES {values}"
        )
        .into_boxed_str(),
    );
    let start = Instant::now();
    for first in (0..rows).step_by(batch) {
        insert(&mut connection, sql, first, batch).await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.0} rows/s", rows as f64 / seconds);
    Ok(())
}

async fn open(directory: &Path) -> anyhow::Result<SqliteConnection> {
    std::fs::create_dir_all(directory)?;
    let mut connection = SqliteConnectOptions::new()
        .filename(directory.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .pragma("cache_size", "-16000")
        // As long a log as the ledger's, so that the yardstick is not the shorter for it.
        .pragma("wal_autocheckpoint", "8000")
        .disable_statement_logging()
        .connect()
        .await
        .context("cannot open the file")?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    Ok(connection)
}

async fn insert(
    connection: &mut SqliteConnection,
    sql: &'static str,
    first: usize,
    batch: usize,
) -> anyhow::Result<()> {
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await?;
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for n in first..first + batch {
        let n = n as i64;
        query = query
            .bind(1_i64)
            .bind(1_i64)
            .bind(n + 1)
            .bind(uuid::Uuid::from_u128(n as u128).as_bytes().to_vec())
            .bind(user(n))
            .bind(100_i64)
            .bind(None::<i64>)
            .bind(1_767_225_599_123_456_i64)
            .bind(0_i64)
            .bind(1_i64)
            .bind(None::<Vec<u8>>);
    }
    query.execute(&mut *connection).await?;
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

/// Users in no order, as a hash of a code is.
fn user(n: i64) -> String {
    format!("u{:016x}", (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
