//! Values, and what operators do to them.
//!
//! Null is not known: an operator that meets it answers null. Text meets a number as the number
//! it holds, and is not known if it holds none.

use std::{cmp::Ordering, fmt};

use super::{SqlError, ast::Op};

/// No text that a statement puts together is longer: as much as a field can hold.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not known.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// Text.
    Text(String),
}

/// What a value can be converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int,
    Float,
    Text,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            // With a digit behind the point, as the service writes a double.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

impl Value {
    /// The whole number or else the number that `text` holds.
    fn number(text: &str) -> Option<Self> {
        let text = text.trim();
        let int = text.parse().map(Self::Int);
        int.or_else(|_| text.parse().map(Self::Float)).ok()
    }

    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Null | Self::Bool(_) => None,
        }
    }

    /// True only for what is known to be true.
    pub(crate) const fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// Below, equal or above; `None` when that is not known.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (a, b) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        }
    }

    /// An order of all values, such that sorting cannot contradict itself: truth before numbers
    /// before text, nulls last. Only numbers are compared as numbers.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => match (a.ordered_number(), b.ordered_number()) {
                (Some((a, a_whole)), Some((b, b_whole))) => {
                    let order = a.partial_cmp(&b);
                    // What is not a number is above all that are.
                    let order = order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
                    order.then(a_whole.cmp(&b_whole))
                }
                _ => a.rank().cmp(&b.rank()),
            },
        }
    }

    /// A number's order: as a float, and among whole numbers of the same float, exactly.
    const fn ordered_number(&self) -> Option<(f64, i64)> {
        match self {
            Self::Int(value) => Some((*value as f64, *value)),
            Self::Float(value) => Some((*value, *value as i64)),
            Self::Null | Self::Bool(_) | Self::Text(_) => None,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Float(_) => 1,
            Self::Text(_) => 2,
            Self::Null => 3,
        }
    }

    pub(crate) fn convert(&self, to: Type) -> Option<Self> {
        match (self, to) {
            (Self::Null, _) => Some(Self::Null),
            (value, Type::Text) => Some(Self::Text(value.to_string())),
            (Self::Bool(value), Type::Int) => Some(Self::Int(i64::from(*value))),
            (Self::Bool(value), Type::Bool) => Some(Self::Bool(*value)),
            (Self::Int(value), Type::Int) => Some(Self::Int(*value)),
            (Self::Text(text), Type::Int) => text.trim().parse().ok().map(Self::Int),
            (value, Type::Int) => value.as_f64().map(|float| Self::Int(float.round() as i64)),
            (value, Type::Float) => value.as_f64().map(Self::Float),
            (Self::Text(text), Type::Bool) => match text.as_str() {
                "true" => Some(Self::Bool(true)),
                "false" => Some(Self::Bool(false)),
                _ => None,
            },
            (value, Type::Bool) => value.as_f64().map(|float| Self::Bool(float != 0.0)),
        }
    }

    pub(crate) fn negative(&self) -> Result<Self, SqlError> {
        binary(&Self::Int(0), Op::Subtract, self)
    }

    pub(crate) fn not(&self) -> Self {
        match self {
            Self::Bool(value) => Self::Bool(!value),
            _ => Self::Null,
        }
    }
}

/// `left op right`.
pub(crate) fn binary(left: &Value, op: Op, right: &Value) -> Result<Value, SqlError> {
    let compared = |is: fn(Ordering) -> bool| {
        let ordering = left.compare(right);
        Ok(ordering.map_or(Value::Null, |ordering| Value::Bool(is(ordering))))
    };
    match op {
        Op::And => Ok(match (left, right) {
            (Value::Bool(false), _) | (_, Value::Bool(false)) => Value::Bool(false),
            (Value::Bool(true), Value::Bool(true)) => Value::Bool(true),
            _ => Value::Null,
        }),
        Op::Or => Ok(match (left, right) {
            (Value::Bool(true), _) | (_, Value::Bool(true)) => Value::Bool(true),
            (Value::Bool(false), Value::Bool(false)) => Value::Bool(false),
            _ => Value::Null,
        }),
        Op::Equal => compared(Ordering::is_eq),
        Op::NotEqual => compared(Ordering::is_ne),
        Op::Less => compared(Ordering::is_lt),
        Op::LessOrEqual => compared(Ordering::is_le),
        Op::Greater => compared(Ordering::is_gt),
        Op::GreaterOrEqual => compared(Ordering::is_ge),
        _ if *left == Value::Null || *right == Value::Null => Ok(Value::Null),
        Op::Concat => joined([left, right].into_iter().map(Value::to_string)),
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Modulo => {
            arithmetic(left, op, right)
        }
    }
}

/// The texts behind each other, unless that is too long: each of a few nested calls can double
/// what the one inside it gave.
pub(super) fn joined(texts: impl Iterator<Item = String>) -> Result<Value, SqlError> {
    let mut all = String::new();
    for text in texts {
        if all.len() + text.len() > TEXT_BYTES_MAX {
            let message = format!("a text is longer than {TEXT_BYTES_MAX} bytes");
            return Err(SqlError::new(message));
        }
        all.push_str(&text);
    }
    Ok(Value::Text(all))
}

fn arithmetic(left: &Value, op: Op, right: &Value) -> Result<Value, SqlError> {
    let number = |value: &Value| match value {
        Value::Int(_) | Value::Float(_) => Ok(value.clone()),
        Value::Text(text) => {
            Value::number(text).ok_or_else(|| SqlError::new(format!("`{text}` is not a number")))
        }
        _ => Err(SqlError::new(format!("`{value}` is not a number"))),
    };
    let result = match (number(left)?, number(right)?) {
        (Value::Int(a), Value::Int(b)) => {
            let result = match op {
                Op::Add => a.checked_add(b),
                Op::Subtract => a.checked_sub(b),
                Op::Multiply => a.checked_mul(b),
                Op::Divide | Op::Modulo if b == 0 => {
                    return Err(SqlError::new("Division by zero"));
                }
                Op::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            Value::Int(result.ok_or_else(|| SqlError::new("a number is too large"))?)
        }
        (a, b) => {
            let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else {
                return Ok(Value::Null);
            };
            Value::Float(match op {
                Op::Add => a + b,
                Op::Subtract => a - b,
                Op::Multiply => a * b,
                Op::Divide => a / b,
                _ => a % b,
            })
        }
    };
    Ok(result)
}

/// Whether `text` is like `pattern`: `%` stands for any characters, `_` for one.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    glob(text, pattern, '%', '_')
}

/// Whether `text` matches `pattern`, in which `many` stands for any characters and `one` for
/// one. Takes at most the product of their lengths.
pub(crate) fn glob(text: &str, pattern: &str, many: char, one: char) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut t, mut p) = (0, 0);
    // The last `many`, and where the text went on behind it.
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == many {
            back = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == one || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((many_at, from)) = back {
            back = Some((many_at, from + 1));
            p = many_at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == many)
}
