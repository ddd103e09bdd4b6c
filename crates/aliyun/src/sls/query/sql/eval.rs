//! Expressions over a row, or over a group of rows.

use std::{collections::HashMap, ops::Range};

use super::{
    SqlError,
    aggregate::{aggregate, is_aggregate},
    ast::{Call, Expr, Op},
    functions,
    plan::Plan,
    run::{Relation, key},
    series::Series,
    value::{Value, binary, like},
};

/// One group's rows, and what they have in common.
pub(super) struct Group {
    keys: Vec<Value>,
    /// None in a group that was added for a window without logs.
    rows: Vec<usize>,
}

/// What an expression is evaluated for.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Row(usize),
    Group(&'a Group),
}

impl At<'_> {
    /// Whether it is a group that was added.
    pub(super) fn is_added(self) -> bool {
        matches!(self, Self::Group(group) if group.rows.is_empty())
    }
}

pub(super) struct Scope<'a> {
    source: &'a Relation,
    places: HashMap<&'a str, usize>,
    group_by: &'a [Expr],
}

impl<'a> Scope<'a> {
    pub(super) fn new(source: &'a Relation, plan: &'a Plan<'_>) -> Self {
        let places = source.columns.iter().enumerate();
        Self {
            source,
            places: places.map(|(at, name)| (name.as_str(), at)).collect(),
            group_by: &plan.group_by,
        }
    }

    /// One group for each value of what the statement groups by, and for each window of `series`
    /// in its interval that is none of them.
    pub(super) fn groups(
        &self,
        rows: Vec<usize>,
        series: Option<(&Series, &Range<i64>)>,
    ) -> Result<Vec<Group>, SqlError> {
        if self.group_by.is_empty() {
            let keys = Vec::new();
            return Ok(vec![Group { keys, rows }]);
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut found: HashMap<String, usize> = HashMap::new();
        for row in rows {
            let keys = self
                .group_by
                .iter()
                .map(|expr| self.value(expr, At::Row(row)));
            let keys: Vec<Value> = keys.collect::<Result<_, _>>()?;
            let at = *found.entry(key(&keys)).or_insert_with(|| {
                let rows = Vec::new();
                groups.push(Group { keys, rows });
                groups.len() - 1
            });
            groups[at].rows.push(row);
        }
        if let Some((series, span)) = series {
            let known = groups.iter().map(|group| group.keys[0].to_string());
            let missing = series.missing(span, known)?;
            groups.extend(missing.into_iter().map(|window| Group {
                keys: vec![window],
                rows: Vec::new(),
            }));
        }
        // In an order that depends on nothing else, where the statement asks for none.
        groups.sort_by(|a, b| {
            let pairs = a.keys.iter().zip(&b.keys);
            pairs
                .map(|(a, b)| a.order(b))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        Ok(groups)
    }

    pub(super) fn value(&self, expr: &Expr, at: At<'_>) -> Result<Value, SqlError> {
        if let At::Group(group) = at
            && let Some(place) = self.group_by.iter().position(|by| by == expr)
        {
            return Ok(group.keys[place].clone());
        }
        let value = |expr: &Expr| self.value(expr, at);
        Ok(match expr {
            Expr::Literal(literal) => literal.clone(),
            Expr::Column(name) => self.column(name, at)?,
            Expr::Not(inner) => value(inner)?.not(),
            Expr::Negative(inner) => value(inner)?.negative()?,
            Expr::Binary(left, op, right) => binary(&value(left)?, *op, &value(right)?)?,
            Expr::IsNull(inner) => Value::Bool(value(inner)? == Value::Null),
            Expr::In(inner, list) => {
                let inner = value(inner)?;
                let mut found = Value::Bool(false);
                for one in list {
                    let equal = binary(&inner, Op::Equal, &value(one)?)?;
                    found = binary(&found, Op::Or, &equal)?;
                }
                found
            }
            Expr::Between(inner, from, to) => {
                let inner = value(inner)?;
                let above = binary(&inner, Op::GreaterOrEqual, &value(from)?)?;
                let below = binary(&inner, Op::LessOrEqual, &value(to)?)?;
                binary(&above, Op::And, &below)?
            }
            Expr::Like(text, pattern) => match (value(text)?, value(pattern)?) {
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                (text, pattern) => Value::Bool(like(&text.to_string(), &pattern.to_string())),
            },
            Expr::Case {
                operand,
                whens,
                otherwise,
            } => self.case(operand.as_deref(), whens, otherwise.as_deref(), at)?,
            Expr::Cast { expr, to, lenient } => {
                let inner = value(expr)?;
                match inner.convert(*to) {
                    Some(converted) => converted,
                    None if *lenient => Value::Null,
                    None => return Err(SqlError::new(format!("cannot cast `{inner}`"))),
                }
            }
            Expr::Call(call) => self.call(call, at)?,
        })
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        whens: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
        at: At<'_>,
    ) -> Result<Value, SqlError> {
        let value = |expr: &Expr| self.value(expr, at);
        let operand = operand.map(value).transpose()?;
        for (when, then) in whens {
            let when = value(when)?;
            let meets = match &operand {
                Some(operand) => binary(operand, Op::Equal, &when)?,
                None => when,
            };
            if meets.is_true() {
                return value(then);
            }
        }
        otherwise.map_or(Ok(Value::Null), value)
    }

    fn call(&self, call: &Call, at: At<'_>) -> Result<Value, SqlError> {
        match at {
            At::Group(group) if is_aggregate(&call.name) => {
                let row = |&row: &usize| {
                    let args = call.args.iter().map(|arg| self.value(arg, At::Row(row)));
                    args.collect::<Result<Vec<_>, _>>()
                };
                let rows = group.rows.iter().map(row).collect::<Result<_, _>>()?;
                aggregate(call, rows)
            }
            At::Row(_) if is_aggregate(&call.name) => {
                Err(SqlError::new("aggregations cannot be nested"))
            }
            _ => {
                let args = call.args.iter().map(|arg| self.value(arg, at));
                let args: Vec<Value> = args.collect::<Result<_, _>>()?;
                functions::call(&call.name, &args)
            }
        }
    }

    fn column(&self, name: &str, at: At<'_>) -> Result<Value, SqlError> {
        match (self.places.get(name), at) {
            (None, _) => Err(SqlError::new(format!("Column '{name}' cannot be resolved"))),
            (Some(&place), At::Row(row)) => Ok(self.source.rows[row][place].clone()),
            (Some(_), At::Group(_)) => Err(SqlError::new(format!(
                "'{name}' must be an aggregate expression or appear in GROUP BY clause"
            ))),
        }
    }
}
