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
    collections::HashMap,
    io,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use futures_util::{TryStreamExt as _, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, Either, MySql, Postgres,
    mysql::{MySqlArguments, MySqlPool},
    pool::PoolConnection,
    postgres::{PgArguments, PgPool},
    query::Query,
};
use tokio::time::timeout_at;

use super::{
    dialect::{Dialect, literal},
    fault::{CommitFault, Fail, Fault},
    value::{Row, Value},
};

/// How long a statement of a write may take, seen from here. Above the lock time-outs of the
/// server, so that a lock that is held is told as such.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// How long a statement of a snapshot may take: an audit reads millions of rows.
pub(super) const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);

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
    fn of(&self, dialect: Dialect, sql: &str) -> Arc<str> {
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
        Ok(Conn {
            link,
            texts: texts.clone(),
            timeout,
            deadline: None,
            spoilt: false,
            in_transaction: false,
        })
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
            let mut conn = acquiring.await.unwrap_or_else(|_| Err(late()))?;
            conn.deadline = Some(deadline);
            // Before the call: a transaction may be open even when its answer is lost.
            conn.in_transaction = true;
            match conn.script(begin.to_owned()).await {
                Ok(answers) => return Ok((Tx(conn), answers)),
                Err(fail) if fail.fault() == Fault::Lost && Instant::now() < deadline => {
                    tracing::debug!(error = %fail.judge(), "a connection was broken");
                }
                Err(fail) => return Err(fail),
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

enum Link {
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
            Dialect::MySql => {
                let mut sql = String::with_capacity(rows.len() * first.len() * 16 + 256);
                sql.push_str(head);
                sql.push_str(" VALUES ");
                for (n, row) in rows.iter().enumerate() {
                    sql.push_str(if n == 0 { "(" } else { ",(" });
                    list(&mut sql, row.iter());
                    sql.push(')');
                }
                sql.push_str(tail);
                self.raw(sql).await
            }
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
            Err(fail) if matches!(fail.fault(), Fault::Again | Fault::Unique | Fault::Row) => {
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

fn late() -> Fail {
    let what = "the database did not answer in time";
    Fail::Sql(sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        what,
    )))
}

type MySqlQuery<'q> = Query<'q, MySql, MySqlArguments>;
type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

fn bind_mysql<'q>(mut query: MySqlQuery<'q>, values: &'q [Value]) -> MySqlQuery<'q> {
    for value in values {
        query = match value {
            Value::Int(number) => query.bind(*number),
            Value::Bytes(bytes) => query.bind(bytes.as_deref()),
            Value::Text(text) => query.bind(text.as_deref()),
        };
    }
    query
}

fn bind_postgres<'q>(mut query: PgQuery<'q>, values: &'q [Value]) -> PgQuery<'q> {
    for value in values {
        query = match value {
            Value::Int(number) => query.bind(*number),
            Value::Bytes(bytes) => query.bind(bytes.as_deref()),
            Value::Text(text) => query.bind(text.as_deref()),
        };
    }
    query
}

/// One column of many rows as an array. All values are of one kind.
fn bind_array<'q>(
    query: PgQuery<'q>,
    column: impl Iterator<Item = &'q Value> + Clone,
) -> PgQuery<'q> {
    let kind = column.clone().next().expect("no array is made of nothing");
    let mixed = "the values of a column are of one kind";
    match kind {
        Value::Int(_) => query.bind::<Vec<Option<i64>>>(
            column
                .map(|value| match value {
                    Value::Int(number) => *number,
                    _ => panic!("{mixed}"),
                })
                .collect(),
        ),
        Value::Bytes(_) => query.bind::<Vec<Option<&'q [u8]>>>(
            column
                .map(|value| match value {
                    Value::Bytes(bytes) => bytes.as_deref(),
                    _ => panic!("{mixed}"),
                })
                .collect(),
        ),
        Value::Text(_) => query.bind::<Vec<Option<&'q str>>>(
            column
                .map(|value| match value {
                    Value::Text(text) => text.as_deref(),
                    _ => panic!("{mixed}"),
                })
                .collect(),
        ),
    }
}

/// What a value's column is called in PostgreSQL.
fn array_of(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "bigint",
        Value::Bytes(_) => "bytea",
        Value::Text(_) => "text",
    }
}

fn list<'v>(sql: &mut String, values: impl Iterator<Item = &'v Value>) {
    for (n, value) in values.enumerate() {
        if n > 0 {
            sql.push(',');
        }
        literal(sql, value);
    }
}

/// MySQL's text of a statement with lists: every value in it as a literal, because a statement
/// of every length would be a prepared one for the server to keep.
fn text_with_lists(sql: &str, values: &[Value], lists: &[&[Value]]) -> String {
    let keys: usize = lists.iter().map(|list| list.len()).sum();
    let mut text = String::with_capacity(sql.len() + keys * 24);
    let (mut values, mut lists) = (values.iter(), lists.iter());
    for (n, part) in sql.split("{IN}").enumerate() {
        if n > 0 {
            text.push_str("IN (");
            list(
                &mut text,
                lists.next().expect("a list for each {IN}").iter(),
            );
            text.push(')');
        }
        for (n, part) in part.split('?').enumerate() {
            if n > 0 {
                literal(&mut text, values.next().expect("a value for each ?"));
            }
            text.push_str(part);
        }
    }
    assert!(
        values.next().is_none() && lists.next().is_none(),
        "every value and every list has its place"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_lists_find_their_places() {
        let (one, two) = ([1_i64.into(), 2_i64.into()], [Value::from(&[0xab; 1])]);
        let text = text_with_lists(
            "a {IN} AND b = ? AND c {IN} AND d = ?",
            &[7_i64.into(), Value::Int(None)],
            &[&one, &two],
        );
        assert_eq!(text, "a IN (1,2) AND b = 7 AND c IN (x'ab') AND d = NULL");
    }
}
