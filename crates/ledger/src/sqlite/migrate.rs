//! Numbered schemas: an older file is brought up to this version, a newer one is refused.
//!
//! A migration that was released is never changed; a change of the schema is a new one.

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::open::OpenError;

/// Every migration, in order; the n-th brings a file to schema n.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../migrations/sqlite/0001_books.sql"),
    include_str!("../../migrations/sqlite/0002_people.sql"),
    include_str!("../../migrations/sqlite/0003_counters.sql"),
    include_str!("../../migrations/sqlite/0004_lead.sql"),
];

/// The schema that this version writes.
pub const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// The schema of the file; 0 when it is empty.
pub(super) async fn found(connection: &mut SqliteConnection) -> Result<u32, OpenError> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await?;
    u32::try_from(version).map_err(|_| OpenError::Newer {
        found: u32::MAX,
        known: SCHEMA,
    })
}

/// Brings the file to [`SCHEMA`], each step in a transaction of its own.
///
/// # Errors
/// [`OpenError::Newer`] when a later version wrote the file; nothing is changed then.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let found = found(connection).await?;
    if found > SCHEMA {
        return Err(OpenError::Newer {
            found,
            known: SCHEMA,
        });
    }
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let schema = step + 1;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
        // A pragma takes no bound parameter; a number cannot do harm.
        let stamp = AssertSqlSafe(format!("PRAGMA user_version = {schema}"));
        sqlx::raw_sql(stamp).execute(&mut *transaction).await?;
        transaction.commit().await?;
        if found > 0 {
            tracing::info!(schema, "the ledger was migrated");
        }
    }
    Ok(())
}
