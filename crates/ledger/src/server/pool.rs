//! Connections to one database, and the transactions begun on them.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use sqlx::{mysql::MySqlPool, postgres::PgPool};
use tokio::time::timeout_at;

use super::{
    dialect::Dialect,
    fault::{Fail, Fault},
    sql::{Answer, Conn, Link, STATEMENT_TIMEOUT, Tx, late},
};

/// Connections to one database.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    /// To MySQL.
    MySql(MySqlPool),
    /// To PostgreSQL.
    Postgres(PgPool),
}

/// Statements as the database reads them, by how they are written here.
#[derive(Default)]
pub(super) struct Texts(RwLock<HashMap<Box<str>, Arc<str>>>);

impl Texts {
    /// `sql` in `dialect`.
    pub(super) fn of(&self, dialect: Dialect, sql: &str) -> Arc<str> {
        let known = self.0.read().expect("nothing panics under this lock");
        if let Some(text) = known.get(sql) {
            return text.clone();
        }
        drop(known);
        let text: Arc<str> = dialect.rewrite(sql).into();
        let mut known = self.0.write().expect("nothing panics under this lock");
        known.insert(sql.into(), text.clone());
        text
    }
}

impl Pool {
    /// Which SQL it speaks.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::MySql(_) => Dialect::MySql,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A connection outside a transaction.
    pub(super) async fn acquire(
        &self,
        texts: &Arc<Texts>,
        timeout: Duration,
    ) -> Result<Conn, Fail> {
        let link = match self {
            Self::MySql(pool) => Link::MySql(pool.acquire().await?),
            Self::Postgres(pool) => Link::Postgres(pool.acquire().await?),
        };
        Ok(Conn::new(link, texts.clone(), timeout))
    }

    /// A connection on which the script `begin` has begun a transaction, all of which before
    /// COMMIT is to be done by `deadline`; and what the script's statements answered. A
    /// connection that turns out to be broken, as all are after the server was restarted, is
    /// replaced by another.
    pub(super) async fn begin(
        &self,
        texts: &Arc<Texts>,
        begin: &str,
        deadline: Instant,
    ) -> Result<(Tx, Vec<Answer>), Fail> {
        loop {
            let acquiring = timeout_at(deadline.into(), self.acquire(texts, STATEMENT_TIMEOUT));
            let conn = acquiring.await.unwrap_or_else(|_| Err(late()))?;
            match conn.begin(begin, deadline).await {
                Err(fail) if fail.fault() == Fault::Lost && Instant::now() < deadline => {
                    tracing::debug!(error = %fail.judge(), "a connection was broken");
                }
                begun => return begun,
            }
        }
    }

    /// Closes every connection, once it is given back.
    pub(super) async fn close(&self) {
        match self {
            Self::MySql(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
