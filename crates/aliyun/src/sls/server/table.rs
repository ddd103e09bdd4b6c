//! A log store's rows as searches and statements see them.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{
    index::{Index, Indexed, Kind, Words},
    reply::Refusal,
    state::Row,
};
use crate::sls::query::{
    search::{Fields, Pattern, Search},
    sql::{Relation, SqlError, Value, glob},
};

/// Columns that every log has, whatever its index.
const RESERVED: [&str; 3] = ["__time__", "__source__", "__topic__"];
const TAG: &str = "__tag__:";

/// How rows are looked at. Without an index everything can be searched and selected, as text;
/// the service itself would refuse, but recordings of its clients rely on it.
pub(super) struct Table<'a> {
    pub(super) index: Option<&'a Index>,
    usual: Words,
}

fn reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with(TAG)
}

impl<'a> Table<'a> {
    pub(super) fn new(index: Option<&'a Index>) -> Self {
        Self {
            index,
            usual: Words::usual(),
        }
    }

    /// Says no to a search for what is not indexed.
    pub(super) fn check(&self, search: &Search) -> Result<(), Refusal> {
        let Some(index) = self.index else {
            return Ok(());
        };
        search.names(&mut |name: &str, number: bool| {
            let message = match index.of(name) {
                _ if name == "__time__" => return Ok(()),
                _ if reserved(name) && !number => return Ok(()),
                Some(field) if !number || field.kind.is_number() => return Ok(()),
                Some(_) => format!("key ({name}) is not of type long or double"),
                None => format!(
                    "key ({name}) is not config as key value config,if symbol : is in your \
                     log,please wrap : with quotation mark \""
                ),
            };
            Err(Refusal::parameter(message))
        })
    }

    /// The values of `columns` (all when `None`) of `rows`.
    pub(super) fn relation(
        &self,
        rows: &[&Row],
        columns: Option<&[String]>,
    ) -> Result<Relation, SqlError> {
        let columns = columns.map_or_else(|| self.all_columns(rows), <[String]>::to_vec);
        let field = |column: &String| {
            let name = match self.index {
                Some(index) if !reserved(column) => index.selected(column).into_owned(),
                _ => column.clone(),
            };
            let kind = self.kind(&name)?;
            Ok((name, kind))
        };
        let fields: Vec<(String, Kind)> = columns.iter().map(field).collect::<Result<_, _>>()?;
        let value = |row: &Row, (name, kind): &(String, Kind)| {
            self.text(row, name)
                .map_or(Value::Null, |text| kind.value(&text))
        };
        let row = |row: &&Row| fields.iter().map(|field| value(row, field)).collect();
        Ok(Relation {
            rows: rows.iter().map(row).collect(),
            columns,
        })
    }

    fn kind(&self, name: &str) -> Result<Kind, SqlError> {
        if name == "__time__" {
            return Ok(Kind::Long);
        }
        let Some(index) = self.index.filter(|_| !reserved(name)) else {
            return Ok(Kind::Text);
        };
        match index.of(name) {
            Some(field) if field.doc_value => Ok(field.kind),
            _ => Err(SqlError(format!(
                "Column '{name}' cannot be resolved;please add the column in the index attribute"
            ))),
        }
    }

    fn all_columns(&self, rows: &[&Row]) -> Vec<String> {
        let reserved = RESERVED.map(String::from).into_iter();
        match self.index {
            Some(index) => {
                let keys = index.keys.iter().filter(|(_, key)| key.doc_value);
                reserved.chain(keys.map(|(name, _)| name.clone())).collect()
            }
            None => {
                let fields = rows.iter().flat_map(|row| row.fields.iter());
                let names: BTreeSet<String> = fields.map(|(name, _)| name.to_string()).collect();
                reserved.chain(names).collect()
            }
        }
    }

    fn text(&self, row: &Row, name: &str) -> Option<String> {
        match name {
            "__time__" => Some(row.time.to_string()),
            "__source__" => Some(row.origin.source.clone()),
            "__topic__" => Some(row.origin.topic.clone()),
            _ => match name.strip_prefix(TAG) {
                Some(tag) => {
                    let tags = row.origin.tags.iter();
                    let mut found = tags.filter(|(key, _)| key == tag);
                    found.next().map(|(_, value)| value.clone())
                }
                None => match self.index.and_then(|index| index.of(name)?.within) {
                    Some((field, path)) => part_of_json(row.field(field)?, path),
                    None => row.field(name).map(str::to_owned),
                },
            },
        }
    }
}

/// What stands at `path` in the JSON `text`.
fn part_of_json(text: &str, path: &str) -> Option<String> {
    let json: Json = serde_json::from_str(text).ok()?;
    let part = path.split('.').try_fold(&json, |json, name| json.get(name));
    match part? {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// One row of a table.
pub(super) struct Cells<'a>(pub(super) &'a Table<'a>, pub(super) &'a Row);

impl Fields for Cells<'_> {
    fn anywhere(&self, pattern: &Pattern) -> bool {
        let Self(table, row) = self;
        let mut fields = row.fields.iter();
        match table.index {
            Some(Index {
                line: None, keys, ..
            }) => fields.any(|(name, value)| {
                let key = keys.get(&**name).filter(|key| !key.kind.is_number());
                key.is_some_and(|key| key.words.find(value, pattern))
            }),
            Some(Index {
                line: Some(words), ..
            }) => fields.any(|(_, value)| words.find(value, pattern)),
            None => fields.any(|(_, value)| table.usual.find(value, pattern)),
        }
    }

    fn field(&self, name: &str, pattern: &Pattern) -> bool {
        let Self(table, row) = self;
        let Some(text) = table.text(row, name) else {
            return false;
        };
        if pattern.text == "*" && !pattern.quoted {
            return true;
        }
        if reserved(name) {
            return text == pattern.text || !pattern.quoted && glob(&text, &pattern.text, '*', '?');
        }
        match table.index.and_then(|index| index.of(name)) {
            Some(Indexed { kind, .. }) if kind.is_number() => {
                let wanted = kind.value(&pattern.text);
                wanted != Value::Null && kind.value(&text) == wanted
            }
            Some(field) => field.words.find(&text, pattern),
            None => table.usual.find(&text, pattern),
        }
    }

    fn number(&self, name: &str) -> Value {
        let Self(table, row) = self;
        match table.text(row, name) {
            Some(text) => Kind::Double.value(&text),
            None => Value::Null,
        }
    }
}
