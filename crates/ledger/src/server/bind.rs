//! Values on their way into a statement: bound, as arrays, or as literals.

use sqlx::{MySql, Postgres, mysql::MySqlArguments, postgres::PgArguments, query::Query};

use super::{dialect::literal, value::Value};

pub(super) type MySqlQuery<'q> = Query<'q, MySql, MySqlArguments>;
pub(super) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

pub(super) fn bind_mysql<'q>(mut query: MySqlQuery<'q>, values: &'q [Value]) -> MySqlQuery<'q> {
    for value in values {
        query = match value {
            Value::Int(number) => query.bind(*number),
            Value::Bytes(bytes) => query.bind(bytes.as_deref()),
            Value::Text(text) => query.bind(text.as_deref()),
        };
    }
    query
}

pub(super) fn bind_postgres<'q>(mut query: PgQuery<'q>, values: &'q [Value]) -> PgQuery<'q> {
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
pub(super) fn bind_array<'q>(
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
pub(super) fn array_of(value: &Value) -> &'static str {
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

/// MySQL's text of an INSERT: see [`Conn::insert_rows`].
pub(super) fn rows_text(head: &str, rows: &[Vec<Value>], tail: &str) -> String {
    let width = rows.first().map_or(0, Vec::len);
    let mut sql = String::with_capacity(rows.len() * width * 16 + 256);
    sql.push_str(head);
    sql.push_str(" VALUES ");
    for (n, row) in rows.iter().enumerate() {
        sql.push_str(if n == 0 { "(" } else { ",(" });
        list(&mut sql, row.iter());
        sql.push(')');
    }
    sql.push_str(tail);
    sql
}

/// MySQL's text of a statement with lists: every value in it as a literal, because a statement
/// of every length would be a prepared one for the server to keep.
pub(super) fn text_with_lists(sql: &str, values: &[Value], lists: &[&[Value]]) -> String {
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
