//! The SQL that statistics are made with: one `SELECT`, which may select from another.
//!
//! A parser of our own: the subset is small and closed, its refusals have to be the service's,
//! and a general SQL parser would bring more grammar than could be answered. What is not
//! supported is refused by name.
//!
//! # Layout
//! - `lex`, [`parse`] and `expr`: text to `ast`.
//! - `value`: values and operators; `functions` and `time`: functions of one row; `aggregate`:
//!   of many; `series`: windows of time.
//! - `plan`: names resolved; `eval`: expressions over rows; [`run`]: a statement over rows.

mod aggregate;
mod ast;
mod eval;
mod expr;
mod functions;
mod lex;
mod parse;
mod plan;
mod run;
mod series;
#[cfg(test)]
mod tests;
mod time;
mod value;

pub(crate) use self::value::glob;
pub use self::{
    ast::Select,
    parse::parse,
    run::{Reader, Relation, run},
    value::Value,
};

/// Rows that a statement answers with unless it has a `LIMIT`.
pub const ROWS_DEFAULT: usize = 100;
/// The most rows that a `LIMIT` may ask for.
pub const ROWS_MAX: usize = 1_000_000;

/// Why a statement cannot be answered; the text is for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SqlError(pub String);

impl SqlError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
