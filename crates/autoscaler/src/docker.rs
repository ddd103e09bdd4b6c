//! The few calls of Docker's API that scaling takes, over its socket.
//!
//! The client behind them is the one that the workspace has for HTTP anyway; answers stay JSON
//! where they are passed on, so that nothing in them is lost (`docs/decisions/`).

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::TryFutureExt as _;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    copy::{Copy, Sibling},
    fleet::{Listed, PROJECT},
    window::{Moment, Reading},
};

/// The version of the API that this was written against; an older daemon is spoken to in its own,
/// and one that has left this behind in the oldest that it still knows.
const API: ApiVersion = ApiVersion(1, 43);
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long a call may take that does not wait for a container.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The same for a container's figures, for which all of a look waits.
const FIGURES_WITHIN: Duration = Duration::from_secs(3);
/// How long making or starting a container may take, which a busy machine is slow at.
const MAKE_WITHIN: Duration = Duration::from_secs(30);
/// How much longer than a container's own time to stop the call for that may take.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// It could not be reached, or did not answer in time.
    #[error("Docker does not answer: {}", causes(.0))]
    Away(reqwest::Error),
    /// It refused.
    #[error("Docker said {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Docker's words.
        message: String,
    },
    /// It answered something else than it should.
    #[error("Docker answered what is not understood: {0}")]
    Garbled(String),
    /// The address cannot be used.
    #[error(
        "cannot use {0} as Docker's address: it must be unix:///PATH, tcp://HOST:PORT or http://HOST:PORT"
    )]
    Address(String),
}

impl DockerError {
    /// Whether Docker says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the same call may succeed later, with nothing changed but Docker's own state.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Refused { status: 500.., .. })
    }
}

/// An error with what caused it, in one line.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

type Result<T, E = DockerError> = std::result::Result<T, E>;

/// A version of the API, as 1.43.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion(u32, u32);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// Docker's API, at one address.
#[derive(Debug)]
pub struct Docker {
    http: Client,
    base: String,
    /// What is spoken, once Docker was asked.
    version: Mutex<Option<ApiVersion>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    api_version: String,
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct Stats {
    read: rules::Timestamp,
    cpu_stats: CpuStats,
}

#[derive(Deserialize)]
struct CpuStats {
    cpu_usage: CpuUsage,
}

#[derive(Deserialize)]
struct CpuUsage {
    total_usage: u64,
}

impl Docker {
    /// Docker at `address`: `unix:///PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`. Nothing is
    /// called yet.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn at(address: &str) -> Result<Self> {
        let builder = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            // A daemon that was started again has closed what was kept open.
            .pool_idle_timeout(Duration::from_secs(30));
        let tcp = address
            .strip_prefix("tcp://")
            .or_else(|| address.strip_prefix("http://"));
        let wrong = || DockerError::Address(address.to_owned());
        let (builder, base) = match (address.strip_prefix("unix://"), tcp) {
            (Some(path), _) if path.starts_with('/') => {
                // The host is only a name here, as on every such socket.
                (
                    builder.unix_socket(PathBuf::from(path)),
                    "http://docker".to_owned(),
                )
            }
            (None, Some(host)) if !host.trim_end_matches('/').is_empty() => {
                (builder, format!("http://{}", host.trim_end_matches('/')))
            }
            _ => return Err(wrong()),
        };
        Ok(Self {
            http: builder.build().map_err(|_| wrong())?,
            base,
            version: Mutex::new(None),
        })
    }

    /// Every container of a Compose project, running or not.
    ///
    /// # Errors
    /// See [`DockerError`]; the same for the other calls.
    pub async fn containers(&self, project: &str) -> Result<Vec<Listed>> {
        let filters = json!({ "label": [format!("{PROJECT}={project}")] });
        let query = [("all", "true".to_owned()), ("filters", filters.to_string())];
        let call = self.call(Method::GET, "/containers/json").await?;
        read(call.query(&query)).await
    }

    /// All that Docker says of a container.
    ///
    /// # Errors
    /// As above.
    pub async fn inspect(&self, id: &str) -> Result<Sibling> {
        let path = format!("/containers/{id}/json");
        let call = self.call(Method::GET, &path).await?;
        Ok(Sibling::new(read(call).await?))
    }

    /// What a running container's counter of CPU time says at `at`.
    ///
    /// # Errors
    /// As above.
    pub async fn cpu(&self, id: &str, at: Moment) -> Result<Reading> {
        let path = format!("/containers/{id}/stats");
        // One look; without `one-shot` Docker takes a second or two for a second one.
        let query = [("stream", "false"), ("one-shot", "true")];
        let call = self.call(Method::GET, &path).await?;
        let call = call.query(&query).timeout(FIGURES_WITHIN);
        let stats: Stats = read(call).await?;
        Ok(Reading {
            at,
            daemon_nanos: stats.read.micros().saturating_mul(1_000),
            used_nanos: stats.cpu_stats.cpu_usage.total_usage,
        })
    }

    /// The id of the image that `name` stands for now; `None` when there is none.
    ///
    /// # Errors
    /// As above.
    pub async fn image_id(&self, name: &str) -> Result<Option<String>> {
        let path = format!("/images/{name}/json");
        let call = self.call(Method::GET, &path);
        match call.and_then(read::<Made>).await {
            Ok(image) => Ok(Some(image.id)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a container and connects its networks; gives its id. It is not started.
    ///
    /// # Errors
    /// As above; what was made is removed again then.
    pub async fn create(&self, copy: &Copy) -> Result<String> {
        let call = self.call(Method::POST, "/containers/create").await?;
        let call = call.query(&[("name", &copy.name)]).json(&copy.body);
        let Made { id } = read(call.timeout(MAKE_WITHIN)).await?;
        if let Err(error) = self.connect(&id, copy).await {
            // What is said is why it failed, not that half of it could not be undone.
            if let Err(left) = self.remove(&id).await {
                tracing::warn!(container = copy.name, error = %left, "left half made");
            }
            return Err(error);
        }
        Ok(id)
    }

    /// Connects a new container to the networks that it was not made in.
    async fn connect(&self, id: &str, copy: &Copy) -> Result<()> {
        for (network, endpoint) in &copy.more_networks {
            let body = json!({ "Container": id, "EndpointConfig": endpoint });
            let path = format!("/networks/{network}/connect");
            let call = self.call(Method::POST, &path).await?;
            done(call.json(&body)).await?;
        }
        Ok(())
    }

    /// Starts a container; one that runs already is well.
    ///
    /// # Errors
    /// As above.
    pub async fn start(&self, id: &str) -> Result<()> {
        let path = format!("/containers/{id}/start");
        let call = self.call(Method::POST, &path).await?;
        done(call.timeout(MAKE_WITHIN)).await
    }

    /// Asks a container to end, and waits for that; one that has not after `within` is killed. One
    /// that has ended already is well.
    ///
    /// # Errors
    /// As above.
    pub async fn stop(&self, id: &str, within: Duration) -> Result<()> {
        let path = format!("/containers/{id}/stop");
        let call = self.call(Method::POST, &path).await?;
        let call = call.query(&[("t", within.as_secs())]);
        done(call.timeout(within + STOP_SLACK)).await
    }

    /// Removes a container and the volumes that are its own; one that is gone already is well.
    ///
    /// # Errors
    /// As above.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let path = format!("/containers/{id}");
        let call = self.call(Method::DELETE, &path).await?;
        match done(call.query(&[("v", "true"), ("force", "true")])).await {
            Err(error) if error.is_not_found() => Ok(()),
            // Somebody else removes it at the same time.
            Err(DockerError::Refused { status: 409, .. }) => Ok(()),
            result => result,
        }
    }

    /// The Compose project of the container with this id or name; `None` when it has none.
    ///
    /// # Errors
    /// As above.
    pub async fn project_of(&self, container: &str) -> Result<Option<String>> {
        let path = format!("/containers/{container}/json");
        let inspected: Value = read(self.call(Method::GET, &path).await?).await?;
        let labels = &inspected["Config"]["Labels"];
        Ok(labels[PROJECT].as_str().map(str::to_owned))
    }

    async fn call(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let known = *self.version.lock().unwrap_or_else(PoisonError::into_inner);
        let ApiVersion(major, minor) = match known {
            Some(version) => version,
            None => self.negotiate().await?,
        };
        let url = format!("{}/v{major}.{minor}{path}", self.base);
        Ok(self.http.request(method, url).timeout(ANSWER_WITHIN))
    }

    /// Asks what Docker speaks.
    async fn negotiate(&self) -> Result<ApiVersion> {
        let url = format!("{}/version", self.base);
        let versions: Versions = read(self.http.get(url).timeout(ANSWER_WITHIN)).await?;
        let parsed = ApiVersion::parse(&versions.api_version);
        let newest = parsed.ok_or_else(|| DockerError::Garbled(versions.api_version))?;
        let oldest = versions.min_api_version.as_deref();
        let oldest = oldest.and_then(ApiVersion::parse).unwrap_or(newest);
        let spoken = API.min(newest).max(oldest.min(newest));
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(spoken);
        Ok(spoken)
    }

    /// Forgets what is spoken: the daemon that comes back may be another version.
    pub fn forget(&self) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The answer of a call that gives one.
async fn read<T: DeserializeOwned>(call: RequestBuilder) -> Result<T> {
    let body = send(call).await?;
    serde_json::from_slice(&body).map_err(|error| DockerError::Garbled(error.to_string()))
}

/// A call that only succeeds.
async fn done(call: RequestBuilder) -> Result<()> {
    send(call).await.map(drop)
}

async fn send(call: RequestBuilder) -> Result<Vec<u8>> {
    let answer = call.send().await.map_err(DockerError::Away)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(DockerError::Away)?;
    // 304: what was asked for is so already.
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(body.into());
    }
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let said = serde_json::from_slice(&body).map(|said: Said| said.message);
    Err(DockerError::Refused {
        status: status.as_u16(),
        message: said.unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned()),
    })
}
