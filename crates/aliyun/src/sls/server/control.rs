//! Projects, log stores and indexes: made, shown, listed, changed and deleted.

use bytes::Bytes;
use http::Response;
use rules::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::{
    Asked, SlsServer,
    index::Index,
    reply::{Refusal, empty, json_reply},
    state::{Change, Logstore, Project, State},
};

/// The most that a listing returns unless told otherwise.
const LISTED: usize = 100;
/// The longest that a log store keeps its logs, in days: for ever.
const KEPT_DAYS_MAX: u64 = 3_650;
/// The most shards that a log store begins with.
const SHARDS_MAX: u64 = 100;

/// Whether `GET /` asks for all projects and not for one.
pub(super) fn is_listing(asked: &Asked<'_>) -> bool {
    let listing = ["offset", "size", "projectName"];
    asked
        .query
        .iter()
        .any(|(key, _)| listing.contains(&key.as_str()))
}

impl State {
    /// The project that is asked for.
    pub(super) fn project(&self, asked: &Asked<'_>) -> Result<(&str, &Project), Refusal> {
        let name = asked.project.unwrap_or("");
        let found = self.projects.get_key_value(name);
        let (name, project) = found.ok_or_else(|| Refusal::no_project(name))?;
        Ok((name, project))
    }

    /// The log store `store` of the project that is asked for.
    pub(super) fn logstore(&self, asked: &Asked<'_>, store: &str) -> Result<&Logstore, Refusal> {
        let (_, project) = self.project(asked)?;
        let found = project.logstores.get(store);
        found.ok_or_else(|| Refusal::no_logstore(store))
    }
}

fn body(asked: &Asked<'_>) -> Result<Map<String, Json>, Refusal> {
    serde_json::from_slice(asked.body)
        .map_err(|error| Refusal::bad("PostBodyInvalid", format!("the body is no JSON: {error}")))
}

fn text<'a>(body: &'a Map<String, Json>, name: &str) -> Result<&'a str, Refusal> {
    let text = body.get(name).and_then(Json::as_str);
    text.ok_or_else(|| Refusal::parameter(format!("{name} is missing")))
}

/// Says no to what cannot name a project or a log store.
fn check_name(what: &str, name: &str, least: usize, further: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let within = |c: char| plain(c) || further.contains(c);
    let ends = name.starts_with(plain) && name.ends_with(plain);
    if (least..=63).contains(&name.len()) && ends && name.chars().all(within) {
        return Ok(());
    }
    let message = format!("{what} name {name} is invalid");
    Err(Refusal::parameter(message))
}

/// Says no to settings of a log store that mean nothing.
fn check_settings(settings: &Map<String, Json>) -> Result<(), Refusal> {
    for (name, most) in [("ttl", KEPT_DAYS_MAX), ("shardCount", SHARDS_MAX)] {
        let given = settings.get(name);
        if given.is_some_and(|given| !given.as_u64().is_some_and(|n| (1..=most).contains(&n))) {
            let message = format!("{name} must be a whole number from 1 to {most}");
            return Err(Refusal::parameter(message));
        }
    }
    Ok(())
}

/// The part of `all` that was asked for by offset and size.
fn page<T>(asked: &Asked<'_>, all: Vec<T>) -> Result<Vec<T>, Refusal> {
    let number = |name: &str, usual: usize| match asked.parameter(name) {
        None => Ok(usual),
        // One of the vendor's clients asks for -1 where it means all.
        Some("-1") if name == "size" => Ok(usize::MAX),
        Some(text) => text
            .parse()
            .map_err(|_| Refusal::parameter(format!("{name} {text} is invalid"))),
    };
    let (offset, size) = (number("offset", 0)?, number("size", LISTED)?);
    Ok(all.into_iter().skip(offset).take(size).collect())
}

fn shown_project(name: &str, project: &Project) -> Json {
    let created = Timestamp::from_micros(project.created.saturating_mul(1_000_000));
    let created = created.to_string();
    json!({
        "projectName": name,
        "description": project.description,
        "status": "Normal",
        "region": "offline",
        "owner": "",
        "resourceGroupId": "",
        "dataRedundancyType": "LRS",
        "createTime": created,
        "lastModifyTime": created,
    })
}

impl SlsServer {
    pub(super) fn create_project(&self, asked: &Asked<'_>) -> Result<Response<Bytes>, Refusal> {
        let body = body(asked)?;
        let name = text(&body, "projectName")?;
        check_name("project", name, 3, "-")?;
        let description = body.get("description").and_then(Json::as_str);
        self.change(|state| {
            if state.projects.contains_key(name) {
                let message = format!("Project {name} already exist");
                return Err(Refusal::bad("ProjectAlreadyExist", message));
            }
            Ok(Change::CreateProject {
                project: name.to_owned(),
                description: description.unwrap_or("").to_owned(),
                at: asked.now_seconds(),
            })
        })?;
        Ok(empty())
    }

    pub(super) fn get_project(&self, asked: &Asked<'_>) -> Result<Response<Bytes>, Refusal> {
        self.read(|state| {
            let (name, project) = state.project(asked)?;
            Ok(json_reply(&shown_project(name, project)))
        })
    }

    pub(super) fn list_projects(&self, asked: &Asked<'_>) -> Result<Response<Bytes>, Refusal> {
        let wanted = asked.parameter("projectName").unwrap_or("");
        self.read(|state| {
            let all = state
                .projects
                .iter()
                .filter(|(name, _)| name.contains(wanted));
            let all: Vec<Json> = all.map(|(name, p)| shown_project(name, p)).collect();
            let total = all.len();
            let projects = page(asked, all)?;
            let count = projects.len();
            Ok(json_reply(
                &json!({"count": count, "total": total, "projects": projects}),
            ))
        })
    }

    pub(super) fn delete_project(&self, asked: &Asked<'_>) -> Result<Response<Bytes>, Refusal> {
        self.change(|state| {
            let project = state.project(asked)?.0.to_owned();
            Ok(Change::DeleteProject { project })
        })?;
        Ok(empty())
    }

    pub(super) fn create_logstore(&self, asked: &Asked<'_>) -> Result<Response<Bytes>, Refusal> {
        let settings = body(asked)?;
        let name = text(&settings, "logstoreName")?.to_owned();
        check_name("logstore", &name, 2, "-_")?;
        check_settings(&settings)?;
        self.change(|state| {
            let (project, there) = state.project(asked)?;
            if there.logstores.contains_key(&name) {
                let message = format!("logstore {name} already exists");
                return Err(Refusal::bad("LogStoreAlreadyExist", message));
            }
            Ok(Change::SetLogstore {
                project: project.to_owned(),
                logstore: name,
                settings,
            })
        })?;
        Ok(empty())
    }

    pub(super) fn update_logstore(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        let settings = body(asked)?;
        if text(&settings, "logstoreName").is_ok_and(|name| name != store) {
            let message = "logstoreName is not the name in the path".to_owned();
            return Err(Refusal::parameter(message));
        }
        check_settings(&settings)?;
        self.change(|state| {
            state.logstore(asked, store)?;
            Ok(Change::SetLogstore {
                project: state.project(asked)?.0.to_owned(),
                logstore: store.to_owned(),
                settings,
            })
        })?;
        Ok(empty())
    }

    pub(super) fn get_logstore(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.read(|state| {
            let settings = &state.logstore(asked, store)?.settings;
            let setting = |name: &str, usual: Json| settings.get(name).cloned().unwrap_or(usual);
            Ok(json_reply(&json!({
                "logstoreName": store,
                "ttl": setting("ttl", 30.into()),
                "shardCount": setting("shardCount", 2.into()),
                "enable_tracking": setting("enable_tracking", false.into()),
                "appendMeta": setting("appendMeta", false.into()),
                "autoSplit": setting("autoSplit", false.into()),
                "maxSplitShard": setting("maxSplitShard", 0.into()),
                "telemetryType": setting("telemetryType", "".into()),
            })))
        })
    }

    pub(super) fn list_logstores(&self, asked: &Asked<'_>) -> Result<Response<Bytes>, Refusal> {
        let wanted = asked.parameter("logstoreName").unwrap_or("");
        self.read(|state| {
            let (_, project) = state.project(asked)?;
            let all = project.logstores.keys();
            let all: Vec<&String> = all.filter(|name| name.contains(wanted)).collect();
            let total = all.len();
            let stores = page(asked, all)?;
            let count = stores.len();
            Ok(json_reply(
                &json!({"count": count, "total": total, "logstores": stores}),
            ))
        })
    }

    pub(super) fn delete_logstore(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.change(|state| {
            state.logstore(asked, store)?;
            Ok(Change::DeleteLogstore {
                project: state.project(asked)?.0.to_owned(),
                logstore: store.to_owned(),
            })
        })?;
        Ok(empty())
    }

    /// One shard, which takes every key.
    pub(super) fn list_shards(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.read(|state| {
            state.logstore(asked, store)?;
            Ok(json_reply(&json!([{
                "shardID": 0,
                "status": "readwrite",
                "inclusiveBeginKey": "00000000000000000000000000000000",
                "exclusiveEndKey": "ffffffffffffffffffffffffffffffff",
                "createTime": state.project(asked)?.1.created,
            }])))
        })
    }

    pub(super) fn create_index(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        let index = Json::Object(body(asked)?);
        Index::check(&index)?;
        self.set_index(asked, store, index, |there| match there {
            Some(_) => {
                let message = "log store index is already created";
                Err(Refusal::bad("IndexAlreadyExist", message))
            }
            None => Ok(()),
        })
    }

    pub(super) fn update_index(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        let index = Json::Object(body(asked)?);
        Index::check(&index)?;
        self.set_index(asked, store, index, |there| needed(there).map(|_| ()))
    }

    pub(super) fn delete_index(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.set_index(asked, store, Json::Null, |there| needed(there).map(|_| ()))
    }

    fn set_index(
        &self,
        asked: &Asked<'_>,
        store: &str,
        index: Json,
        fits: impl FnOnce(Option<&Index>) -> Result<(), Refusal>,
    ) -> Result<Response<Bytes>, Refusal> {
        self.change(|state| {
            fits(state.logstore(asked, store)?.index.as_ref())?;
            Ok(Change::SetIndex {
                project: state.project(asked)?.0.to_owned(),
                logstore: store.to_owned(),
                index,
                at: asked.now_seconds(),
            })
        })?;
        Ok(empty())
    }

    pub(super) fn get_index(
        &self,
        asked: &Asked<'_>,
        store: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        self.read(|state| {
            let index = needed(state.logstore(asked, store)?.index.as_ref())?;
            Ok(json_reply(&index.shown()))
        })
    }
}

fn needed(index: Option<&Index>) -> Result<&Index, Refusal> {
    let message = "index config doesn't exist";
    index.ok_or_else(|| Refusal::bad("IndexConfigNotExist", message))
}
