//! A statement over rows.
//!
//! It reads a table's wanted columns once and keeps rows in memory: its callers bound them.

use std::{cmp::Ordering, collections::HashSet, ops::Range};

use super::{
    ROWS_DEFAULT, ROWS_MAX, SqlError,
    ast::{Expr, From, Select},
    eval::{At, Scope},
    plan::{Plan, has_aggregate},
    series::Series,
    value::Value,
};

/// Named columns of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relation {
    /// The names, in order.
    pub columns: Vec<String>,
    /// The rows; each has a value for every column.
    pub rows: Vec<Vec<Value>>,
}

/// Reads the given columns of a log, or all of them.
pub type Reader<'a> = dyn Fn(Option<&[String]>) -> Result<Relation, SqlError> + 'a;

/// Answers `select` about the seconds of `span`; `log` reads the log.
///
/// # Errors
/// When the statement cannot be answered, or `log` fails.
pub fn run(select: &Select, log: &Reader<'_>, span: &Range<i64>) -> Result<Relation, SqlError> {
    let limit = select.limit.unwrap_or(ROWS_DEFAULT);
    if limit > ROWS_MAX {
        return Err(SqlError::new(format!("LIMIT is at most {ROWS_MAX}")));
    }
    answer(select, log, span, limit)
}

fn answer(
    select: &Select,
    log: &Reader<'_>,
    span: &Range<i64>,
    limit: usize,
) -> Result<Relation, SqlError> {
    let plan = Plan::of(select)?;
    let source = match &select.from {
        From::Log => log(plan.columns.as_deref())?,
        // Only the outermost statement has a limit of its own accord.
        From::Select(inner) => answer(inner, log, span, inner.limit.unwrap_or(usize::MAX))?,
    };
    let scope = Scope::new(&source, &plan);
    let mut kept = Vec::new();
    for row in 0..source.rows.len() {
        let keep = match &select.filter {
            Some(filter) => scope.value(filter, At::Row(row))?.is_true(),
            None => true,
        };
        if keep {
            kept.push(row);
        }
    }
    let (columns, items) = plan.selected(&source.columns);
    let series = Series::grouping(&plan.group_by)?;
    let groups = plan
        .grouped
        .then(|| scope.groups(kept.clone(), series.as_ref().map(|series| (series, span))))
        .transpose()?;
    let places: Vec<At<'_>> = match &groups {
        Some(groups) => groups.iter().map(At::Group).collect(),
        None => kept.into_iter().map(At::Row).collect(),
    };
    let mut rows = Vec::new();
    for at in places {
        if let Some(having) = &plan.having
            && !scope.value(having, at)?.is_true()
        {
            continue;
        }
        let value = |expr: &Expr| match &series {
            Some(series) if at.is_added() && has_aggregate(expr) => Ok(series.fill.clone()),
            _ => scope.value(expr, at),
        };
        let row: Vec<Value> = items.iter().map(value).collect::<Result<_, _>>()?;
        let order = plan.order_by.iter().map(|(expr, _)| value(expr));
        rows.push((order.collect::<Result<Vec<_>, _>>()?, row));
    }
    if select.distinct {
        let mut seen = HashSet::new();
        rows.retain(|(_, row)| seen.insert(key(row)));
    }
    rows.sort_by(|(a, _), (b, _)| {
        let pairs = a.iter().zip(b).zip(&plan.order_by);
        pairs
            .map(|((a, b), (_, descending))| {
                let order = a.order(b);
                // Nulls are last in both directions.
                let known = *a != Value::Null && *b != Value::Null;
                if *descending && known {
                    order.reverse()
                } else {
                    order
                }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    let rows = rows.into_iter().skip(select.offset).take(limit);
    Ok(Relation {
        columns,
        rows: rows.map(|(_, row)| row).collect(),
    })
}

/// What tells rows apart: the values' text with its length, so that none runs into the next.
pub(super) fn key(row: &[Value]) -> String {
    let mut key = String::new();
    for value in row {
        let text = value.to_string();
        let kind = matches!(value, Value::Null);
        key.push_str(&format!("{}{}:{text}", u8::from(kind), text.len()));
    }
    key
}
