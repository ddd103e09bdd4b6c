//! The log service offline: a tool for development and tests, never for production.
//!
//! It holds its logs in memory, and on disk if asked; it answers whole requests and serves
//! none itself. What it does not know it refuses by name.
//!
//! # Layout
//! - `auth`: signatures and dates of requests.
//! - `control`: projects, log stores and indexes; `put`: logs in; `get`: logs, statistics and
//!   histograms out.
//! - `state`: all there is; `index` and `table`: how it is searched; `journal`: how it is kept.
//! - `reply`: answers and refusals.

mod auth;
mod control;
mod get;
mod index;
mod journal;
mod put;
mod reply;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use rules::{Clock, Timestamp};

use self::{auth::Signed, journal::Journal, reply::Refusal, state::State};
use crate::{
    server::Offline,
    sign::{Credentials, http_date},
};

/// The most logs kept unless told otherwise.
pub const LOGS_MAX: usize = 5_000_000;

/// How the offline server is set up.
#[derive(Clone, Debug)]
pub struct SlsServerOptions {
    /// Whose signatures are taken.
    pub credentials: Credentials,
    /// A folder that keeps everything over a restart. What the operating system has not yet
    /// written is lost with the power, not with the process.
    pub folder: Option<PathBuf>,
    /// The most logs kept, in all log stores. More are refused with `WriteQuotaExceed`.
    pub logs_max: usize,
    /// Takes requests and logs of any date, so that recordings can be replayed.
    pub any_date: bool,
}

impl SlsServerOptions {
    /// In memory, for `credentials`.
    #[must_use]
    pub const fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            folder: None,
            logs_max: LOGS_MAX,
            any_date: false,
        }
    }
}

/// The offline log service.
pub struct SlsServer {
    options: SlsServerOptions,
    clock: Arc<dyn Clock>,
    kept: RwLock<Kept>,
    requests: AtomicU64,
}

/// What there is, and the journal that keeps it.
struct Kept {
    state: State,
    journal: Option<Journal>,
}

impl fmt::Debug for SlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlsServer").finish_non_exhaustive()
    }
}

/// A request whose sender is known.
struct Asked<'a> {
    method: &'a Method,
    path: Vec<&'a str>,
    /// Decoded.
    query: Vec<(String, String)>,
    /// The first label of the host.
    project: Option<&'a str>,
    headers: &'a http::HeaderMap,
    body: &'a Bytes,
    now: Timestamp,
}

impl Asked<'_> {
    /// A parameter of the query; an empty one is none.
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(key, _)| key == name);
        let found = found.next().map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Seconds since the Unix epoch.
    const fn now_seconds(&self) -> i64 {
        self.now.micros().div_euclid(1_000_000)
    }
}

impl SlsServer {
    /// Opens the folder, if there is to be one.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written, or holds what is not its own.
    pub fn open(options: SlsServerOptions, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let mut state = State::default();
        let journal = options.folder.as_deref();
        let journal = journal
            .map(|folder| Journal::open(folder, &mut state))
            .transpose()?;
        Ok(Self {
            options,
            clock,
            kept: RwLock::new(Kept { state, journal }),
            requests: AtomicU64::new(0),
        })
    }

    /// Answers a request. Its target may have the absolute form; its body must be whole.
    #[must_use]
    pub fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let now = self.clock.now();
        let answer = self.answer_or_refuse(request, now);
        let mut response = answer.unwrap_or_else(|refusal| refusal.response());
        let number = self.requests.fetch_add(1, Relaxed);
        let id = format!("{:015X}{:09X}", now.micros(), number & 0xF_FFFF_FFFF);
        reply::set(&mut response, "x-log-requestid", id);
        reply::set(&mut response, "x-log-time", now.micros() / 1_000_000);
        reply::set(&mut response, "date", http_date(now));
        response
    }

    fn answer_or_refuse(
        &self,
        request: &Request<Bytes>,
        now: Timestamp,
    ) -> Result<Response<Bytes>, Refusal> {
        let target = request.uri().path_and_query();
        let target = target.map_or("/", http::uri::PathAndQuery::as_str);
        let signed = Signed {
            method: request.method().as_str(),
            target,
            headers: request.headers(),
            body: request.body(),
        };
        let dated = (!self.options.any_date).then_some(now);
        signed.verify(&self.options.credentials, dated)?;
        let host = request.headers().get(header::HOST);
        let host = host
            .and_then(|host| host.to_str().ok())
            .or_else(|| request.uri().host());
        let query = request.uri().query().unwrap_or("");
        let query = form_urlencoded::parse(query.as_bytes());
        let path = request.uri().path().split('/');
        let asked = Asked {
            method: request.method(),
            path: path.filter(|part| !part.is_empty()).collect(),
            query: query.into_owned().collect(),
            project: host.and_then(project_of),
            headers: request.headers(),
            body: request.body(),
            now,
        };
        self.route(&asked)
    }

    fn route(&self, asked: &Asked<'_>) -> Result<Response<Bytes>, Refusal> {
        let Asked { method, path, .. } = asked;
        match (method.as_str(), path.as_slice()) {
            ("POST", []) => self.create_project(asked),
            ("GET", []) if control::is_listing(asked) => self.list_projects(asked),
            ("GET", []) => self.get_project(asked),
            ("DELETE", []) => self.delete_project(asked),
            ("POST", ["logstores"]) => self.create_logstore(asked),
            ("GET", ["logstores"]) => self.list_logstores(asked),
            ("GET", ["logstores", store]) => match asked.parameter("type") {
                None => self.get_logstore(asked, store),
                Some("log") => self.get_logs_v1(asked, store),
                Some("histogram") => self.get_histograms(asked, store),
                Some(other) => Err(Refusal::parameter(format!("unknown type {other}"))),
            },
            ("PUT", ["logstores", store]) => self.update_logstore(asked, store),
            ("DELETE", ["logstores", store]) => self.delete_logstore(asked, store),
            ("GET", ["logstores", store, "shards"]) => self.list_shards(asked, store),
            ("POST", ["logstores", store, "index"]) => self.create_index(asked, store),
            ("GET", ["logstores", store, "index"]) => self.get_index(asked, store),
            ("PUT", ["logstores", store, "index"]) => self.update_index(asked, store),
            ("DELETE", ["logstores", store, "index"]) => self.delete_index(asked, store),
            ("POST", ["logstores", store, "shards", "lb" | "route"]) => self.put_logs(asked, store),
            ("POST", ["logstores", store, "logs"]) => self.get_logs(asked, store),
            _ => {
                let path = path.join("/");
                let message = format!("the offline server does not know {method} /{path}");
                Err(Refusal::bad("UnsupportedOperation", message))
            }
        }
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> Result<T, Refusal>) -> Result<T, Refusal> {
        // A change is made in memory in one call that cannot panic half-way.
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        look(&kept.state)
    }

    /// Keeps and makes the change that `decide` asks for, if any.
    fn change(
        &self,
        decide: impl FnOnce(&State) -> Result<state::Change, Refusal>,
    ) -> Result<(), Refusal> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Kept { state, journal } = &mut *kept;
        let change = decide(state)?;
        if let Some(journal) = journal {
            journal.keep(&change).map_err(|error| unkept(&error))?;
        }
        state.apply(change);
        Ok(())
    }
}

fn unkept(error: &io::Error) -> Refusal {
    tracing::error!(%error, "the offline log service cannot write its journal");
    let message = format!("the journal cannot be written: {error}");
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalServerError",
        message,
    )
}

#[async_trait]
impl Offline for SlsServer {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        Self::answer(self, &request)
    }
}

/// The project that a host names: its first label, unless it is an address or has only one.
fn project_of(host: &str) -> Option<&str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[') {
        return None;
    }
    name.split_once('.').map(|(project, _)| project)
}
