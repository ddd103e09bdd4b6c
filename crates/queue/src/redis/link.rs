//! A connection to one Redis or one cluster that always answers within a bounded time, and that
//! is made anew when it no longer serves.
//!
//! It knows nothing of what its commands mean.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use redis::{
    Client, Cmd, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike as _, ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterConfig,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo},
};
use tokio::time::Instant;

use super::{
    CONNECT_TIMEOUT,
    target::{OpenError, Target},
};

/// After so many failures in a row the connection is made anew: its peer may be stopped,
/// demoted or gone where an address no longer leads.
const FAILURES_MAX: u32 = 3;
/// How long a connection may take to prove itself before it is given up.
const TRIED_FOR: Duration = Duration::from_secs(3);

/// A Lua script that a server runs as one step.
pub struct Script {
    source: &'static str,
    hash: String,
}

impl Script {
    /// The script of this source.
    #[must_use]
    pub fn new(source: &'static str) -> Self {
        let hash = redis::Script::new(source).get_hash().to_owned();
        Self { source, hash }
    }
}

/// A call to Redis failed. What it should have done may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Redis said so, or could not be reached.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// There was no answer in time.
    #[error("Redis did not answer within {0:?}")]
    Late(Duration),
}

/// See the module.
pub struct Link {
    target: Target,
    current: Mutex<Current>,
    /// How long a call may take.
    call_timeout: Duration,
    /// The metric that counts the commands sent.
    calls: &'static str,
}

/// The connection in use, and how it does.
struct Current {
    connection: Connection,
    /// Counts the connections.
    number: u64,
    made_at: Instant,
    failures: u32,
}

#[derive(Clone)]
enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Begins to connect in the background; commands wait for it.
    fn begin(target: &Target, call_timeout: Duration) -> Result<Self, RedisError> {
        Ok(match target {
            Target::Single(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(call_timeout))
                    // The next command tries again; a waiting one is to fail soon.
                    .set_number_of_retries(0);
                let client = Client::clone(client);
                Self::Single(ConnectionManager::new_lazy_with_config(client, config)?)
            }
            Target::Cluster(client) => {
                let config = ClusterConfig::new();
                Self::Cluster(client.get_pending_async_connection_with_config(config))
            }
        })
    }

    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }?
        .extract_error()
    }

    async fn ping(&mut self) -> Result<Value, RedisError> {
        let ping = redis::cmd("PING");
        match self {
            Self::Single(connection) => connection.req_packed_command(&ping).await,
            // A cluster of which a shard fails over serves the others.
            Self::Cluster(connection) => {
                let policy = Some(ResponsePolicy::OneSucceeded);
                let nodes = (MultipleNodeRoutingInfo::AllMasters, policy);
                connection
                    .route_command(ping, RoutingInfo::MultiNode(nodes))
                    .await
            }
        }
    }
}

impl Link {
    /// A link to the Redis at `url`, which need not be there yet: calls fail until it is, and
    /// each within `call_timeout`. `calls` names the counter of the commands sent. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn open(url: &str, call_timeout: Duration, calls: &'static str) -> Result<Self, OpenError> {
        let target = Target::parse(url, call_timeout)?;
        let current = Current {
            connection: Connection::begin(&target, call_timeout)?,
            number: 1,
            made_at: Instant::now(),
            failures: 0,
        };
        Ok(Self {
            target,
            current: Mutex::new(current),
            call_timeout,
            calls,
        })
    }

    /// Whether it leads to a cluster, where one command's keys must be in one slot.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }

    /// Whether Redis answers; of a cluster, any of its masters.
    ///
    /// # Errors
    /// When it does not within the call's time.
    pub async fn ping(&self) -> Result<(), LinkError> {
        self.count("ping");
        self.bounded(async |mut connection| connection.ping().await)
            .await?;
        Ok(())
    }

    /// What the server says about `section` of itself; of a cluster, what each master says.
    ///
    /// # Errors
    /// When one does not answer within the call's time.
    pub async fn info(&self, section: &str) -> Result<Vec<String>, LinkError> {
        self.count("info");
        let mut info = redis::cmd("INFO");
        info.arg(section);
        let said = self
            .bounded(async |mut connection| match &mut connection {
                Connection::Single(connection) => connection.req_packed_command(&info).await,
                Connection::Cluster(connection) => {
                    let masters = (MultipleNodeRoutingInfo::AllMasters, None);
                    connection
                        .route_command(info, RoutingInfo::MultiNode(masters))
                        .await
                }
            })
            .await?;
        match said {
            // By the address of each.
            Value::Map(said) => {
                let said = said.into_iter();
                said.map(|(_, one)| Ok(redis::from_redis_value(one).map_err(RedisError::from)?))
                    .collect()
            }
            one => Ok(vec![
                redis::from_redis_value(one).map_err(RedisError::from)?,
            ]),
        }
    }

    /// Runs `command`, which `call` stands for in the metrics.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub async fn command(&self, call: &'static str, command: &Cmd) -> Result<Value, LinkError> {
        self.count(call);
        self.bounded(async |mut connection| connection.send(command).await)
            .await
    }

    /// Runs `script`, which `call` stands for in the metrics. A server that has not seen it yet,
    /// or has forgotten it, gets its source.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub async fn script(
        &self,
        call: &'static str,
        script: &Script,
        keys: &[&str],
        args: &[Bytes],
    ) -> Result<Value, LinkError> {
        let command = |verb: &str, what: &str| {
            let mut command = redis::cmd(verb);
            command.arg(what).arg(keys.len()).arg(keys);
            for arg in args {
                command.arg(arg.as_ref());
            }
            command
        };
        self.bounded(async |mut connection| {
            self.count(call);
            let known = connection.send(&command("EVALSHA", &script.hash)).await;
            match known {
                Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                    self.count(call);
                    connection.send(&command("EVAL", script.source)).await
                }
                ended => ended,
            }
        })
        .await
    }

    fn count(&self, call: &'static str) {
        metrics::counter!(self.calls, "backend" => "redis", "call" => call).increment(1);
    }

    /// Runs `call` within its time, and notes how the connection did.
    async fn bounded<F>(&self, call: impl FnOnce(Connection) -> F) -> Result<Value, LinkError>
    where
        F: Future<Output = Result<Value, RedisError>>,
    {
        let (connection, number) = {
            let current = self.current();
            (current.connection.clone(), current.number)
        };
        let result = match tokio::time::timeout(self.call_timeout, call(connection)).await {
            Ok(result) => result.map_err(LinkError::from),
            Err(_) => Err(LinkError::Late(self.call_timeout)),
        };
        if result.is_err() {
            metrics::counter!("hongbao_redis_errors_total").increment(1);
        }
        self.note(number, result.is_ok());
        result
    }

    /// Notes whether connection `number` served, and replaces it when it serves no longer.
    fn note(&self, number: u64, served: bool) {
        let mut current = self.current();
        if current.number != number {
            return;
        }
        if served {
            current.failures = 0;
            return;
        }
        current.failures = current.failures.saturating_add(1);
        if current.failures < FAILURES_MAX || current.made_at.elapsed() < TRIED_FOR {
            return;
        }
        match Connection::begin(&self.target, self.call_timeout) {
            Ok(connection) => {
                *current = Current {
                    connection,
                    number: number + 1,
                    made_at: Instant::now(),
                    failures: 0,
                };
            }
            Err(error) => tracing::warn!(%error, "no new connection to Redis can be begun"),
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // It is replaced as a whole, or a number in it is changed.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
