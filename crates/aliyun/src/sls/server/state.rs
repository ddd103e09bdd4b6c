//! Projects, log stores, their indexes and logs.
//!
//! All changes go through [`State::apply`], so that what the journal holds and what is in
//! memory cannot differ.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::index::Index;
use crate::sls::proto::LogGroup;

/// All there is.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) projects: BTreeMap<String, Project>,
    /// In all log stores.
    pub(super) logs: usize,
}

/// A project.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) description: String,
    /// In seconds since the Unix epoch.
    pub(super) created: i64,
    pub(super) logstores: BTreeMap<String, Logstore>,
}

/// A log store.
#[derive(Debug)]
pub(super) struct Logstore {
    /// As they were asked for.
    pub(super) settings: Map<String, Json>,
    pub(super) index: Option<Index>,
    /// In the order in which they came.
    pub(super) rows: Vec<Row>,
}

/// What the logs of a group have in common.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) topic: String,
    pub(super) source: String,
    pub(super) tags: Vec<(String, String)>,
}

/// One log.
#[derive(Debug)]
pub(super) struct Row {
    /// In seconds since the Unix epoch.
    pub(super) time: u32,
    pub(super) origin: Arc<Origin>,
    pub(super) fields: Box<[(Arc<str>, Box<str>)]>,
}

impl Row {
    /// The value of a field; of several of one name, the last.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().rev().find(|(key, _)| **key == *name);
        found.map(|(_, value)| &**value)
    }
}

/// A change of what there is, as the journal keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Change {
    CreateProject {
        project: String,
        description: String,
        at: i64,
    },
    DeleteProject {
        project: String,
    },
    /// Makes it, or changes its settings.
    SetLogstore {
        project: String,
        logstore: String,
        settings: Map<String, Json>,
    },
    DeleteLogstore {
        project: String,
        logstore: String,
    },
    /// Makes, changes or, with null, deletes it.
    SetIndex {
        project: String,
        logstore: String,
        index: Json,
        at: i64,
    },
}

impl State {
    /// Changes what there is. Whether the change makes sense, the caller has looked.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::CreateProject {
                project,
                description,
                at,
            } => {
                self.projects.entry(project).or_insert_with(|| Project {
                    description,
                    created: at,
                    logstores: BTreeMap::new(),
                });
            }
            Change::DeleteProject { project } => {
                let gone = self.projects.remove(&project);
                let stores = gone.iter().flat_map(|project| project.logstores.values());
                self.logs -= stores.map(|store| store.rows.len()).sum::<usize>();
            }
            Change::SetLogstore {
                project,
                logstore,
                settings,
            } => {
                if let Some(project) = self.projects.get_mut(&project) {
                    let store = project.logstores.entry(logstore);
                    let store = store.or_insert_with(|| Logstore {
                        settings: Map::new(),
                        index: None,
                        rows: Vec::new(),
                    });
                    store.settings.extend(settings);
                }
            }
            Change::DeleteLogstore { project, logstore } => {
                if let Some(project) = self.projects.get_mut(&project)
                    && let Some(gone) = project.logstores.remove(&logstore)
                {
                    self.logs -= gone.rows.len();
                }
            }
            Change::SetIndex {
                project,
                logstore,
                index,
                at,
            } => {
                if let Some(store) = self.logstore_mut(&project, &logstore) {
                    store.index = Index::new(index, at);
                }
            }
        }
    }

    /// Adds the logs of a group; a store that is gone takes none.
    pub(super) fn put(&mut self, project: &str, logstore: &str, group: LogGroup) {
        let origin = Arc::new(Origin {
            topic: group.topic.unwrap_or_default(),
            source: group.source.unwrap_or_default(),
            tags: group.tags.into_iter().map(|t| (t.key, t.value)).collect(),
        });
        let Some(store) = self.logstore_mut(project, logstore) else {
            return;
        };
        // The logs of a group have mostly the same fields: their names are kept once.
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut name = |key: String| -> Arc<str> {
            if let Some(known) = names.iter().find(|known| ***known == *key) {
                return known.clone();
            }
            let made: Arc<str> = key.into();
            names.push(made.clone());
            made
        };
        let count = group.logs.len();
        for log in group.logs {
            let contents = log.contents.into_iter();
            store.rows.push(Row {
                time: log.time,
                origin: origin.clone(),
                fields: contents.map(|c| (name(c.key), c.value.into())).collect(),
            });
        }
        self.logs += count;
    }

    fn logstore_mut(&mut self, project: &str, logstore: &str) -> Option<&mut Logstore> {
        let project = self.projects.get_mut(project)?;
        project.logstores.get_mut(logstore)
    }
}
