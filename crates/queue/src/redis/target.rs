//! Which Redis a URL means.

use std::time::Duration;

use redis::{Client, RedisError, cluster::ClusterClient, io::tcp::TcpSettings};

use super::{CONNECT_TIMEOUT, SILENCE_MAX};

/// How often a cluster's call is sent on, to where a slot has moved, or again when it was not
/// served there; all within the call's time.
const CLUSTER_RETRIES: u32 = 8;
/// The pauses between them, in milliseconds.
const CLUSTER_PAUSES_MS: (u64, u64) = (10, 200);

/// A Redis as its URL names it, without a connection.
pub(super) enum Target {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// Why there can be no connection by a URL. It never repeats the URL: that may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is of another form.
    #[error(
        "a Redis URL is `redis://host:port/db` or `redis+cluster://host:port,host:port`, \
         and `rediss` instead of `redis` for TLS"
    )]
    Form,
    /// A part of it cannot be used.
    #[error("the Redis URL cannot be used: {0}")]
    Refused(#[from] RedisError),
}

/// Whether `url` can be one of Redis; nothing is connected.
///
/// # Errors
/// Why it cannot.
pub fn understands(url: &str) -> Result<(), OpenError> {
    Target::parse(url, CONNECT_TIMEOUT).map(drop)
}

impl Target {
    pub(super) fn parse(url: &str, call_timeout: Duration) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once("://").ok_or(OpenError::Form)?;
        let (plain, cluster) = match scheme {
            "redis" | "rediss" => (scheme, false),
            "redis+cluster" => ("redis", true),
            "rediss+cluster" => ("rediss", true),
            _ => return Err(OpenError::Form),
        };
        if plain == "rediss" {
            // A process chooses its cryptography once; an error says that it has.
            let _chosen = rustls::crypto::aws_lc_rs::default_provider()
                .install_default()
                .is_err();
        }
        if cluster {
            Self::cluster(plain, rest, call_timeout)
        } else {
            let client = Client::open(url)?;
            let info = client.get_connection_info().clone();
            let client = Client::open(info.set_tcp_settings(tcp()))?;
            Ok(Self::Single(Box::new(client)))
        }
    }

    /// The nodes of a cluster share user and password, which stand before the first.
    fn cluster(plain: &str, rest: &str, call_timeout: Duration) -> Result<Self, OpenError> {
        let rest = rest.trim_end_matches('/');
        let (login, nodes) = match rest.rsplit_once('@') {
            Some((login, nodes)) => (format!("{login}@"), nodes),
            None => (String::new(), rest),
        };
        let nodes = nodes
            .split(',')
            .map(|node| format!("{plain}://{login}{node}"));
        let client = ClusterClient::builder(nodes)
            .connection_timeout(CONNECT_TIMEOUT)
            // As long as the whole call: after a lost reply nothing is sent twice.
            .response_timeout(call_timeout)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(CLUSTER_PAUSES_MS.0)
            .max_retry_wait(CLUSTER_PAUSES_MS.1)
            .tcp_settings(tcp())
            .build()?;
        Ok(Self::Cluster(Box::new(client)))
    }
}

/// A peer that is gone without a word is noticed although nothing is sent to it, or what is sent
/// is never acknowledged.
fn tcp() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE_MAX);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, OpenError> {
        Target::parse(url, Duration::from_secs(1))
    }

    #[test]
    fn urls_say_where_and_never_show_in_errors() {
        for url in [
            "redis://127.0.0.1:6379",
            "redis://:secret@host:6379/3",
            "rediss://user:secret@host:6379",
        ] {
            assert!(matches!(parse(url), Ok(Target::Single(_))), "{url}");
        }
        for url in [
            "redis+cluster://a:1,b:2,c:3",
            "redis+cluster://user:sec,ret@a:1,b:2/",
            "rediss+cluster://a:1",
        ] {
            let parsed = parse(url);
            assert!(matches!(parsed, Ok(Target::Cluster(_))), "{url}");
        }
        for url in [
            "",
            "redis",
            "mns://secret",
            "redis+cluster://",
            "redis://a:secret",
        ] {
            let error = parse(url).err().expect(url).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
