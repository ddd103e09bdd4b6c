//! An index: which fields can be searched and selected, and how their text is cut into words.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::reply::Refusal;
use crate::sls::query::{
    search::Pattern,
    sql::{Value, glob},
};

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
    /// Another name, by which statements may select it.
    #[serde(default)]
    alias: Option<String>,
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
    /// Chinese, which has nothing between words, is cut too: each character is a word, and words
    /// that stand together in a pattern must stand together in the text.
    #[serde(default)]
    chn: bool,
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

    /// The name of the field, or of the part of one, that a statement means by `name`: a field's own
    /// name goes before an alias.
    pub(super) fn selected<'a>(&'a self, name: &'a str) -> Cow<'a, str> {
        if self.of(name).is_some() {
            return name.into();
        }
        let meant = |key: &Key| key.alias.as_deref() == Some(name);
        let field = |(field, key): (&'a String, &'a Key)| {
            if meant(key) {
                return Some(field.into());
            }
            let part = key.json_keys.iter().find(|(_, part)| meant(part));
            part.map(|(path, _)| format!("{field}.{path}").into())
        };
        self.keys.iter().find_map(field).unwrap_or(name.into())
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
            chn: false,
        }
    }

    /// Whether all words of `pattern` are among those of `text`.
    pub(super) fn find(&self, text: &str, pattern: &Pattern) -> bool {
        let wild: &[char] = if pattern.quoted { &[] } else { &['*', '?'] };
        let wanted = self.of(&pattern.text, wild);
        let there = self.of(text, &[]);
        let is_it = |word: &String, wanted: &String| {
            word == wanted
                || !pattern.quoted && glob(word, wanted, '*', '?')
                || self.chn && wanted.starts_with(is_han) && word.contains(wanted.as_str())
        };
        let found = |wanted: &String| there.iter().any(|word| is_it(word, wanted));
        !wanted.is_empty() && wanted.iter().all(found)
    }

    /// The words of `text`, where the characters of `keep` separate none. Chinese characters that
    /// stand together are left together, for a pattern to be found within them.
    fn of(&self, text: &str, keep: &[char]) -> Vec<String> {
        let separates = |c: char| {
            let mut buffer = [0; 4];
            let c_text: &str = c.encode_utf8(&mut buffer);
            !keep.contains(&c) && self.token.iter().any(|token| token == c_text)
        };
        let mut words: Vec<String> = Vec::new();
        let mut last = None;
        for c in text.chars() {
            if separates(c) {
                last = None;
                continue;
            }
            let goes_on = last.is_some_and(|last| !self.chn || is_han(last) == is_han(c));
            last = Some(c);
            match words.last_mut().filter(|_| goes_on) {
                Some(word) => word.push(c),
                None => words.push(c.into()),
            }
        }
        if !self.case_sensitive {
            words
                .iter_mut()
                .for_each(|word| *word = word.to_lowercase());
        }
        words
    }
}

/// Whether `c` is a Chinese character: a unified ideograph or one for compatibility.
fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
        || matches!(c, '\u{20000}'..='\u{323af}')
}
