//! Points in time as the service's SQL shows them: in the time zone of its home, UTC+8.

use super::{SqlError, value::Value};

/// How far the session's time zone is ahead of UTC, in seconds.
pub(crate) const ZONE_SECONDS: i64 = 8 * 3_600;
/// Seconds of a day.
const DAY: i64 = 86_400;
/// A week begins on Monday.
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A date and a time of day in the session's time zone.
pub(crate) struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    /// Since 1970-01-01.
    days: i64,
}

/// The days from 1970-01-01 to a date.
const fn days_to(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that a leap day is the last of its year.
    let year_from_march = year - (month <= 2) as i64;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year_from_march.div_euclid(4) - year_from_march.div_euclid(100)
        + year_from_march.div_euclid(400);
    year_from_march * 365 + leap_days + of_year - 719_468
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
            days,
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
        let days = days_to(year, month, day);
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
            let letter = chars.next();
            let part = letter.and_then(|letter| self.part(letter)).ok_or_else(|| {
                let letter = letter.map(String::from).unwrap_or_default();
                SqlError::new(format!("`%{letter}` is not supported in a format"))
            })?;
            out.push_str(&part);
        }
        Ok(out)
    }

    /// What a letter behind a `%` stands for.
    fn part(&self, letter: char) -> Option<String> {
        let (hour, minute) = (self.second_of_day / 3_600, self.second_of_day / 60 % 60);
        let second = self.second_of_day % 60;
        let hour_of_12 = (hour + 11) % 12 + 1;
        let half = if hour < 12 { "AM" } else { "PM" };
        let weekday = WEEKDAYS[self.weekday() as usize];
        let month = MONTHS[self.month as usize - 1];
        Some(match letter {
            'Y' => format!("{:04}", self.year),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'M' => month.to_owned(),
            'b' => month[..3].to_owned(),
            'm' => format!("{:02}", self.month),
            'c' => self.month.to_string(),
            'd' => format!("{:02}", self.day),
            'e' => self.day.to_string(),
            'j' => format!("{:03}", self.days - days_to(self.year, 1, 1) + 1),
            'W' => weekday.to_owned(),
            'a' => weekday[..3].to_owned(),
            'H' => format!("{hour:02}"),
            'k' => hour.to_string(),
            'h' | 'I' => format!("{hour_of_12:02}"),
            'l' => hour_of_12.to_string(),
            'p' => half.to_owned(),
            'i' => format!("{minute:02}"),
            's' | 'S' => format!("{second:02}"),
            // A point in time has whole seconds here.
            'f' => "000000".to_owned(),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'r' => format!("{hour_of_12:02}:{minute:02}:{second:02} {half}"),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    /// Days since Monday.
    const fn weekday(&self) -> i64 {
        // 1970 began on a Thursday.
        (self.days + 3).rem_euclid(7)
    }
}

/// The start of the `unit` that `unix` seconds lie in, as the service shows it.
pub(crate) fn date_trunc(unit: &str, unix: i64) -> Result<Value, SqlError> {
    let mut start = Civil::from_unix(unix);
    let format = match unit.to_ascii_lowercase().as_str() {
        "second" => "%Y-%m-%d %H:%i:%s.000",
        "minute" => "%Y-%m-%d %H:%i:00.000",
        "hour" => "%Y-%m-%d %H:00:00.000",
        "day" => "%Y-%m-%d 00:00:00.000",
        "week" => {
            start = Civil::from_unix(unix.saturating_sub(start.weekday() * DAY));
            "%Y-%m-%d 00:00:00.000"
        }
        "quarter" => {
            start.month -= (start.month - 1) % 3;
            "%Y-%m-01 00:00:00.000"
        }
        "month" => "%Y-%m-01 00:00:00.000",
        "year" => "%Y-01-01 00:00:00.000",
        _ => return Err(SqlError::new(format!("unit `{unit}` is not supported"))),
    };
    start.format(format).map(Value::Text)
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
        for (unit, start) in [
            // Of Monday, 2026-11-23 04:58 of the zone, which is Sunday still in UTC.
            ("day", "2026-11-23"),
            ("week", "2026-11-23"),
            ("month", "2026-11-01"),
            ("quarter", "2026-10-01"),
            ("YEAR", "2026-01-01"),
        ] {
            let expected = Value::Text(format!("{start} 00:00:00.000"));
            assert_eq!(date_trunc(unit, 1_795_381_117), Ok(expected), "{unit}");
        }
        // A week that began in the year before, and a quarter that ends with its day.
        let truncated = |unit, at| {
            let unix = Civil::to_unix(at).expect("a date");
            date_trunc(unit, unix).map(|start| start.to_string())
        };
        let week = truncated("week", "2023-01-01 23:59:59");
        assert_eq!(week.as_deref(), Ok("2022-12-26 00:00:00.000"));
        let quarter = truncated("quarter", "2024-03-31 12:00:00");
        assert_eq!(quarter.as_deref(), Ok("2024-01-01 00:00:00.000"));
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

    #[test]
    fn the_letters_of_formats_mean_what_they_mean_in_mysql() {
        let shown = |at, pattern| {
            let unix = Civil::to_unix(at).expect("a date");
            Civil::from_unix(unix).format(pattern)
        };
        let all = "%a %W|%b %M %c %m|%d %e %j|%y %Y|%H %k %h %I %l %p|%i %s %S %f|%r|%T|%%";
        assert_eq!(
            shown("2024-03-05 00:07:09", all).as_deref(),
            Ok(
                "Tue Tuesday|Mar March 3 03|05 5 065|24 2024|00 0 12 12 12 AM|07 09 09 000000|\
                12:07:09 AM|00:07:09|%"
            )
        );
        assert_eq!(
            shown("2000-12-31 13:00:00", all).as_deref(),
            Ok(
                "Sun Sunday|Dec December 12 12|31 31 366|00 2000|13 13 01 01 1 PM|00 00 00 000000|\
                01:00:00 PM|13:00:00|%"
            )
        );
        assert_eq!(
            shown("2023-01-01 12:00:00", "%p %h %j").as_deref(),
            Ok("PM 12 001")
        );
        for (pattern, word) in [("%Q", "%Q"), ("%", "`%`"), ("%D", "%D")] {
            let error = shown("2024-03-05 00:07:09", pattern).expect_err(pattern);
            assert!(error.0.contains(word), "{error}");
        }
    }
}
