//! A line of the access log as the log service keeps it: its fields as text, and an index.

use aliyun::sls::{
    model::{KeyIndex, KeyKind, LineIndex, NewIndex},
    proto::{Content, Log},
};
use rules::Timestamp;
use serde_json::{Map, Value};

/// The service takes no older logs than a week: lines beyond that, less an hour for the way, are
/// dated now, and so are those that seem to be later than now. Their own time stays in the field
/// `time`.
const PAST_SECONDS: i64 = 167 * 3_600;

/// Fields of numbers.
const NUMBERS: [&str; 5] = ["seq", "weight", "amount", "latency_micros", "count"];
/// Fields of text.
const TEXTS: [&str; 10] = [
    "time",
    "node",
    "campaign",
    "user",
    "outcome",
    "reason",
    "packet",
    "grab_id",
    "ip",
    "aggregated",
];
/// What stands between words. No hyphen: ids are one word.
const BETWEEN: &str = ", '\";=()[]{}?@&<>/:\n\t\r";

/// A line that was read.
pub(super) struct Record {
    pub(super) log: Log,
    /// How many grabs it stands for.
    pub(super) weight: u64,
}

/// Reads a line, at `now`; `None` when it is none of ours.
pub(super) fn read(line: &[u8], now: Timestamp) -> Option<Record> {
    let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let weight = fields.get("weight")?.as_u64()?;
    let at: Timestamp = fields.get("time")?.as_str()?.parse().ok()?;
    let age = now.since(at).div_euclid(1_000_000);
    let dated = if (0..=PAST_SECONDS).contains(&age) {
        at
    } else {
        now
    };
    let time = u32::try_from(dated.micros().div_euclid(1_000_000)).ok()?;
    let micros = dated.micros().rem_euclid(1_000_000);
    let content = |(key, value): (String, Value)| Content {
        key,
        value: match value {
            Value::String(text) => text,
            other => other.to_string(),
        },
    };
    Some(Record {
        log: Log {
            time,
            contents: fields.into_iter().map(content).collect(),
            time_ns: u32::try_from(micros * 1_000).ok(),
        },
        weight,
    })
}

/// The index by which the lines are searched and counted.
pub(super) fn index() -> NewIndex {
    let token: Vec<String> = BETWEEN.chars().map(String::from).collect();
    let text = |name: &str| {
        let key = KeyIndex {
            token: token.clone(),
            ..KeyIndex::selectable(KeyKind::Text)
        };
        (name.to_owned(), key)
    };
    let number = |name: &str| (name.to_owned(), KeyIndex::selectable(KeyKind::Long));
    NewIndex {
        line: Some(LineIndex {
            token: token.clone(),
            case_sensitive: false,
            chn: false,
        }),
        keys: TEXTS
            .iter()
            .map(|name| text(name))
            .chain(NUMBERS.iter().map(|name| number(name)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":"2026-11-22T20:58:37.250Z","node":"0000000000000007","seq":3,"weight":12,"campaign":"c","outcome":"missed","reason":"sold_out","aggregated":true,"count":12}"#;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_line_becomes_a_log_of_text() {
        let record = read(LINE.as_bytes(), at("2026-11-22T21:00:00Z")).expect("a line");
        assert_eq!((record.weight, record.log.time), (12, 1_795_381_117));
        assert_eq!(record.log.time_ns, Some(250_000_000));
        let field = |name: &str| {
            let contents = record.log.contents.iter();
            let mut found = contents.filter(|content| content.key == name);
            found.next().map(|content| content.value.as_str())
        };
        assert_eq!(field("seq"), Some("3"));
        assert_eq!(field("aggregated"), Some("true"));
        assert_eq!(field("reason"), Some("sold_out"));
        // Every field is indexed, or it could not be counted.
        let index = index();
        let indexed = |content: &Content| index.keys.contains_key(&content.key);
        assert!(record.log.contents.iter().all(indexed));
    }

    #[test]
    fn what_is_too_old_for_the_service_is_dated_now() {
        for now in ["2026-12-22T21:00:00Z", "2026-11-22T20:00:00Z"] {
            let now = at(now);
            let record = read(LINE.as_bytes(), now).expect("a line");
            assert_eq!(i64::from(record.log.time), now.micros() / 1_000_000);
        }
    }

    #[test]
    fn what_is_no_line_is_none() {
        let now = at("2026-11-22T21:00:00Z");
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"weight":1}"#,
            &LINE[..LINE.len() - 1],
        ] {
            assert!(read(text.as_bytes(), now).is_none(), "{text}");
        }
    }
}
