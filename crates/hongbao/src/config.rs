//! What the services can be told, and where from: flags over environment over file.
//!
//! Each option is documented here once, for `--help`, with the name of its variable and its
//! default. In the file an option has its flag's name with underscores.

mod backends;
mod cloud;
mod file;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use services::http::origin;

pub use self::{
    backends::{AttemptsAt, Database, QueueAt, without_password},
    cloud::{AccessKey, MnsAt, SlsAt},
};

/// Everything a service can be told. `None`: not told.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A TOML file with any of these options, named as the flags with underscores.
    #[arg(long, env = "HONGBAO_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Where participants and organisers connect [default: 127.0.0.1:8080].
    #[arg(long, env = "HONGBAO_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// Where /metrics is served [default: 127.0.0.1:9090].
    #[arg(long, env = "HONGBAO_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<SocketAddr>,

    /// Where other services connect (/account/verify), with the service key [default: nowhere, or
    /// 0.0.0.0:8081 for `account`].
    #[arg(long, env = "HONGBAO_INNER_LISTEN", value_name = "ADDRESS:PORT")]
    pub inner_listen: Option<SocketAddr>,

    /// Listen on the local network, and say with which address a phone reaches it.
    #[arg(long, env = "HONGBAO_LAN", num_args = 0..=1, default_missing_value = "true")]
    pub lan: Option<bool>,

    /// What links and QR codes show [default: http:// and where it listens].
    #[arg(long, env = "HONGBAO_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Where the embedded database, generated secrets and the access log live [default: ./data].
    #[arg(long, env = "HONGBAO_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// The ledger's database: sqlite://PATH, or mysql:// or postgres:// with
    /// USER:PASSWORD@HOST/NAME and, for TLS, the driver's parameters [default: SQLite in the data
    /// directory].
    #[arg(
        long,
        env = "HONGBAO_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// The host of a MySQL or MariaDB database, instead of its URL [default: none].
    #[arg(long, env = "DB_HOST", value_name = "HOST")]
    pub db_host: Option<String>,

    /// The port of that database [default: 3306].
    #[arg(long, env = "DB_PORT", value_name = "PORT")]
    pub db_port: Option<u16>,

    /// The name of that database.
    #[arg(long, env = "DB_NAME", value_name = "NAME")]
    pub db_name: Option<String>,

    /// Who uses that database.
    #[arg(long, env = "DB_USER", value_name = "USER")]
    pub db_user: Option<String>,

    /// The password for that database [default: none].
    #[arg(
        long,
        env = "DB_PASSWD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub db_passwd: Option<String>,

    /// A file that holds the password for that database.
    #[arg(long, env = "DB_PASSWD_FILE", value_name = "FILE")]
    pub db_passwd_file: Option<PathBuf>,

    /// Make campaigns although the database may lose wins that were answered [default: false].
    #[arg(
        long,
        env = "HONGBAO_ALLOW_WEAK_DURABILITY",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub allow_weak_durability: Option<bool>,

    /// The queue: memory:, redis://HOST:PORT (rediss:// for TLS),
    /// redis+cluster://HOST:PORT,HOST:PORT or, with an access key, MNS at mns://HOST or
    /// https://HOST (http:// without TLS) [default: memory:].
    #[arg(
        long,
        env = "HONGBAO_QUEUE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub queue_url: Option<String>,

    /// The queue on MNS, the cloud's message service, instead of the queue's URL:
    /// https://ACCOUNT.mns.REGION.aliyuncs.com [default: none].
    #[arg(long, env = "MNS_URL", value_name = "URL", hide_env_values = true)]
    pub mns_url: Option<String>,

    /// The id of the cloud's access key, for MNS and SLS.
    #[arg(long, env = "ACCESS_KEY_ID", value_name = "ID", hide_env_values = true)]
    pub access_key_id: Option<String>,

    /// The secret of that access key.
    #[arg(
        long,
        env = "ACCESS_KEY_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub access_key_secret: Option<String>,

    /// A file that holds the secret of that access key.
    #[arg(long, env = "ACCESS_KEY_SECRET_FILE", value_name = "FILE")]
    pub access_key_secret_file: Option<PathBuf>,

    /// The security token that came with that access key, if it is a lent one; such a key ends
    /// with its time [default: none].
    #[arg(
        long,
        env = "ACCESS_KEY_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub access_key_token: Option<String>,

    /// The log service (SLS) that the access log is shipped to, with that access key:
    /// https://REGION.log.aliyuncs.com (http:// without TLS) [default: none, only the file].
    #[arg(long, env = "HONGBAO_SLS_ENDPOINT", value_name = "URL")]
    pub sls_endpoint: Option<String>,

    /// The project there; made when it is missing.
    #[arg(long, env = "HONGBAO_SLS_PROJECT", value_name = "NAME")]
    pub sls_project: Option<String>,

    /// The log store in that project; made with its index when it is missing [default:
    /// redpacket-access].
    #[arg(long, env = "HONGBAO_SLS_LOGSTORE", value_name = "NAME")]
    pub sls_logstore: Option<String>,

    /// The region of that endpoint, such as cn-hangzhou, where requests are to be signed by the
    /// service's version 4 [default: none, signed by version 1].
    #[arg(long, env = "HONGBAO_SLS_REGION", value_name = "REGION")]
    pub sls_region: Option<String>,

    /// Where account replicas remember together who has tried: a Redis as for the queue, ledger:
    /// for the ledger's database, or memory: [default: the queue, when that is Redis; else the
    /// ledger's database, when that is on a server].
    #[arg(
        long,
        env = "HONGBAO_ATTEMPTS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub attempts_url: Option<String>,

    /// Where the account service's inner listener is, for request processing [default: this
    /// process].
    #[arg(long, env = "HONGBAO_ACCOUNT_URL", value_name = "URL")]
    pub account_url: Option<String>,

    /// The same, as HOST:PORT, or as HOST alone: it is asked at port 8081, and at 80 when nobody is
    /// there.
    #[arg(long, env = "ACCOUNT_CHECK_IP", value_name = "HOST")]
    pub account_check_ip: Option<String>,

    /// What a grab is when the account service cannot be reached: answered 503, or let in as if
    /// there were no rules [default: refuse].
    #[arg(long, env = "HONGBAO_ACCOUNT_DOWN", value_name = "WHAT")]
    pub account_down: Option<AccountDown>,

    /// How many request processing replicas share the packets; it decides how many packets travel
    /// together [default: 1, or 4 with a database server].
    #[arg(long, env = "HONGBAO_REPLICAS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub replicas: Option<u32>,

    /// Seconds for which a request processing replica holds packets: how long those of one that
    /// died are out of reach [default: 30].
    #[arg(long, env = "HONGBAO_LEASE_SECONDS", value_name = "N", value_parser = clap::value_parser!(u64).range(6..=600))]
    pub lease_seconds: Option<u64>,

    /// Whose codes are taken: everybody's, or those of imported users only [default: anyone].
    #[arg(long, env = "HONGBAO_IDENTITY", value_name = "WHO")]
    pub identity: Option<Identity>,

    /// Signs participants' tokens; at least 32 bytes [default: generated, in the
    /// data directory or, for one of several services, in the ledger].
    #[arg(
        long,
        env = "HONGBAO_TOKEN_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub token_secret: Option<String>,

    /// A file that holds the token secret.
    #[arg(long, env = "HONGBAO_TOKEN_SECRET_FILE", value_name = "FILE")]
    pub token_secret_file: Option<PathBuf>,

    /// A JSON Web Key Set whose EdDSA or RS256 tokens are taken too.
    #[arg(long, env = "HONGBAO_TOKEN_KEYS_FILE", value_name = "FILE")]
    pub token_keys_file: Option<PathBuf>,

    /// What services show each other; at least 32 bytes [default: generated, as the token secret].
    #[arg(
        long,
        env = "HONGBAO_SERVICE_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub service_key: Option<String>,

    /// A file that holds the service key.
    #[arg(long, env = "HONGBAO_SERVICE_KEY_FILE", value_name = "FILE")]
    pub service_key_file: Option<PathBuf>,

    /// An API key with the organiser's rights; at least 32 bytes [default: generated in the data
    /// directory by `serve`; else none, and organisers log in].
    #[arg(
        long,
        env = "HONGBAO_ORGANISER_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub organiser_key: Option<String>,

    /// A file that holds the organiser key.
    #[arg(long, env = "HONGBAO_ORGANISER_KEY_FILE", value_name = "FILE")]
    pub organiser_key_file: Option<PathBuf>,

    /// Proxies whose X-Forwarded-For is believed, as addresses or networks [default: none].
    #[arg(
        long,
        env = "HONGBAO_TRUSTED_PROXIES",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub trusted_proxies: Option<Vec<String>>,

    /// Apply rate limits and login back-off to loopback addresses too [default: false].
    #[arg(long, env = "HONGBAO_LIMIT_LOOPBACK", num_args = 0..=1, default_missing_value = "true")]
    pub limit_loopback: Option<bool>,

    /// Logins a minute and address; 0 is no limit [default: 120].
    #[arg(long, env = "HONGBAO_LOGINS_PER_MINUTE", value_name = "N")]
    pub logins_per_minute: Option<u32>,

    /// The access log [default: redpacket_access.log in the data directory].
    #[arg(long, env = "HONGBAO_ACCESS_LOG", value_name = "FILE")]
    pub access_log: Option<PathBuf>,

    /// Misses logged singly each second; those above are logged as exact sums [default: 200].
    #[arg(long, env = "HONGBAO_LOGGED_MISSES_PER_SECOND", value_name = "N")]
    pub logged_misses_per_second: Option<u32>,

    /// Threads that serve connections [default: one for each core].
    #[arg(long, env = "HONGBAO_THREADS", value_name = "N")]
    pub threads: Option<usize>,

    /// The most connections at once [default: 16000].
    #[arg(long, env = "HONGBAO_CONNECTIONS_MAX", value_name = "N")]
    pub connections_max: Option<usize>,

    /// Seconds to serve on after SIGTERM while saying not to be ready, so that a balancer sends
    /// nothing more before doors close [default: 3, or 0 for `serve`].
    #[arg(long, env = "HONGBAO_DRAIN_NOTICE_SECONDS", value_name = "N")]
    pub drain_notice_seconds: Option<u64>,

    /// Seconds for requests under way to end after SIGTERM [default: 10].
    #[arg(long, env = "HONGBAO_DRAIN_SECONDS", value_name = "N")]
    pub drain_seconds: Option<u64>,

    /// What is logged on standard error, such as `debug` or `services=debug,info` [default: info].
    #[arg(long, env = "HONGBAO_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How it is logged [default: text].
    #[arg(long, env = "HONGBAO_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Whose identification codes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Everybody's; a user id follows from the code.
    Anyone,
    /// Those of imported users.
    Registered,
}

/// What a grab is when the account service cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountDown {
    /// Answered 503: the user asks again.
    Refuse,
    /// Let in, as if there were no rules.
    Admit,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

macro_rules! forget_empty {
    ($settings:ident: $($field:ident)*) => {
        $(if $settings.$field.as_deref() == Some("") { $settings.$field = None; })*
    };
}

macro_rules! fill_from {
    ($settings:ident, $file:ident: $($field:ident)*) => {
        $(if $settings.$field.is_none() { $settings.$field = $file.$field; })*
    };
}

impl Settings {
    /// These settings, with what the file says where neither flag nor environment did.
    ///
    /// # Errors
    /// When the file cannot be read, or holds an unknown option or a wrong value.
    pub fn with_file(mut self) -> anyhow::Result<Self> {
        self.forget_empty();
        let Some(path) = self.config.clone() else {
            return Ok(self);
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        let file = file::read(&text)
            .with_context(|| format!("in the configuration file {}", path.display()))?;
        fill_from!(self, file:
            listen admin_listen inner_listen lan public_url data_dir database_url db_host db_port
            db_name db_user db_passwd db_passwd_file allow_weak_durability queue_url mns_url
            access_key_id access_key_secret access_key_secret_file access_key_token sls_endpoint
            sls_project sls_logstore sls_region attempts_url
            account_url account_check_ip account_down replicas lease_seconds identity token_secret token_secret_file token_keys_file service_key service_key_file
            organiser_key organiser_key_file trusted_proxies limit_loopback logins_per_minute
            access_log logged_misses_per_second threads connections_max drain_notice_seconds drain_seconds log
            log_format);
        self.forget_empty();
        Ok(self)
    }

    /// A template leaves empty what is not set. The service's own secrets are not among these: to be
    /// told an empty one is a mistake, and none must be drawn in its place.
    fn forget_empty(&mut self) {
        forget_empty!(self:
            public_url database_url db_host db_name db_user db_passwd queue_url mns_url
            access_key_id access_key_secret access_key_token sls_endpoint sls_project
            sls_logstore sls_region attempts_url account_url account_check_ip log);
        if let Some(proxies) = &mut self.trusted_proxies {
            proxies.retain(|proxy| !proxy.is_empty());
        }
        if self.trusted_proxies.as_ref().is_some_and(Vec::is_empty) {
            self.trusted_proxies = None;
        }
    }

    /// The most connections at once.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.connections_max.unwrap_or(16_000)
    }

    /// Where participants and organisers connect.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        let mut listen = self.listen.unwrap_or(([127, 0, 0, 1], 8080).into());
        if self.lan == Some(true) && listen.ip().is_loopback() {
            listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        listen
    }

    /// Where metrics are served.
    #[must_use]
    pub fn admin_listen(&self) -> SocketAddr {
        self.admin_listen.unwrap_or(([127, 0, 0, 1], 9090).into())
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new("data"))
    }

    /// The access log.
    #[must_use]
    pub fn access_log(&self) -> PathBuf {
        let default = || self.data_dir().join("redpacket_access.log");
        self.access_log.clone().unwrap_or_else(default)
    }

    /// What links show, when the service listens at `bound`.
    ///
    /// # Errors
    /// When the configured URL is none.
    pub fn public_url(&self, bound: SocketAddr) -> anyhow::Result<String> {
        let Some(url) = &self.public_url else {
            let shown = if bound.ip().is_unspecified() {
                SocketAddr::new(
                    lan_address().unwrap_or(Ipv4Addr::LOCALHOST.into()),
                    bound.port(),
                )
            } else {
                bound
            };
            return Ok(format!("http://{shown}"));
        };
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            bail!(
                "HONGBAO_PUBLIC_URL must begin with http:// or https:// and a host, and is `{url}`"
            );
        }
        if let Err(error) = origin::check_url(url) {
            bail!(
                "HONGBAO_PUBLIC_URL `{url}`: {error}; a host or a path beyond ASCII is to be \
                 written as xn--… or %XX"
            );
        }
        Ok(url.trim_end_matches('/').to_owned())
    }
}

/// The address under which others on the local network reach this machine. Asks the kernel
/// which way a packet to a documentation address would go; none is sent.
#[must_use]
pub fn lan_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}
