//! Which server is talked to, with which key, and what its refusals look like to a person.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

/// Where `hongbao serve` listens when nothing is said.
const URL_DEFAULT: &str = "http://127.0.0.1:8080";
/// Where `hongbao serve` keeps its data when nothing is said.
const DATA_DIR_DEFAULT: &str = "data";
/// The file in the data directory that holds the organiser's key.
const KEY_FILE: &str = "organiser.key";
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a server may be silent within a call.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// How often a call that is safe to repeat is sent when its reply is lost or the server is busy.
const TRIES_MAX: u32 = 4;
/// The pause before the second try; it doubles with each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(300);
/// How much of a reply that is no contract's error is shown, in characters.
const FOREIGN_CHARS_MAX: usize = 200;

/// Which server, and as whom. Without `Debug`, because it holds a secret.
#[derive(Args, Clone)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Where the server is.
    #[arg(long, env = "HONGBAO_URL", default_value = URL_DEFAULT, value_name = "URL")]
    pub(crate) url: String,
    /// The organiser's API key. Better told by the environment or a file: other users of this
    /// machine can see a command's arguments.
    #[arg(
        long,
        env = "HONGBAO_ORGANISER_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    organiser_key: Option<String>,
    /// A file that holds the organiser's API key.
    #[arg(long, env = "HONGBAO_ORGANISER_KEY_FILE", value_name = "FILE")]
    organiser_key_file: Option<PathBuf>,
    /// The server's data directory, when it is on this machine: the key is read from the file
    /// `organiser.key` in it, where there is one. Left out, `./data` is tried.
    #[arg(long, env = "HONGBAO_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// The organiser's key and where it came from.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) value: String,
    source: String,
}

impl ServerArgs {
    /// The organiser's key; `None` when none was told and none lies where it is looked for.
    pub(crate) fn key(&self) -> anyhow::Result<Option<Key>> {
        if let Some(value) = &self.organiser_key {
            if self.organiser_key_file.is_some() {
                bail!(
                    "--organiser-key (HONGBAO_ORGANISER_KEY) and --organiser-key-file \
                     (HONGBAO_ORGANISER_KEY_FILE) are both set; set one"
                );
            }
            return Ok(Some(Key {
                value: value.clone(),
                source: "--organiser-key or HONGBAO_ORGANISER_KEY".to_owned(),
            }));
        }
        let (path, must_exist) = match &self.organiser_key_file {
            Some(file) => (file.clone(), true),
            // The key of the server here is not for a server elsewhere, and the directory may be
            // told by the variable that tells it to the server.
            None if !self.is_local() => return Ok(None),
            None => (self.kept_key(), false),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => {
                bail!(
                    "there is no organiser key in {}: it is empty",
                    path.display()
                )
            }
            Ok(text) => Ok(Some(Key {
                value: text.trim().to_owned(),
                source: path.display().to_string(),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
            Err(error) => Err(error)
                .with_context(|| format!("cannot read the organiser key in {}", path.display())),
        }
    }

    /// Where the server of this machine keeps its key.
    fn kept_key(&self) -> PathBuf {
        let data_dir = self.data_dir.as_deref();
        data_dir
            .unwrap_or(Path::new(DATA_DIR_DEFAULT))
            .join(KEY_FILE)
    }

    /// Whether the URL names this machine by its loopback address.
    fn is_local(&self) -> bool {
        let Ok(url) = Url::parse(&self.url) else {
            return false;
        };
        let host = url.host_str().unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }

    /// The server, with the organiser's key, which must be there.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        let url = Url::parse(&self.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .with_context(|| {
                format!(
                    "`{}` is no URL of a server: expected one such as {URL_DEFAULT}",
                    self.url
                )
            })?;
        let Some(key) = self.key()? else {
            bail!(
                "no organiser key: give --organiser-key-file, or HONGBAO_ORGANISER_KEY{}",
                match self.is_local() {
                    true => format!(
                        ", or --data-dir of the server on this machine ({} is not there)",
                        self.kept_key().display()
                    ),
                    false => "; a data directory counts for a server at a loopback address \
                              only"
                        .to_owned(),
                }
            );
        };
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE_MAX)
            // A redirect would carry the key elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if self.is_local() {
            http = http.no_proxy();
        }
        Ok(Server {
            http: http
                .build()
                .context("cannot set up HTTP and its certificates")?,
            url: url.as_str().trim_end_matches('/').to_owned(),
            key,
        })
    }
}

/// A server, and the organiser's key for it.
pub(crate) struct Server {
    http: reqwest::Client,
    pub(crate) url: String,
    key: Key,
}

impl Server {
    /// GET `path`, as JSON.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let reply = self.get_raw(path, query).await?;
        json(&self.url, reply).await
    }

    /// GET `path`, with the body still to be read.
    pub(crate) async fn get_raw(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<Response> {
        self.send(|| self.request(Method::GET, path).query(query))
            .await
    }

    /// POST `path`, which must be safe to repeat: by its nature, or by the idempotency key.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &Value,
        idempotency_key: Option<&str>,
    ) -> anyhow::Result<Value> {
        let reply = self
            .send(|| {
                let request = self.request(Method::POST, path).json(body);
                match idempotency_key {
                    Some(key) => request.header("Idempotency-Key", key),
                    None => request,
                }
            })
            .await?;
        json(&self.url, reply).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.http.request(method, url).bearer_auth(&self.key.value)
    }

    /// Sends what `request` builds, again when the reply was lost or the server could not
    /// decide; a reply that is no success becomes an error.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<Response> {
        let mut pause = PAUSE_FIRST;
        let mut tries = 1;
        loop {
            let error = match request().send().await {
                Ok(reply) if reply.status().is_success() => return Ok(reply),
                Ok(reply) => {
                    let busy = reply.status() == StatusCode::SERVICE_UNAVAILABLE;
                    let error = self.refusal(reply).await;
                    if !busy {
                        return Err(error);
                    }
                    error
                }
                Err(error) if error.is_connect() => {
                    return Err(anyhow!(
                        "is the server running at {}? It cannot be reached: {}",
                        self.url,
                        innermost(&error)
                    ));
                }
                Err(error) if error.is_builder() => return Err(error.into()),
                Err(error) => anyhow!("no reply from {}: {}", self.url, innermost(&error)),
            };
            if tries >= TRIES_MAX {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            tries += 1;
        }
    }

    /// What a reply that is no success means.
    async fn refusal(&self, reply: Response) -> anyhow::Error {
        let status = reply.status();
        let body = reply.bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_else(|_| {
            // A proxy's page, or a server that is no Hongbao.
            let text = String::from_utf8_lossy(&body);
            Value::String(text.chars().take(FOREIGN_CHARS_MAX).collect())
        });
        let error = &body["error"];
        let said = match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => format!("{message} ({code})"),
            _ => format!("it answered {status} {body}"),
        };
        let advice = if status == StatusCode::UNAUTHORIZED {
            format!("; the key came from {}", self.key.source)
        } else {
            String::new()
        };
        let id = match error["request_id"].as_str() {
            Some(id) if status.is_server_error() && !id.is_empty() => format!("; request {id}"),
            _ => String::new(),
        };
        let words = format!("{} refuses: {said}{advice}{id}", self.url);
        if status.is_client_error() {
            Refused(words).into()
        } else {
            anyhow!(words)
        }
    }
}

/// The server understood the call and did nothing; sending it again changes nothing.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Adds to an error that leaves open whether the call was done how to repeat it safely.
pub(crate) fn advise_repeat(error: anyhow::Error, idempotency_key: &str) -> anyhow::Error {
    if error.is::<Refused>() {
        return error;
    }
    error.context(format!(
        "it is not known to be done; the same command with --idempotency-key {idempotency_key} \
         does it once at most"
    ))
}

async fn json(url: &str, reply: Response) -> anyhow::Result<Value> {
    let body = reply.bytes().await;
    let body = body.with_context(|| format!("the reply of {url} broke off"))?;
    serde_json::from_slice(&body)
        .with_context(|| format!("{url} answered what is no JSON; is it a Hongbao server?"))
}

/// The cause at the bottom, which says what happened; those above it repeat the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

#[cfg(test)]
impl ServerArgs {
    /// A server at `url` with this key.
    pub(crate) fn at(url: &str, key: &str) -> Self {
        Self {
            url: url.to_owned(),
            organiser_key: Some(key.to_owned()),
            organiser_key_file: None,
            data_dir: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str) -> ServerArgs {
        ServerArgs {
            organiser_key: None,
            ..ServerArgs::at(url, "")
        }
    }

    #[test]
    fn the_key_in_the_data_directory_is_for_the_server_of_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(KEY_FILE), "a key\n").unwrap();
        let key = |url| {
            let args = ServerArgs {
                data_dir: Some(dir.path().to_owned()),
                ..args(url)
            };
            args.key().unwrap().map(|key| key.value)
        };
        assert_eq!(key("http://127.0.0.1:8081").as_deref(), Some("a key"));
        assert_eq!(key("http://rain.example"), None);
    }

    #[test]
    fn a_key_file_that_was_named_must_be_there() {
        let args = ServerArgs {
            organiser_key_file: Some("/nowhere/key".into()),
            ..args(URL_DEFAULT)
        };
        let error = format!("{:#}", args.key().err().unwrap());
        assert!(error.contains("/nowhere/key"), "{error}");
    }

    #[test]
    fn an_empty_key_file_holds_no_key() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(KEY_FILE), "\n").unwrap();
        let args = ServerArgs {
            data_dir: Some(dir.path().to_owned()),
            ..args(URL_DEFAULT)
        };
        let error = args.key().err().unwrap().to_string();
        assert!(error.contains("it is empty"), "{error}");
    }

    #[test]
    fn two_keys_are_one_too_many() {
        let args = ServerArgs {
            organiser_key_file: Some("/nowhere/key".into()),
            ..ServerArgs::at(URL_DEFAULT, "key")
        };
        assert!(args.key().is_err());
    }

    #[test]
    fn the_key_of_the_server_here_is_not_for_a_server_elsewhere() {
        for (url, local) in [
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost:8080/rain", true),
            ("https://rain.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(args(url).is_local(), local, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for url in ["127.0.0.1:8080", "ftp://host", ""] {
            let error = ServerArgs::at(url, "key").server().err().unwrap();
            assert!(error.to_string().contains(URL_DEFAULT), "{error}");
        }
    }
}
