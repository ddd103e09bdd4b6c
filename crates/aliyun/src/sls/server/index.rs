//! An index: which fields can be searched and selected, and how their text is cut into words.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::reply::Refusal;
use crate::sls::query::sql::Value;

/// A log store's index.
#[derive(Debug)]
pub(super) struct Index {
    /// As it was set.
    given: Json,
    /// In seconds since the Unix epoch.
    modified: i64,
    /// Of what is searched without a field's name.
    pub(super) line: Option<Words>,
    pub(super) keys: BTreeMap<String, Key>,
}

/// The index of one field.
#[derive(Debug, Deserialize)]
pub(super) struct Key {
    #[serde(rename = "type", default)]
    pub(super) kind: Kind,
    /// Statements may select it.
    #[serde(default)]
    pub(super) doc_value: bool,
    #[serde(flatten)]
    pub(super) words: Words,
    /// What the JSON holds that is indexed by its own, by its path: `a.b` is `b` within `a`.
    #[serde(default)]
    json_keys: BTreeMap<String, Key>,
    /// Whether all other text that the JSON holds can be searched, too.
    #[serde(default)]
    index_all: bool,
}

/// How what a name stands for is indexed.
#[derive(Clone, Copy)]
pub(super) struct Indexed<'a> {
    pub(super) kind: Kind,
    /// Statements may select it.
    pub(super) doc_value: bool,
    pub(super) words: &'a Words,
    /// The field that holds JSON and the path within it, where it is a part of one.
    pub(super) within: Option<(&'a str, &'a str)>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Text,
    Long,
    Double,
    Json,
}

/// How text is cut into words.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Words {
    /// What stands between words; without any, a text is one word.
    #[serde(default)]
    token: Vec<String>,
    #[serde(rename = "caseSensitive", default)]
    case_sensitive: bool,
}

#[derive(Deserialize)]
struct Given {
    line: Option<Words>,
    #[serde(default)]
    keys: BTreeMap<String, Key>,
}

impl Index {
    /// The index that `given` describes, set at `at`; `None` when it describes none.
    pub(super) fn new(given: Json, at: i64) -> Option<Self> {
        let parsed = Given::deserialize(&given).ok()?;
        Some(Self {
            given,
            modified: at,
            line: parsed.line,
            keys: parsed.keys,
        })
    }

    /// How the field `name` is indexed, or the part `field.path` of one that holds JSON.
    pub(super) fn of<'a>(&'a self, name: &'a str) -> Option<Indexed<'a>> {
        if let Some(key) = self.keys.get(name) {
            return Some(key.indexed(None));
        }
        name.match_indices('.').find_map(|(at, _)| {
            let (field, path) = (&name[..at], &name[at + 1..]);
            let key = self.keys.get(field)?;
            if key.kind != Kind::Json {
                return None;
            }
            let within = Some((field, path));
            match key.json_keys.get(path) {
                Some(part) => Some(part.indexed(within)),
                None if key.index_all => Some(Indexed {
                    kind: Kind::Text,
                    doc_value: false,
                    words: &key.words,
                    within,
                }),
                None => None,
            }
        })
    }

    /// Says no to what is no index.
    pub(super) fn check(given: &Json) -> Result<(), Refusal> {
        let parsed = Given::deserialize(given)
            .map_err(|error| Refusal::parameter(format!("invalid index: {error}")))?;
        if parsed.line.is_none() && parsed.keys.is_empty() {
            let message = "invalid index: neither line nor keys are given";
            return Err(Refusal::parameter(message));
        }
        Ok(())
    }

    /// As GetIndex answers it.
    pub(super) fn shown(&self) -> Json {
        let mut shown = json!({"index_mode": "v2", "ttl": 30, "storage": "pg"});
        if let (Some(shown), Some(given)) = (shown.as_object_mut(), self.given.as_object()) {
            shown.extend(given.clone());
            shown.insert("lastModifyTime".to_owned(), self.modified.into());
        }
        shown
    }
}

impl Key {
    fn indexed<'a>(&'a self, within: Option<(&'a str, &'a str)>) -> Indexed<'a> {
        Indexed {
            kind: self.kind,
            doc_value: self.doc_value,
            words: &self.words,
            within,
        }
    }
}

impl Kind {
    /// What a statement sees of `text`.
    pub(super) fn value(self, text: &str) -> Value {
        match self {
            Self::Text | Self::Json => Value::Text(text.to_owned()),
            Self::Long => text.trim().parse().map_or(Value::Null, Value::Int),
            Self::Double => text.trim().parse().map_or(Value::Null, Value::Float),
        }
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Long | Self::Double)
    }
}

impl Words {
    /// Cut where neither letter nor digit nor one of `_-.` is: for logs without an index.
    pub(super) fn usual() -> Self {
        let between = ", '\";=()[]{}?@&<>/:\n\t\r".chars();
        Self {
            token: between.map(String::from).collect(),
            case_sensitive: false,
        }
    }

    /// The words of `text`, where the characters of `keep` separate none.
    pub(super) fn of(&self, text: &str, keep: &[char]) -> Vec<String> {
        let separates = |c: char| {
            let mut buffer = [0; 4];
            let c_text: &str = c.encode_utf8(&mut buffer);
            !keep.contains(&c) && self.token.iter().any(|token| token == c_text)
        };
        let words = text.split(separates).filter(|word| !word.is_empty());
        words
            .map(|word| {
                if self.case_sensitive {
                    word.to_owned()
                } else {
                    word.to_lowercase()
                }
            })
            .collect()
    }
}
