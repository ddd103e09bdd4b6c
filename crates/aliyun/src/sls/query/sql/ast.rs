//! What a statement says, without what it means.

use super::value::{Type, Value};

/// A `SELECT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Equal rows are answered once.
    pub(crate) distinct: bool,
    /// What is selected, in order.
    pub(crate) items: Vec<Item>,
    /// From where.
    pub(crate) from: From,
    /// `WHERE`.
    pub(crate) filter: Option<Expr>,
    /// `GROUP BY`.
    pub(crate) group_by: Vec<Expr>,
    /// `HAVING`.
    pub(crate) having: Option<Expr>,
    /// `ORDER BY`; true is descending.
    pub(crate) order_by: Vec<(Expr, bool)>,
    /// `OFFSET`, or the first number of `LIMIT a, b`.
    pub(crate) offset: usize,
    /// `LIMIT`.
    pub(crate) limit: Option<usize>,
}

/// One of the things selected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    /// `*`
    All,
    /// An expression and the name it gets.
    One {
        expr: Expr,
        name: String,
        aliased: bool,
    },
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum From {
    /// What the search found.
    Log,
    /// Another statement.
    Select(Box<Select>),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Column(String),
    Literal(Value),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Binary(Box<Expr>, Op, Box<Expr>),
    IsNull(Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    Like(Box<Expr>, Box<Expr>),
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast {
        expr: Box<Expr>,
        to: Type,
        /// What cannot be converted is null.
        lenient: bool,
    },
    Call(Call),
}

/// A function and what it is called with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// In lower case.
    pub(crate) name: String,
    pub(crate) distinct: bool,
    /// `count(*)` has one argument: a literal.
    pub(crate) args: Vec<Expr>,
}

/// What stands between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Concat,
    Multiply,
    Divide,
    Modulo,
}

impl Expr {
    /// The expressions that this one is made of.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Column(_) | Self::Literal(_) => Vec::new(),
            Self::Not(a) | Self::Negative(a) | Self::IsNull(a) => vec![a],
            Self::Cast { expr, .. } => vec![expr],
            Self::Binary(a, _, b) | Self::Like(a, b) => vec![a, b],
            Self::In(a, list) => std::iter::once(&**a).chain(list).collect(),
            Self::Between(a, from, to) => vec![a, from, to],
            Self::Case {
                operand,
                whens,
                otherwise,
            } => operand
                .iter()
                .chain(otherwise)
                .map(|e| &**e)
                .chain(whens.iter().flat_map(|(when, then)| [when, then]))
                .collect(),
            Self::Call(call) => call.args.iter().collect(),
        }
    }

    /// The same, to be changed.
    pub(crate) fn parts_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Column(_) | Self::Literal(_) => Vec::new(),
            Self::Not(a) | Self::Negative(a) | Self::IsNull(a) => vec![a],
            Self::Cast { expr, .. } => vec![expr],
            Self::Binary(a, _, b) | Self::Like(a, b) => vec![a, b],
            Self::In(a, list) => std::iter::once(&mut **a).chain(list).collect(),
            Self::Between(a, from, to) => vec![a, from, to],
            Self::Case {
                operand,
                whens,
                otherwise,
            } => operand
                .iter_mut()
                .chain(otherwise)
                .map(|e| &mut **e)
                .chain(whens.iter_mut().flat_map(|(when, then)| [when, then]))
                .collect(),
            Self::Call(call) => call.args.iter_mut().collect(),
        }
    }

    /// Adds the columns that this expression reads to `names`.
    pub(crate) fn columns(&self, names: &mut Vec<String>) {
        if let Self::Column(name) = self
            && !names.contains(name)
        {
            names.push(name.clone());
        }
        for part in self.parts() {
            part.columns(names);
        }
    }
}
