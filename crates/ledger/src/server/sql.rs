//! One small layer over the two drivers: connections, transactions, statements.
//!
//! Statements are written once, with `?` for each value ([`Dialect::rewrite`]). What goes over
//! many rows or keys is one statement too: [`Conn::insert_rows`], [`Conn::fetch_in`].
//!
//! How many rows an INSERT that passes over conflicts has inserted, only PostgreSQL tells:
//! MySQL's driver asks for *found* rows, so that one left as it was counts too.
//!
//! A connection on which anything went wrong, or on which a call was given up in the middle, is
//! closed and never used again; so is one whose transaction was not ended. Nothing here waits
//! for ever: each statement has [`STATEMENT_TIMEOUT`] on this side, and lock time-outs on the
//! server's.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{TryStreamExt as _, stream::BoxStream};
use sqlx::{AssertSqlSafe, Either, MySql, Postgres, pool::PoolConnection};

use super::{
    bind::{array_of, bind_array, bind_mysql, bind_postgres, rows_text, text_with_lists},
    dialect::Dialect,
    fault::{CommitFault, Fail, Fault},
    pool::Texts,
    value::{Row, Value},
};

/// How long a statement of a write may take, seen from here. Above the lock time-outs of the
/// server, so that a lock that is held is told as such.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// How long a statement of a snapshot may take: an audit reads millions of rows.
pub(super) const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);

/// The driver's connection.
pub(super) enum Link {
    MySql(PoolConnection<MySql>),
    Postgres(PoolConnection<Postgres>),
}

/// A connection, in a transaction or not.
pub(super) struct Conn {
    link: Link,
    texts: Arc<Texts>,
    /// For each statement.
    timeout: Duration,
    /// For all statements together.
    deadline: Option<Instant>,
    /// A call is under way, was given up or went wrong.
    spoilt: bool,
    in_transaction: bool,
}

impl Conn {
    pub(super) fn new(link: Link, texts: Arc<Texts>, timeout: Duration) -> Self {
        Self {
            link,
            texts,
            timeout,
            deadline: None,
            spoilt: false,
            in_transaction: false,
        }
    }

    /// Begins a transaction with a script; see [`super::pool::Pool::begin`].
    pub(super) async fn begin(
        mut self,
        begin: &str,
        deadline: Instant,
    ) -> Result<(Tx, Vec<Answer>), Fail> {
        self.deadline = Some(deadline);
        // Before the call: a transaction may be open even when its answer is lost.
        self.in_transaction = true;
        let answers = self.script(begin.to_owned()).await?;
        Ok((Tx(self), answers))
    }

    /// Which SQL it speaks.
    pub(super) fn dialect(&self) -> Dialect {
        match self.link {
            Link::MySql(_) => Dialect::MySql,
            Link::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs `sql` and tells how many rows it touched (see the module on INSERT).
    pub(super) async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fail> {
        let text = AssertSqlSafe(self.texts.of(self.dialect(), sql));
        self.guarded(async |link| match link {
            Link::MySql(conn) => {
                let done = bind_mysql(sqlx::query(text), values)
                    .execute(&mut **conn)
                    .await?;
                Ok(done.rows_affected())
            }
            Link::Postgres(conn) => {
                let done = bind_postgres(sqlx::query(text), values)
                    .execute(&mut **conn)
                    .await?;
                Ok(done.rows_affected())
            }
        })
        .await
    }

    /// Every row of `sql`.
    pub(super) async fn fetch_all(
        &mut self,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, Fail> {
        let text = AssertSqlSafe(self.texts.of(self.dialect(), sql));
        self.guarded(async |link| match link {
            Link::MySql(conn) => {
                let query = bind_mysql(sqlx::query(text), values);
                let rows = query.fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(Row::MySql).collect())
            }
            Link::Postgres(conn) => {
                let query = bind_postgres(sqlx::query(text), values);
                let rows = query.fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        })
        .await
    }

    /// The first row of `sql`, if any.
    pub(super) async fn fetch_optional(
        &mut self,
        sql: &str,
        values: &[Value],
    ) -> Result<Option<Row>, Fail> {
        Ok(self.fetch_all(sql, values).await?.into_iter().next())
    }

    /// The first row of `sql`, which there must be.
    pub(super) async fn fetch_one(&mut self, sql: &str, values: &[Value]) -> Result<Row, Fail> {
        let row = self.fetch_optional(sql, values).await?;
        row.ok_or(Fail::Sql(sqlx::Error::RowNotFound))
    }

    /// `head` as far as the column list, `rows` of as many values each (of the same kinds), and
    /// `tail`, such as [`Dialect::upsert`]: one statement, whatever the number of rows, and
    /// nothing at all for none. Tells the rows touched.
    pub(super) async fn insert_rows(
        &mut self,
        head: &str,
        rows: &[Vec<Value>],
        tail: &str,
    ) -> Result<u64, Fail> {
        let Some(first) = rows.first() else {
            return Ok(0);
        };
        match self.dialect() {
            Dialect::MySql => self.raw(rows_text(head, rows, tail)).await,
            Dialect::Postgres => {
                let casts = first
                    .iter()
                    .map(|value| format!("?::{}[]", array_of(value)));
                let casts: Vec<_> = casts.collect();
                let sql = format!("{head} SELECT * FROM unnest({}){tail}", casts.join(", "));
                let text = AssertSqlSafe(self.texts.of(Dialect::Postgres, &sql));
                self.guarded(async |link| {
                    let Link::Postgres(conn) = link else {
                        unreachable!("the dialect is the link's");
                    };
                    let mut query = sqlx::query(text);
                    for column in 0..first.len() {
                        query = bind_array(query, rows.iter().map(|row| &row[column]));
                    }
                    Ok(query.execute(&mut **conn).await?.rows_affected())
                })
                .await
            }
        }
    }

    /// Every row of `sql` in which one `{IN}` stands for "is one of `keys`", as in
    /// `WHERE campaign_no = ? AND idx {IN}`; `values` for every `?`. None for no keys.
    pub(super) async fn fetch_in(
        &mut self,
        sql: &str,
        values: &[Value],
        keys: &[Value],
    ) -> Result<Vec<Row>, Fail> {
        self.fetch_in_all(sql, values, &[keys]).await
    }

    /// As [`Self::fetch_in`], with one `{IN}` for each of `lists`. None when one is empty.
    pub(super) async fn fetch_in_all(
        &mut self,
        sql: &str,
        values: &[Value],
        lists: &[&[Value]],
    ) -> Result<Vec<Row>, Fail> {
        if lists.iter().any(|list| list.is_empty()) {
            return Ok(Vec::new());
        }
        let text = self.texts.of(self.dialect(), sql);
        match self.dialect() {
            Dialect::MySql => {
                let sql = text_with_lists(&text, values, lists);
                self.guarded(async |link| {
                    let Link::MySql(conn) = link else {
                        unreachable!("the dialect is the link's");
                    };
                    let query = sqlx::raw_sql(AssertSqlSafe(sql));
                    let rows = query.fetch_all(&mut **conn).await?;
                    Ok(rows.into_iter().map(Row::MySql).collect())
                })
                .await
            }
            Dialect::Postgres => {
                let mut sql = text.to_string();
                for (n, list) in lists.iter().enumerate() {
                    let number = values.len() + n + 1;
                    let any = format!("= ANY (${number}::{}[])", array_of(&list[0]));
                    sql = sql.replacen("{IN}", &any, 1);
                }
                self.guarded(async |link| {
                    let Link::Postgres(conn) = link else {
                        unreachable!("the dialect is the link's");
                    };
                    let mut query = bind_postgres(sqlx::query(AssertSqlSafe(sql)), values);
                    for list in lists {
                        query = bind_array(query, list.iter());
                    }
                    let rows = query.fetch_all(&mut **conn).await?;
                    Ok(rows.into_iter().map(Row::Postgres).collect())
                })
                .await
            }
        }
    }

    /// Runs a text of this program that takes no values, without preparing it; tells how many
    /// rows it touched.
    pub(super) async fn raw(&mut self, sql: String) -> Result<u64, Fail> {
        let answers = self.script(sql).await?;
        Ok(answers.iter().map(|answer| answer.touched).sum())
    }

    /// Runs statements that take no values in one round trip, and gives the answer to each. One
    /// that fails is the last.
    pub(super) async fn script(&mut self, sql: String) -> Result<Vec<Answer>, Fail> {
        self.guarded(async |link| {
            let sql = sqlx::raw_sql(AssertSqlSafe(sql));
            match link {
                Link::MySql(conn) => {
                    let answers = sql.fetch_many(&mut **conn);
                    collect(answers, Row::MySql, |done| done.rows_affected()).await
                }
                Link::Postgres(conn) => {
                    let answers = sql.fetch_many(&mut **conn);
                    collect(answers, Row::Postgres, |done| done.rows_affected()).await
                }
            }
        })
        .await
    }

    /// Closes the connection, which is of no further use.
    pub(super) fn discard(mut self) {
        self.spoilt = true;
    }

    /// Runs `call` with a time-out. Until it has gone well, or the database has told what is
    /// wrong, the connection counts as spoilt.
    async fn guarded<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Link) -> Result<T, sqlx::Error>,
    ) -> Result<T, Fail> {
        let within = self.deadline.map_or(self.timeout, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.min(self.timeout)
        });
        self.spoilt = true;
        let called = tokio::time::timeout(within, call(&mut self.link)).await;
        let result = called.map_or_else(|_| Err(late()), |result| result.map_err(Fail::Sql));
        self.spoilt = matches!(&result, Err(fail) if fail.fault() == Fault::Lost);
        result
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.spoilt || self.in_transaction {
            match &mut self.link {
                Link::MySql(conn) => conn.close_on_drop(),
                Link::Postgres(conn) => conn.close_on_drop(),
            }
        }
    }
}

/// What one statement of a script answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// Rows that it touched.
    pub(super) touched: u64,
}

/// The answers of a script: rows, and after those of each statement its end.
async fn collect<D, R>(
    mut parts: BoxStream<'_, Result<Either<D, R>, sqlx::Error>>,
    row: impl Fn(R) -> Row,
    touched: impl Fn(&D) -> u64,
) -> Result<Vec<Answer>, sqlx::Error> {
    let (mut answers, mut open) = (Vec::new(), Answer::default());
    while let Some(part) = parts.try_next().await? {
        match part {
            Either::Right(one) => open.rows.push(row(one)),
            Either::Left(done) => {
                open.touched = touched(&done);
                answers.push(std::mem::take(&mut open));
            }
        }
    }
    Ok(answers)
}

/// A transaction. Dropped without an end, its connection is closed, and the database rolls back.
pub(super) struct Tx(Conn);

impl std::ops::Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl std::ops::DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

impl Tx {
    /// Commits. Whatever the database does not clearly refuse is [`CommitFault::Unknown`].
    pub(super) async fn commit(self) -> Result<(), CommitFault> {
        self.commit_after("", STATEMENT_TIMEOUT).await?;
        Ok(())
    }

    /// Runs `last`, statements that end with a semicolon each, and commits, in one round trip;
    /// when one of them fails, COMMIT is not done. Tells the rows touched. Without an answer in
    /// `timeout` the outcome is unknown.
    pub(super) async fn commit_after(
        mut self,
        last: &str,
        timeout: Duration,
    ) -> Result<u64, CommitFault> {
        (self.0.deadline, self.0.timeout) = (None, timeout);
        match self.0.raw(format!("{last}COMMIT")).await {
            Ok(touched) => {
                self.0.in_transaction = false;
                Ok(touched)
            }
            // The database's word that it has rolled back, or has not come to COMMIT.
            Err(fail)
                if matches!(
                    fail.fault(),
                    Fault::Again | Fault::Waited | Fault::Unique | Fault::Row
                ) =>
            {
                Err(CommitFault::NotDone(fail))
            }
            Err(fail) => Err(CommitFault::Unknown(fail)),
        }
    }

    /// Ends the transaction without a trace.
    pub(super) async fn rollback(mut self) -> Result<(), Fail> {
        self.0.raw("ROLLBACK".to_owned()).await?;
        self.0.in_transaction = false;
        Ok(())
    }
}

/// The database has not answered in time.
pub(super) fn late() -> Fail {
    let what = "the database did not answer in time";
    Fail::Sql(sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        what,
    )))
}
