//! The operations on one project of SLS.

use std::{fmt, sync::Arc};

use http::Method;
use rules::Clock;
use serde::Deserialize;
use serde_json::json;

use super::{
    call::{Call, Caller, OpenError, SlsError},
    model::{Histogram, Meta, NewIndex, NewLogstore, PackedGroup, Query, Row, Rows, Signature},
    proto::{GROUP_BYTES_MAX, LogGroup},
};
use crate::{mns::Patience, sign::Credentials};

/// The result of a call.
type Result<T, E = SlsError> = std::result::Result<T, E>;

/// A client of one project. Calls fail until the endpoint is there.
pub struct Client {
    caller: Caller,
    project: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sls::Client({})", self.project)
    }
}

/// `Ok(true)` when something was made, `Ok(false)` when it was there.
fn made<T>(result: Result<T>, there: &str) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is(there) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `Ok(None)` for what is not there.
fn found<T>(result: Result<T>, missing: &str) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is(missing) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client {
    /// A client of `project` at the endpoint, `https://<region>.log.aliyuncs.com` or, offline,
    /// `http://127.0.0.1:<port>`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the endpoint is of another form, or TLS cannot be set up.
    pub fn open(
        endpoint: &str,
        project: &str,
        credentials: Credentials,
        signature: Signature,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let who = (credentials, signature);
        Ok(Self {
            caller: Caller::new(endpoint, project, who, clock, patience)?,
            project: project.to_owned(),
        })
    }

    /// How far the service's clock is ahead of ours in µs, as far as it has complained: 0 while the
    /// two are near enough for it. What is put is to be dated by its clock.
    #[must_use]
    pub fn ahead_micros(&self) -> i64 {
        self.caller.ahead_micros()
    }

    /// Makes the project; false when there is one of its name already, whoever's it is.
    ///
    /// # Errors
    /// When the name is refused, or the call fails.
    pub async fn create_project(&self, description: &str) -> Result<bool> {
        let body = json!({"projectName": self.project, "description": description});
        let call = Call::new("CreateProject", Method::POST, "/".into()).json(&body);
        made(self.caller.call(call).await, "ProjectAlreadyExist")
    }

    /// Whether the project is there.
    ///
    /// # Errors
    /// When it is someone else's, or the call fails.
    pub async fn has_project(&self) -> Result<bool> {
        let call = Call::new("GetProject", Method::GET, "/".into());
        let project = found(self.caller.call(call).await, "ProjectNotExist")?;
        Ok(project.is_some())
    }

    /// Makes a log store; false when there is one of its name already.
    ///
    /// # Errors
    /// When the name is refused, or the call fails.
    pub async fn create_logstore(&self, logstore: &NewLogstore) -> Result<bool> {
        let call = Call::new("CreateLogStore", Method::POST, "/logstores".into()).json(logstore);
        made(self.caller.call(call).await, "LogStoreAlreadyExist")
    }

    /// Whether the log store is there.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn has_logstore(&self, logstore: &str) -> Result<bool> {
        let call = Call::new("GetLogStore", Method::GET, path(logstore)?);
        let there = found(self.caller.call(call).await, "LogStoreNotExist")?;
        Ok(there.is_some())
    }

    /// The names of log stores; at most the service's limit of 500.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list_logstores(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Listed {
            logstores: Vec<String>,
        }
        let target = "/logstores?offset=0&size=500".to_owned();
        let call = Call::new("ListLogStores", Method::GET, target);
        let listed: Listed = self.caller.call(call).await?.json()?;
        Ok(listed.logstores)
    }

    /// Makes the log store's index; false when it has one already.
    ///
    /// # Errors
    /// When the index is refused, or the call fails.
    pub async fn create_index(&self, logstore: &str, index: &NewIndex) -> Result<bool> {
        let target = path(logstore)? + "/index";
        let call = Call::new("CreateIndex", Method::POST, target).json(index);
        made(self.caller.call(call).await, "IndexAlreadyExist")
    }

    /// Replaces the log store's index.
    ///
    /// # Errors
    /// When it has none, the index is refused, or the call fails.
    pub async fn update_index(&self, logstore: &str, index: &NewIndex) -> Result<()> {
        let target = path(logstore)? + "/index";
        let call = Call::new("UpdateIndex", Method::PUT, target).json(index);
        self.caller.call(call).await.map(drop)
    }

    /// The log store's index; `None` when it has none.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn index(&self, logstore: &str) -> Result<Option<NewIndex>> {
        let call = Call::new("GetIndex", Method::GET, path(logstore)? + "/index");
        let reply = found(self.caller.call(call).await, "IndexConfigNotExist")?;
        reply.map(|reply| reply.json()).transpose()
    }

    /// Puts a group of logs. It may be put twice: see [`super::call`].
    ///
    /// # Errors
    /// When the group is too large or refused, or the call fails.
    pub async fn put_logs(&self, logstore: &str, group: &LogGroup) -> Result<()> {
        self.put_packed(logstore, &PackedGroup::new(group)).await
    }

    /// Puts a group of logs that is packed already.
    ///
    /// # Errors
    /// When the group is too large or refused, or the call fails.
    pub async fn put_packed(&self, logstore: &str, group: &PackedGroup) -> Result<()> {
        let PackedGroup { raw_bytes, body } = group;
        if *raw_bytes > GROUP_BYTES_MAX {
            let limit = format!("a group of {raw_bytes} bytes, above {GROUP_BYTES_MAX}");
            return Err(SlsError::NotSent(limit));
        }
        let mut call = Call::new("PutLogs", Method::POST, path(logstore)? + "/shards/lb");
        call.headers = vec![
            ("content-type", "application/x-protobuf".to_owned()),
            ("x-log-compresstype", "lz4".to_owned()),
            ("x-log-bodyrawsize", raw_bytes.to_string()),
        ];
        call.body = body.clone();
        self.caller.call(call).await.map(drop)
    }

    /// The logs that a search finds, or the rows of a statement (version 3 of the call).
    ///
    /// # Errors
    /// When the query is refused, or the call fails.
    pub async fn get_logs(&self, logstore: &str, query: &Query) -> Result<Rows> {
        let target = path(logstore)? + "/logs";
        let mut call = Call::new("GetLogsV2", Method::POST, target).json(query);
        call.headers.push(("accept-encoding", "lz4".to_owned()));
        self.caller.call(call).await?.json()
    }

    /// The same by version 1 of the call, for what does not know the later ones.
    ///
    /// # Errors
    /// When the query is refused, or the call fails.
    pub async fn get_logs_v1(&self, logstore: &str, query: &Query) -> Result<Rows> {
        let line = query.line.to_string();
        let offset = query.offset.to_string();
        let further = [
            ("line", line.as_str()),
            ("offset", &offset),
            ("reverse", if query.reverse { "true" } else { "false" }),
        ];
        let target = path(logstore)? + &parameters("log", query, &further);
        let call = Call::new("GetLogs", Method::GET, target);
        let reply = self.caller.call(call).await?;
        let number = |name| reply.header(name)?.parse().ok();
        let data: Vec<Row> = reply.json()?;
        Ok(Rows {
            meta: Meta {
                progress: reply.header("x-log-progress").unwrap_or("").to_owned(),
                count: number("x-log-count").unwrap_or(data.len() as u64),
                processed_rows: number("x-log-processed-rows").unwrap_or(0),
            },
            data,
        })
    }

    /// How many logs a search finds in each part of an interval; the service chooses the parts.
    ///
    /// # Errors
    /// When the search is refused, or the call fails.
    pub async fn histograms(&self, logstore: &str, query: &Query) -> Result<Vec<Histogram>> {
        let target = path(logstore)? + &parameters("histogram", query, &[]);
        let call = Call::new("GetHistograms", Method::GET, target);
        self.caller.call(call).await?.json()
    }
}

/// The path of a log store.
fn path(logstore: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if logstore.is_empty() || !logstore.chars().all(plain) {
        let message = format!("`{logstore}` is no name of a log store");
        return Err(SlsError::NotSent(message));
    }
    Ok(format!("/logstores/{logstore}"))
}

fn parameters(kind: &str, query: &Query, further: &[(&str, &str)]) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::from("?"));
    pairs.append_pair("type", kind);
    pairs.append_pair("from", &query.from.to_string());
    pairs.append_pair("to", &query.to.to_string());
    pairs.append_pair("query", &query.query);
    pairs.append_pair("topic", &query.topic);
    for (name, value) in further {
        pairs.append_pair(name, value);
    }
    pairs.finish()
}
