//! Functions of many rows.

use std::collections::HashSet;

use super::{SqlError, ast::Call, value::Value};

/// The functions of many rows, and how many arguments each takes.
const AGGREGATES: [(&str, usize); 13] = [
    ("count", 1),
    ("count_if", 1),
    ("sum", 1),
    ("avg", 1),
    ("min", 1),
    ("max", 1),
    ("arbitrary", 1),
    ("any_value", 1),
    ("approx_distinct", 1),
    ("approx_percentile", 2),
    ("percentile", 2),
    ("max_by", 2),
    ("min_by", 2),
];

/// Whether `name`, in lower case, is a function of many rows.
pub(crate) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.iter().any(|(known, _)| *known == name)
}

/// The answer of `call`, whose arguments were evaluated for each row.
///
/// # Errors
/// When the arguments do not fit.
pub(crate) fn aggregate(call: &Call, rows: Vec<Vec<Value>>) -> Result<Value, SqlError> {
    let arguments = AGGREGATES.iter().find(|(name, _)| *name == call.name);
    let arguments = arguments.map_or(0, |(_, arguments)| *arguments);
    if call.args.len() != arguments {
        return Err(SqlError::new(format!(
            "function {} takes {arguments} arguments",
            call.name
        )));
    }
    // Rows whose first argument is not known do not count.
    let mut known: Vec<Vec<Value>> = rows.into_iter().filter(|r| r[0] != Value::Null).collect();
    if call.distinct {
        let mut seen = HashSet::new();
        known.retain(|row| seen.insert(row[0].to_string()));
    }
    let first = || known.iter().map(|row| &row[0]);
    Ok(match call.name.as_str() {
        "count" => count(known.len()),
        "count_if" => count(first().filter(|value| value.is_true()).count()),
        "sum" => sum(first())?,
        "avg" => match sum(first())?.as_f64() {
            Some(sum) => Value::Float(sum / known.len() as f64),
            None => Value::Null,
        },
        "min" => first()
            .min_by(|a, b| a.order(b))
            .cloned()
            .unwrap_or(Value::Null),
        "max" => first()
            .max_by(|a, b| a.order(b))
            .cloned()
            .unwrap_or(Value::Null),
        "approx_distinct" => count(first().map(Value::to_string).collect::<HashSet<_>>().len()),
        "approx_percentile" | "percentile" => percentile(&known)?,
        "max_by" => by(&known, |rows| rows.max_by(|a, b| a[1].order(&b[1]))),
        "min_by" => by(&known, |rows| rows.min_by(|a, b| a[1].order(&b[1]))),
        _ => first().next().cloned().unwrap_or(Value::Null),
    })
}

fn count(count: usize) -> Value {
    Value::Int(count as i64)
}

fn sum<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Value, SqlError> {
    let mut sum = Value::Null;
    for value in values {
        sum = match sum {
            Value::Null => super::value::binary(value, super::ast::Op::Add, &Value::Int(0))?,
            sum => super::value::binary(&sum, super::ast::Op::Add, value)?,
        };
    }
    Ok(sum)
}

/// The first argument of the row that `pick` takes of those whose second one is known.
fn by<'a>(
    rows: &'a [Vec<Value>],
    pick: impl Fn(&mut dyn Iterator<Item = &'a Vec<Value>>) -> Option<&'a Vec<Value>>,
) -> Value {
    let picked = pick(&mut rows.iter().filter(|row| row[1] != Value::Null));
    picked.map_or(Value::Null, |row| row[0].clone())
}

/// The nearest-rank percentile: exact, which the service's own is not.
fn percentile(rows: &[Vec<Value>]) -> Result<Value, SqlError> {
    let Some(first) = rows.first() else {
        return Ok(Value::Null);
    };
    let part = first[1].as_f64().filter(|part| (0.0..=1.0).contains(part));
    let part = part.ok_or_else(|| SqlError::new("a percentile must be between 0 and 1"))?;
    let mut values: Vec<&Value> = rows.iter().map(|row| &row[0]).collect();
    values.sort_by(|a, b| a.order(b));
    let rank = (part * values.len() as f64).ceil() as usize;
    Ok(values[rank.clamp(1, values.len()) - 1].clone())
}
