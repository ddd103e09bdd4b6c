//! Secrets that the processes of one ledger share, for those that were told none.
//!
//! A secret is made once, by whichever process needs it first, and is never changed: participants'
//! ids follow from one. Who can read this table can read the seeds of all campaigns beside it.

use super::{ServerLedger, fault::Fail, open::Inner, patience::Patience, sql::Conn, value::values};
use crate::api::Result;

/// A secret of the ledger.
#[derive(Clone, PartialEq, Eq)]
pub struct LedgerSecret {
    /// What all processes of this ledger have.
    pub value: String,
    /// Whether this call has made it.
    pub is_new: bool,
}

impl ServerLedger {
    /// The secret of this name; `fresh`, when there was none. Of processes that call this at the
    /// same time all get the same one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn secret(&self, name: &str, fresh: &str) -> Result<LedgerSecret> {
        let mut patience = Patience::new();
        loop {
            match secret(&self.inner, name, fresh).await {
                Err(fail) if patience.lasts(&fail).await => {}
                result => return result.map_err(Fail::judge),
            }
        }
    }

    /// The secret of this name, if any process has made one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn secret_if_made(&self, name: &str) -> Result<Option<String>> {
        let mut patience = Patience::new();
        loop {
            let read = async { read(&mut self.inner.reader().await?, name).await };
            match read.await {
                Err(fail) if patience.lasts(&fail).await => {}
                result => return result.map_err(Fail::judge),
            }
        }
    }
}

async fn secret(inner: &Inner, name: &str, fresh: &str) -> Result<LedgerSecret, Fail> {
    if let Some(value) = read(&mut inner.reader().await?, name).await? {
        let is_new = false;
        return Ok(LedgerSecret { value, is_new });
    }
    let mut tx = inner.begin().await?;
    let row = values![name, fresh, inner.now().micros()].to_vec();
    let head = "INSERT INTO secrets (name, value, created_at)";
    let tail = tx.dialect().passing_over("name");
    tx.insert_rows(head, &[row], &tail).await?;
    tx.commit().await?;
    // Only what was committed, by whomever, is the secret.
    let value = read(&mut inner.reader().await?, name).await?;
    let value = value.ok_or(Fail::Sql(sqlx::Error::RowNotFound))?;
    let is_new = value == fresh;
    Ok(LedgerSecret { value, is_new })
}

async fn read(conn: &mut Conn, name: &str) -> Result<Option<String>, Fail> {
    let sql = "SELECT value FROM secrets WHERE name = ?";
    let row = conn.fetch_optional(sql, &values![name]).await?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}
