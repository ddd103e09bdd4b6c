//! A copy of the file, of one instant, while another process may write it.
//!
//! `VACUUM INTO` reads within one transaction, so the copy is whole, and readers never hold up a
//! writer. It must never write to the ledger that it copies: its connections cannot.

use std::path::Path;

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use super::{
    SqliteLedger,
    migrate::{SCHEMA, found},
    open::{OpenError, file_of},
    write::BUSY_TIMEOUT,
};

impl SqliteLedger {
    /// Copies the ledger of a data directory (or one named by its file) into the new file `to`, as
    /// it is at one instant, whether a process has it open or not. When this returns, the copy is
    /// on disk and its pages and indexes agree with each other. Gives the copy's schema, which may
    /// be that of an earlier version.
    ///
    /// # Errors
    /// See [`OpenError`]; also when `to` exists. What was written of it by then is left there.
    pub async fn back_up(path: &Path, to: &Path) -> Result<u32, OpenError> {
        let file = file_of(path);
        if !file.is_file() {
            return Err(OpenError::Missing(file));
        }
        let failed = |source| OpenError::Files {
            path: to.to_owned(),
            source,
        };
        // An empty file would be taken by SQLite, and is refused here.
        drop(std::fs::File::create_new(to).map_err(failed)?);
        let name = to.to_str().ok_or_else(|| {
            failed(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "the name is not UTF-8",
            ))
        })?;
        let mut ledger = reading(&file).connect().await?;
        let schema = known(&mut ledger).await?;
        sqlx::query("VACUUM INTO ?")
            .bind(name)
            .execute(&mut ledger)
            .await?;
        ledger.close().await?;
        std::fs::File::open(to)
            .and_then(|copy| copy.sync_all())
            .map_err(failed)?;
        sound(to).await?;
        Ok(schema)
    }

    /// The schema of a copy, whose pages and indexes agree with each other. Nothing is written, not
    /// even a lock.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn sound_copy(path: &Path) -> Result<u32, OpenError> {
        let file = file_of(path);
        if !file.is_file() {
            return Err(OpenError::Missing(file));
        }
        sound(&file).await
    }
}

async fn sound(file: &Path) -> Result<u32, OpenError> {
    // Nobody writes a copy; this way no files appear beside it.
    let mut copy = reading(file).immutable(true).connect().await?;
    let schema = known(&mut copy).await?;
    let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(3)")
        .fetch_all(&mut copy)
        .await?;
    copy.close().await?;
    if said != ["ok"] {
        return Err(OpenError::Damaged(said.join("; ")));
    }
    Ok(schema)
}

/// The schema, unless a later version wrote it.
async fn known(connection: &mut SqliteConnection) -> Result<u32, OpenError> {
    match found(connection).await? {
        found if found > SCHEMA => Err(OpenError::Newer {
            found,
            known: SCHEMA,
        }),
        found => Ok(found),
    }
}

fn reading(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("mmap_size", "0")
        .disable_statement_logging()
}
