//! Opening the ledger, the queue, what account replicas remember together, and the log service.

use std::{path::PathBuf, sync::Arc, time::Duration};

use aliyun::sls::Signature;
use anyhow::Context as _;
use eventlog::sls::{Intake, Shipper, ShipperOptions, statistics};
use ledger::{Ledger, OpenError, ServerLedger, SqliteLedger, SystemClock};
use queue::{
    MemoryQueue, MnsQueue, Queue, RedisQueue,
    mns::{Credentials, Options},
};
use services::account::attempts::{Attempts, LedgerAttempts, RedisAttempts};

use super::plan::Plan;
use crate::config::{AccessKey, AttemptsAt, Database, MnsAt, QueueAt, SlsAt};

/// A ledger that is open, as what it is.
#[derive(Clone)]
pub(crate) enum Opened {
    /// In a file.
    Sqlite(SqliteLedger),
    /// On a server.
    Server(ServerLedger),
}

impl Opened {
    /// Opens the ledger at `database`, made or migrated where that is needed.
    ///
    /// # Errors
    /// Why it cannot be opened; a password is never part of it.
    pub(crate) async fn open(database: &Database) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock);
        match database {
            Database::Sqlite(path) => Ok(Self::Sqlite(SqliteLedger::open(path, clock).await?)),
            Database::Server(url) => {
                let opened: Result<_, OpenError> = ServerLedger::open(url, clock).await;
                let opened = opened.with_context(|| format!("cannot use the ledger {database}"))?;
                Ok(Self::Server(opened))
            }
        }
    }

    /// The ledger, whatever it is.
    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            Self::Sqlite(ledger) => Arc::new(ledger.clone()),
            Self::Server(ledger) => Arc::new(ledger.clone()),
        }
    }

    /// Returns when the ledger has stopped for good; only one in a file does.
    pub(crate) async fn stopped(&self) {
        match self {
            Self::Sqlite(ledger) => {
                let mut stopped = ledger.stopped();
                if stopped.wait_for(Option::is_some).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Self::Server(_) => std::future::pending().await,
        }
    }

    /// Closes in an orderly way.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(ledger) => ledger.close().await,
            Self::Server(ledger) => ledger.close().await,
        }
    }
}

/// The queue at `place`. One on a server need not answer yet.
///
/// # Errors
/// When its URL cannot be used.
pub(crate) fn queue(place: &QueueAt) -> anyhow::Result<Arc<dyn Queue>> {
    Ok(match place {
        QueueAt::Memory => Arc::new(MemoryQueue::new()),
        QueueAt::Redis(url) => {
            let opened = RedisQueue::open(url);
            Arc::new(opened.with_context(|| format!("HONGBAO_QUEUE_URL {place}"))?)
        }
        QueueAt::Mns(mns) => {
            let opened = open_mns(mns);
            Arc::new(opened.with_context(|| format!("MNS_URL or HONGBAO_QUEUE_URL {place}"))?)
        }
    })
}

fn open_mns(mns: &MnsAt) -> anyhow::Result<MnsQueue> {
    let options = Options {
        visibility: mns.visibility,
        ..Options::default()
    };
    let opened = MnsQueue::open(
        &mns.url,
        credentials(&mns.key),
        Arc::new(SystemClock),
        options,
    )?;
    Ok(opened)
}

fn credentials(key: &AccessKey) -> Credentials {
    let credentials = Credentials::new(key.id.clone(), key.secret.clone());
    match &key.token {
        Some(token) => credentials.with_security_token(token.clone()),
        None => credentials,
    }
}

fn signature(sls: &SlsAt) -> Signature {
    match &sls.region {
        Some(region) => Signature::V4 {
            region: region.clone(),
        },
        None => Signature::V1,
    }
}

/// What ships the access log to `sls`, and the end of it that the log writes into. What is not
/// delivered yet is kept in `folder`. The service need not answer yet.
///
/// # Errors
/// When the endpoint or the folder cannot be used.
pub(crate) async fn shipper(sls: &SlsAt, folder: PathBuf) -> anyhow::Result<(Shipper, Intake)> {
    let mut options = ShipperOptions::new(
        &sls.endpoint,
        &sls.project,
        &sls.logstore,
        credentials(&sls.key),
        folder,
    );
    options.signature = signature(sls);
    options.source = host_name();
    // It makes a runtime of its own, which must not be dropped within ours when it fails.
    let started =
        tokio::task::spawn_blocking(move || Shipper::start(options, Arc::new(SystemClock)));
    let started = started.await.context("the shipper's start has panicked")?;
    started.with_context(|| format!("the log to SLS, {sls}"))
}

/// What reads the statistics of `sls` back. It need not answer yet.
///
/// # Errors
/// When the endpoint cannot be used.
pub(crate) fn log_statistics(sls: &SlsAt) -> anyhow::Result<statistics::Reader> {
    let opened = statistics::Reader::open(
        &sls.endpoint,
        (&sls.project, &sls.logstore),
        credentials(&sls.key),
        signature(sls),
        Arc::new(SystemClock),
    );
    opened.with_context(|| format!("HONGBAO_SLS_ENDPOINT {sls}"))
}

/// What the log service shows as the lines' source.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// What account replicas remember together; `None`: each process for itself. It need not answer
/// yet.
///
/// # Errors
/// When its URL cannot be used.
pub(crate) fn attempts(plan: &Plan, opened: &Opened) -> anyhow::Result<Option<Arc<dyn Attempts>>> {
    // Alone on its ledger, no other process can be asked who has tried.
    let Opened::Server(ledger) = opened else {
        return Ok(None);
    };
    match &plan.attempts {
        AttemptsAt::Memory => Ok(None),
        AttemptsAt::Ledger => Ok(Some(Arc::new(LedgerAttempts::new(ledger.clone())))),
        AttemptsAt::Redis(url) => {
            let opened = RedisAttempts::open(url);
            let place = &plan.attempts;
            let opened = opened.with_context(|| format!("HONGBAO_ATTEMPTS_URL {place}"))?;
            Ok(Some(Arc::new(opened)))
        }
    }
}

/// Waits for `answer`, but not for ever.
///
/// # Errors
/// When `what` does not answer in time, or says no.
pub(crate) async fn answers<E: std::fmt::Display>(
    what: &str,
    answer: impl Future<Output = Result<(), E>>,
) -> anyhow::Result<()> {
    match tokio::time::timeout(Duration::from_secs(5), answer).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => anyhow::bail!("{what}: {error}"),
        Err(_late) => anyhow::bail!("{what}: no answer within 5 s"),
    }
}
