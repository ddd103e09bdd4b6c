//! The few places where MySQL and PostgreSQL are told the same thing in other words.

use std::fmt::Write as _;

use super::value::Value;

/// Which SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// MySQL, MariaDB, and what speaks like them.
    MySql,
    /// PostgreSQL.
    Postgres,
}

impl Dialect {
    /// As metrics and messages name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
        }
    }

    /// The tail of an INSERT that overwrites the columns `set` of a row whose unique `key`
    /// (column list) is there already.
    pub(super) fn upsert(self, key: &str, set: &[&str]) -> String {
        let new = |column: &&str| match self {
            Self::MySql => format!("{column} = VALUES({column})"),
            Self::Postgres => format!("{column} = excluded.{column}"),
        };
        let set: Vec<_> = set.iter().map(new).collect();
        format!("{}{}", self.on_conflict(key), set.join(", "))
    }

    /// The tail of an INSERT up to the assignments for a row whose `key` is there already; the
    /// row that is there goes by the table's name, as in `resent = bundles.resent + 1`.
    pub(super) fn on_conflict(self, key: &str) -> String {
        match self {
            Self::MySql => " ON DUPLICATE KEY UPDATE ".to_owned(),
            Self::Postgres => format!(" ON CONFLICT ({key}) DO UPDATE SET "),
        }
    }

    /// The tail of an INSERT that passes over rows of which any unique key is there already.
    /// `column` is any column of the table. (`INSERT IGNORE` would pass over far more.)
    ///
    /// PostgreSQL then tells how many rows were inserted; MySQL does not: see [`super::sql`].
    pub(super) fn passing_over(self, column: &str) -> String {
        match self {
            Self::MySql => format!(" ON DUPLICATE KEY UPDATE {column} = {column}"),
            Self::Postgres => " ON CONFLICT DO NOTHING".to_owned(),
        }
    }

    /// `sql` in this dialect: every `?` outside quotes as the database numbers it, every
    /// `{INT}` as the name of a 64-bit integer in a CAST, and `{BY index}` after a table as the
    /// order to use that index where one must be given: MySQL's picture of a table that is being
    /// filled is seconds old, and by it the best plan would be to read the whole table.
    pub(super) fn rewrite(self, sql: &str) -> String {
        let int = match self {
            Self::MySql => "SIGNED",
            Self::Postgres => "BIGINT",
        };
        let mut sql = sql.replace("{INT}", int);
        while let Some((before, rest)) = sql.split_once("{BY ") {
            let (index, after) = rest.split_once('}').expect("a mark has its end");
            sql = match self {
                Self::MySql => format!("{before}FORCE INDEX ({index}){after}"),
                Self::Postgres => format!("{before}{after}"),
            };
        }
        if self == Self::MySql {
            return sql;
        }
        let mut numbered = String::with_capacity(sql.len() + 16);
        let (mut quoted, mut number) = (false, 0);
        for sign in sql.chars() {
            match sign {
                '\'' => quoted = !quoted,
                '?' if !quoted => {
                    number += 1;
                    write!(numbered, "${number}").expect("a String takes all that is written");
                    continue;
                }
                _ => {}
            }
            numbered.push(sign);
        }
        numbered
    }
}

/// A value as MySQL reads it in a statement's text: digits or hexadecimal only, whatever is in
/// it, so that nothing can be smuggled into the statement.
pub(super) fn literal(sql: &mut String, value: &Value) {
    let written = match value {
        Value::Int(Some(number)) => write!(sql, "{number}"),
        Value::Bytes(Some(bytes)) => write!(sql, "x'{}'", hex::encode(bytes)),
        Value::Text(Some(text)) => write!(sql, "_utf8mb4 x'{}'", hex::encode(text)),
        Value::Int(None) | Value::Bytes(None) | Value::Text(None) => write!(sql, "NULL"),
    };
    written.expect("a String takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_outside_quotes() {
        let sql = "SELECT CAST(a AS {INT}) FROM t {BY i} WHERE b = ? AND c = '?' AND d = ?";
        assert_eq!(
            Dialect::Postgres.rewrite(sql),
            "SELECT CAST(a AS BIGINT) FROM t  WHERE b = $1 AND c = '?' AND d = $2"
        );
        assert_eq!(
            Dialect::MySql.rewrite(sql),
            "SELECT CAST(a AS SIGNED) FROM t FORCE INDEX (i) WHERE b = ? AND c = '?' AND d = ?"
        );
    }

    #[test]
    fn a_literal_cannot_leave_its_quotes() {
        let mut sql = String::new();
        literal(&mut sql, &Value::from("'; DROP TABLE claims; --"));
        let inside = sql
            .strip_prefix("_utf8mb4 x'")
            .and_then(|s| s.strip_suffix('\''));
        assert!(inside.is_some_and(|s| s.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
