//! `time_series`: time in windows, and rows for the windows that no log is in.
//!
//! Windows begin at whole multiples of their length in the session's time zone. Rows are added
//! where the windows are all that a statement groups by; with more to group by there are only the
//! rows of what is there.

use std::{collections::HashSet, ops::Range};

use super::{
    SqlError,
    ast::{Call, Expr},
    time::{Civil, ZONE_SECONDS},
    value::Value,
};

/// The most windows that rows are added for.
const WINDOWS_MAX: i64 = 10_000;

/// What the arguments of `time_series` say, but for the time.
pub(crate) struct Series {
    window_seconds: i64,
    format: String,
    /// What stands in an added row for what is counted.
    pub(crate) fill: Value,
}

impl Series {
    /// From the window, the format and the padding.
    ///
    /// # Errors
    /// When one is not supported.
    pub(crate) fn new(window: &str, format: &str, padding: &str) -> Result<Self, SqlError> {
        let wrong = || SqlError::new(format!("window `{window}` of time_series is not supported"));
        let unit = window.chars().last().ok_or_else(wrong)?;
        let unit_seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count: i64 = window[..window.len() - 1].parse().map_err(|_| wrong())?;
        let seconds = count.checked_mul(unit_seconds);
        let fill = match padding {
            "0" => Value::Int(0),
            "null" => Value::Null,
            other => {
                let message = format!("padding `{other}` of time_series is not supported");
                return Err(SqlError::new(message));
            }
        };
        Ok(Self {
            window_seconds: seconds.filter(|seconds| *seconds > 0).ok_or_else(wrong)?,
            format: format.to_owned(),
            fill,
        })
    }

    /// Of the one expression that a statement groups by, when it is the windows of the logs' time.
    pub(crate) fn grouping(group_by: &[Expr]) -> Result<Option<Self>, SqlError> {
        let [Expr::Call(Call { name, args, .. })] = group_by else {
            return Ok(None);
        };
        match (name.as_str(), args.as_slice()) {
            (
                "time_series",
                [
                    Expr::Column(time),
                    Expr::Literal(window),
                    Expr::Literal(format),
                    Expr::Literal(padding),
                ],
            ) if time == "__time__" => {
                let [window, format, padding] = [window, format, padding].map(Value::to_string);
                Self::new(&window, &format, &padding).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The window that `unix` seconds lie in, as it is shown.
    pub(crate) fn shown(&self, unix: i64) -> Result<Value, SqlError> {
        let start = self.start(unix);
        Civil::from_unix(start)
            .format(&self.format)
            .map(Value::Text)
    }

    const fn start(&self, unix: i64) -> i64 {
        let into = unix.saturating_add(ZONE_SECONDS);
        unix.saturating_sub(into.rem_euclid(self.window_seconds))
    }

    /// All windows of `span` that are not among those `known`.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn missing(
        &self,
        span: &Range<i64>,
        known: impl Iterator<Item = String>,
    ) -> Result<Vec<Value>, SqlError> {
        let windows = span.end.saturating_sub(span.start) / self.window_seconds;
        if windows > WINDOWS_MAX {
            let message = format!("time_series has {windows} windows; at most {WINDOWS_MAX}");
            return Err(SqlError::new(message));
        }
        let mut known: HashSet<String> = known.collect();
        let mut missing = Vec::new();
        let mut at = self.start(span.start);
        while at < span.end {
            let shown = self.shown(at)?;
            if known.insert(shown.to_string()) {
                missing.push(shown);
            }
            at += self.window_seconds;
        }
        Ok(missing)
    }
}
