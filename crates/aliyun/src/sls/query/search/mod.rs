//! The search: keywords, `field: value`, comparisons, `in` ranges, `and`, `or`, `not`.
//!
//! It knows the language; what a field holds and how it is indexed, the [`Fields`] know.

mod parse;
#[cfg(test)]
mod tests;

pub use self::parse::parse;
use super::sql::Value;

/// A search that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Search {
    /// Everything.
    All,
    /// A keyword anywhere.
    Keyword(Pattern),
    /// A keyword in one field.
    Field(String, Pattern),
    /// A number in one field.
    Range(String, Range),
    /// Not this.
    Not(Box<Search>),
    /// Both.
    And(Box<Search>, Box<Search>),
    /// Either.
    Or(Box<Search>, Box<Search>),
}

/// What is looked for in text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The text; in it `*` stands for any characters and `?` for one, unless it was quoted.
    pub text: String,
    /// It stood in quotes.
    pub quoted: bool,
}

/// Bounds of a number, each with whether it is within.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Range {
    /// The lower one.
    pub from: Option<(f64, bool)>,
    /// The upper one.
    pub to: Option<(f64, bool)>,
}

impl Range {
    /// Whether `value` lies within.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        let Some(value) = value.as_f64() else {
            return false;
        };
        let above = |(from, within): (f64, bool)| value > from || within && value >= from;
        let below = |(to, within): (f64, bool)| value < to || within && value <= to;
        self.from.is_none_or(above) && self.to.is_none_or(below)
    }
}

/// What a search is put to.
pub trait Fields {
    /// Whether `pattern` is in any field that is searched without being named.
    fn anywhere(&self, pattern: &Pattern) -> bool;
    /// Whether `pattern` is in the field.
    fn field(&self, name: &str, pattern: &Pattern) -> bool;
    /// The field's number; null when it holds none.
    fn number(&self, name: &str) -> Value;
}

impl Search {
    /// Whether `fields` are searched for.
    pub fn finds(&self, fields: &impl Fields) -> bool {
        match self {
            Self::All => true,
            Self::Keyword(pattern) => fields.anywhere(pattern),
            Self::Field(name, pattern) => fields.field(name, pattern),
            Self::Range(name, range) => range.contains(&fields.number(name)),
            Self::Not(inner) => !inner.finds(fields),
            Self::And(a, b) => a.finds(fields) && b.finds(fields),
            Self::Or(a, b) => a.finds(fields) || b.finds(fields),
        }
    }

    /// Calls `look` with each field that the search names, and whether as a number.
    ///
    /// # Errors
    /// The first of `look`.
    pub fn names<E>(&self, look: &mut impl FnMut(&str, bool) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::All | Self::Keyword(_) => Ok(()),
            Self::Field(name, _) => look(name, false),
            Self::Range(name, _) => look(name, true),
            Self::Not(inner) => inner.names(look),
            Self::And(a, b) | Self::Or(a, b) => {
                a.names(look)?;
                b.names(look)
            }
        }
    }
}
