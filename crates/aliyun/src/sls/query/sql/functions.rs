//! Functions of one row.

use super::{
    SqlError,
    series::Series,
    time::{Civil, date_trunc},
    value::Value,
};

/// The functions of one row.
const FUNCTIONS: [&str; 22] = [
    "abs",
    "ceil",
    "ceiling",
    "coalesce",
    "concat",
    "date_format",
    "date_trunc",
    "floor",
    "from_unixtime",
    "if",
    "length",
    "lower",
    "mod",
    "nullif",
    "round",
    "strpos",
    "substr",
    "substring",
    "time_series",
    "to_unixtime",
    "trim",
    "upper",
];

/// Whether `name`, in lower case, is a function of one row.
pub(crate) fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// The answer of the function `name` for `args`.
///
/// # Errors
/// When there is no such function, or the arguments do not fit it.
pub(crate) fn call(name: &str, args: &[Value]) -> Result<Value, SqlError> {
    let known = matches!(
        name,
        "coalesce" | "if" | "nullif" | "concat" | "round" | "substr" | "substring"
    );
    // Of most functions, what is not known makes the answer unknown.
    if !known && args.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    match (name, args) {
        ("coalesce", args) => Ok(first_known(args)),
        ("if", [condition, then]) => Ok(choose(condition, then, &Value::Null)),
        ("if", [condition, then, otherwise]) => Ok(choose(condition, then, otherwise)),
        ("nullif", [a, b]) if a.compare(b).is_some_and(std::cmp::Ordering::is_eq) => {
            Ok(Value::Null)
        }
        ("nullif", [a, _]) => Ok(a.clone()),
        ("abs", [Value::Int(a)]) => Ok(Value::Int(a.saturating_abs())),
        ("abs", [a]) => float(name, a).map(|a| Value::Float(a.abs())),
        ("round", [Value::Null, ..]) => Ok(Value::Null),
        ("round" | "floor" | "ceil" | "ceiling", [Value::Int(a)]) => Ok(Value::Int(*a)),
        ("round", [a]) => float(name, a).map(|a| Value::Float(a.round())),
        ("round", [a, Value::Int(digits)]) => {
            let unit = 10_f64.powi((*digits).clamp(-15, 15) as i32);
            let rounded = |a: f64| match (a * unit).is_finite() {
                true => (a * unit).round() / unit,
                // Too large to have digits behind the point.
                false => a,
            };
            float(name, a).map(|a| Value::Float(rounded(a)))
        }
        ("floor", [a]) => float(name, a).map(|a| Value::Float(a.floor())),
        ("ceil" | "ceiling", [a]) => float(name, a).map(|a| Value::Float(a.ceil())),
        ("mod", [a, b]) => super::value::binary(a, super::ast::Op::Modulo, b),
        ("length", [a]) => Ok(Value::Int(a.to_string().chars().count() as i64)),
        ("lower", [a]) => Ok(Value::Text(a.to_string().to_lowercase())),
        ("upper", [a]) => Ok(Value::Text(a.to_string().to_uppercase())),
        ("trim", [a]) => Ok(Value::Text(a.to_string().trim().to_owned())),
        ("concat", args) if !args.is_empty() => concat(args),
        ("substr" | "substring", [Value::Null, ..]) => Ok(Value::Null),
        ("substr" | "substring", [text, Value::Int(from)]) => Ok(substr(text, *from, i64::MAX)),
        ("substr" | "substring", [text, Value::Int(from), Value::Int(length)]) => {
            Ok(substr(text, *from, *length))
        }
        ("strpos", [text, part]) => Ok(strpos(&text.to_string(), &part.to_string())),
        ("from_unixtime", [at]) => seconds(name, at)
            .and_then(|at| Civil::from_unix(at).format("%Y-%m-%d %T.000"))
            .map(Value::Text),
        ("to_unixtime", [at]) => seconds(name, at).map(Value::Int),
        ("date_trunc", [unit, at]) => date_trunc(&unit.to_string(), seconds(name, at)?),
        ("date_format", [at, pattern]) => Civil::from_unix(seconds(name, at)?)
            .format(&pattern.to_string())
            .map(Value::Text),
        ("time_series", [at, window, format, padding]) => {
            let [window, format, padding] = [window, format, padding].map(Value::to_string);
            Series::new(&window, &format, &padding)?.shown(seconds(name, at)?)
        }
        _ => Err(SqlError::new(format!(
            "function {name} with {} arguments is not supported",
            args.len()
        ))),
    }
}

fn first_known(args: &[Value]) -> Value {
    let known = args.iter().find(|arg| **arg != Value::Null);
    known.cloned().unwrap_or(Value::Null)
}

fn choose(condition: &Value, then: &Value, otherwise: &Value) -> Value {
    if condition.is_true() { then } else { otherwise }.clone()
}

fn concat(args: &[Value]) -> Result<Value, SqlError> {
    if args.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    super::value::joined(args.iter().map(Value::to_string))
}

/// `length` characters of `text` from the `from`th, which counts from 1, or from the end when
/// it is negative.
fn substr(text: &Value, from: i64, length: i64) -> Value {
    let text: Vec<char> = text.to_string().chars().collect();
    let start = if from < 0 {
        text.len().checked_sub(from.unsigned_abs() as usize)
    } else {
        usize::try_from(from - 1).ok()
    };
    let start = start
        .filter(|start| *start < text.len())
        .unwrap_or(text.len());
    let length = usize::try_from(length).unwrap_or(0);
    Value::Text(text[start..].iter().take(length).collect())
}

/// Where `part` begins in `text`, counted in characters from 1; 0 when it is not there.
fn strpos(text: &str, part: &str) -> Value {
    let place = text
        .find(part)
        .map_or(0, |at| text[..at].chars().count() + 1);
    Value::Int(place as i64)
}

fn float(name: &str, value: &Value) -> Result<f64, SqlError> {
    let float = value.as_f64();
    float.ok_or_else(|| SqlError::new(format!("function {name} needs a number")))
}

/// The seconds since the Unix epoch that a number, or the text of a date, stands for.
fn seconds(name: &str, value: &Value) -> Result<i64, SqlError> {
    if let Value::Text(text) = value
        && let Some(unix) = Civil::to_unix(text)
    {
        return Ok(unix);
    }
    float(name, value).map(|seconds| seconds as i64)
}
