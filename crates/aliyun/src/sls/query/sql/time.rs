//! Points in time as the service's SQL shows them: in the time zone of its home, UTC+8.

use super::{SqlError, value::Value};

/// How far the session's time zone is ahead of UTC, in seconds.
pub(crate) const ZONE_SECONDS: i64 = 8 * 3_600;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// A date and a time of day in the session's time zone.
pub(crate) struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Civil {
    /// The session's date and time at `unix` seconds.
    pub(crate) const fn from_unix(unix: i64) -> Self {
        let local = unix.saturating_add(ZONE_SECONDS);
        let (days, second_of_day) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        // Days since 0000-03-01, in eras of 400 years of 146097 days: the calendar repeats, and
        // a leap day is the last of its year.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = year_of_era + era * 400 + (month <= 2) as i64;
        Self {
            year,
            month,
            day,
            second_of_day,
        }
    }

    /// The second that `YYYY-MM-DD HH:MM:SS` with or without a fraction stands for in the
    /// session's time zone.
    pub(crate) fn to_unix(text: &str) -> Option<i64> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let time = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Years begin in March, as above.
        let year_from_march = year - i64::from(month <= 2);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let leap_days = year_from_march.div_euclid(4) - year_from_march.div_euclid(100)
            + year_from_march.div_euclid(400);
        let days = year_from_march * 365 + leap_days + of_year - 719_468;
        Some(days * DAY + time - ZONE_SECONDS)
    }

    /// With MySQL's letters, as the service's `date_format` takes them.
    pub(crate) fn format(&self, pattern: &str) -> Result<String, SqlError> {
        let mut out = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let (hour, minute) = (self.second_of_day / 3_600, self.second_of_day / 60 % 60);
            let part = match chars.next() {
                Some('Y') => format!("{:04}", self.year),
                Some('m') => format!("{:02}", self.month),
                Some('d') => format!("{:02}", self.day),
                Some('H') => format!("{hour:02}"),
                Some('i') => format!("{minute:02}"),
                Some('s' | 'S') => format!("{:02}", self.second_of_day % 60),
                Some('T') => format!("{hour:02}:{minute:02}:{:02}", self.second_of_day % 60),
                Some('%') => "%".to_owned(),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(SqlError::new(format!(
                        "`%{other}` is not supported in a format"
                    )));
                }
            };
            out.push_str(&part);
        }
        Ok(out)
    }
}

/// The start of the `unit` that `unix` seconds lie in, as the service shows it.
pub(crate) fn date_trunc(unit: &str, unix: i64) -> Result<Value, SqlError> {
    let format = match unit.to_ascii_lowercase().as_str() {
        "second" => "%Y-%m-%d %H:%i:%s.000",
        "minute" => "%Y-%m-%d %H:%i:00.000",
        "hour" => "%Y-%m-%d %H:00:00.000",
        "day" => "%Y-%m-%d 00:00:00.000",
        "month" => "%Y-%m-01 00:00:00.000",
        "year" => "%Y-01-01 00:00:00.000",
        _ => return Err(SqlError::new(format!("unit `{unit}` is not supported"))),
    };
    Civil::from_unix(unix).format(format).map(Value::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar_of_the_zone() {
        let shown = |unix| {
            let civil = Civil::from_unix(unix);
            civil.format("%Y-%m-%d %T").expect("known letters")
        };
        assert_eq!(shown(0), "1970-01-01 08:00:00");
        assert_eq!(shown(951_782_400), "2000-02-29 08:00:00");
        assert_eq!(shown(1_795_380_000), "2026-11-23 04:40:00");
        assert_eq!(shown(-1), "1970-01-01 07:59:59");
        assert_eq!(
            date_trunc("hour", 1_795_381_117),
            Ok(Value::Text("2026-11-23 04:00:00.000".into()))
        );
        assert!(date_trunc("fortnight", 0).is_err());
        for unix in (-3_000_000_000_i64..9_000_000_000).step_by(12_345_671) {
            assert_eq!(Civil::to_unix(&shown(unix)), Some(unix), "{}", shown(unix));
        }
        for text in [
            "",
            "2026",
            "2026-13-01 00:00:00",
            "2026-01-01",
            "中中中中中中中中",
        ] {
            assert_eq!(Civil::to_unix(text), None, "{text}");
        }
    }
}
