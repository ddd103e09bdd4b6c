//! What is bound to a statement, and what a row gives back, whatever the database.
//!
//! Three kinds of column are enough: 64-bit integers, bytes (ids and user ids, so that nothing
//! but equal bytes is equal), and text. Reading never trusts: another kind is an error.

use rules::UserId;
use sqlx::{
    ColumnIndex, Decode, Row as _, TypeInfo as _, ValueRef as _, mysql::MySqlRow, postgres::PgRow,
};

use super::fault::Fail;
use crate::codec;

/// A value to bind; `None` is NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// For BIGINT.
    Int(Option<i64>),
    /// For BINARY, VARBINARY and BYTEA.
    Bytes(Option<Vec<u8>>),
    /// For TEXT and VARCHAR.
    Text(Option<String>),
}

/// `[Value; n]` out of anything that becomes a [`Value`].
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::server::value::Value::from($value)),*]
    };
}
pub(super) use values;

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(Some(i64::from(number)))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

impl<const N: usize> From<Option<&[u8; N]>> for Value {
    fn from(bytes: Option<&[u8; N]>) -> Self {
        Self::Bytes(bytes.map(|bytes| bytes.to_vec()))
    }
}

impl From<&UserId> for Value {
    fn from(user: &UserId) -> Self {
        Self::Bytes(Some(user.as_str().as_bytes().to_vec()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

/// A row; columns count from 0.
#[derive(Debug)]
pub(super) enum Row {
    /// Of MySQL.
    MySql(MySqlRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// An integer, which must not be NULL.
    pub(super) fn int(&self, column: usize) -> Result<i64, Fail> {
        self.maybe_int(column)?.ok_or_else(|| missing(column))
    }

    /// An integer or NULL. Narrower integers and booleans, as expressions give them, too.
    pub(super) fn maybe_int(&self, column: usize) -> Result<Option<i64>, Fail> {
        match self {
            // MySQL's driver reads any width as 64 bits, once it is not asked for the type.
            Self::MySql(row) => Ok(row.try_get_unchecked(column)?),
            Self::Postgres(row) => {
                let kind = row.try_get_raw(column)?.type_info().name().to_owned();
                Ok(match kind.as_str() {
                    "BOOL" => row.try_get::<Option<bool>, _>(column)?.map(i64::from),
                    "INT4" => row.try_get::<Option<i32>, _>(column)?.map(i64::from),
                    _ => row.try_get(column)?,
                })
            }
        }
    }

    /// Whether a condition or a 0/1 column holds.
    pub(super) fn flag(&self, column: usize) -> Result<bool, Fail> {
        Ok(self.int(column)? != 0)
    }

    /// Bytes, which must not be NULL.
    pub(super) fn bytes(&self, column: usize) -> Result<&[u8], Fail> {
        self.maybe_bytes(column)?.ok_or_else(|| missing(column))
    }

    /// Bytes or NULL.
    pub(super) fn maybe_bytes(&self, column: usize) -> Result<Option<&[u8]>, Fail> {
        match self {
            Self::MySql(row) => unchecked(row, column),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// Text, which must not be NULL.
    pub(super) fn text(&self, column: usize) -> Result<&str, Fail> {
        self.maybe_text(column)?.ok_or_else(|| missing(column))
    }

    /// Text or NULL.
    pub(super) fn maybe_text(&self, column: usize) -> Result<Option<&str>, Fail> {
        match self {
            Self::MySql(row) => unchecked(row, column),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// A user's id out of a column of bytes.
    pub(super) fn user(&self, column: usize) -> Result<UserId, Fail> {
        let text = std::str::from_utf8(self.bytes(column)?);
        let text = text.map_err(|error| codec::corrupt(format!("a user's id: {error}")))?;
        Ok(UserId::trusted(text))
    }
}

/// Without asking for the exact type: MySQL's expressions change it, the bytes stay the same.
fn unchecked<'r, T>(row: &'r MySqlRow, column: usize) -> Result<Option<T>, Fail>
where
    T: Decode<'r, sqlx::MySql>,
    usize: ColumnIndex<MySqlRow>,
{
    Ok(row.try_get_unchecked(column)?)
}

fn missing(column: usize) -> Fail {
    codec::corrupt(format!("column {column} holds nothing")).into()
}
