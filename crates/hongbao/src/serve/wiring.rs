//! The parts of a process that runs all four services, and how they hang together.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use aws_lc_rs::{digest, hmac};
use eventlog::{AccessLog, AccessLogOptions};
use ledger::{Ledger, LedgerError, NodeId, SqliteLedger, SystemClock};
use metrics_exporter_prometheus::PrometheusHandle;
use queue::{Queue, memory::MemoryQueue};
use services::{
    account::{
        self, Account, admission::Gate, asking::Admission, codes::Codes, gates::Gates,
        registered::Registered, token::Tokens,
    },
    directory::{Announcer, Directory, Reader},
    http::{
        health::Readiness,
        origin::OriginRules,
        rate_limit::{RateLimit, RateLimiter},
    },
    monitor::{self, Monitor},
    random::{Random, SystemRandom},
    redpacket::{self, Redpacket, counting::Counting},
    task,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Identity, Settings},
    secrets::Secrets,
    telemetry,
};

/// Logins a minute and address, when nothing else is said.
const LOGINS_PER_MINUTE: u32 = 120;
/// Misses logged singly each second, when nothing else is said.
const LOGGED_MISSES_PER_SECOND: u32 = 200;
/// How long a monitor leads that is alone on its ledger: nobody waits to take over.
const LEASE_ALONE: Duration = Duration::from_secs(600);
/// How long the background tasks may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A process that runs all four services.
pub(super) struct Node {
    pub(super) ledger: SqliteLedger,
    pub(super) account: Arc<Account>,
    pub(super) redpacket: Arc<Redpacket>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) metrics: PrometheusHandle,
    /// Drawn once per process, for request ids.
    pub(super) id: u64,
    background: CancellationToken,
    scheduling: JoinHandle<()>,
    counting: JoinHandle<()>,
}

/// What the services share.
struct Shared {
    sqlite: SqliteLedger,
    ledger: Arc<dyn Ledger>,
    queue: Arc<dyn Queue>,
    random: Arc<dyn Random>,
    node: NodeId,
    access_log: Arc<AccessLog>,
    directory: Arc<Directory>,
    registered: Arc<Registered>,
    gate: Arc<Gate>,
    tokens: Arc<Tokens>,
    origins: OriginRules,
}

impl Shared {
    async fn open(
        settings: &Settings,
        secrets: &Secrets,
        public_url: &str,
    ) -> anyhow::Result<(Self, Announcer, Reader)> {
        let sqlite = SqliteLedger::open(&settings.sqlite_path()?, Arc::new(SystemClock)).await?;
        let ledger: Arc<dyn Ledger> = Arc::new(sqlite.clone());
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let node = NodeId(u64::from_le_bytes(drawn(&*random)) >> 1);
        let (directory, announcer, reader) = Directory::new(ledger.clone());
        let registered = Arc::new(Registered::default());
        registered.read(&*ledger).await?;
        let coin_key = coin_key(&secrets.token_secret);
        let shared = Self {
            sqlite,
            ledger,
            queue: Arc::new(MemoryQueue::new()),
            random,
            node,
            access_log: Arc::new(access_log(settings, node)?),
            directory,
            gate: Arc::new(Gate::new(coin_key, registered.clone())),
            registered,
            tokens: Arc::new(tokens(settings, secrets)?),
            origins: OriginRules::new(Some(public_url)),
        };
        Ok((shared, announcer, reader))
    }

    fn redpacket(&self) -> Arc<Redpacket> {
        Redpacket::start(redpacket::Parts {
            ledger: self.ledger.clone(),
            queue: self.queue.clone(),
            directory: self.directory.clone(),
            admission: Admission::Here(self.gate.clone()),
            tokens: self.tokens.clone(),
            origins: self.origins.clone(),
            access_log: self.access_log.clone(),
            random: self.random.clone(),
            node: self.node,
        })
    }

    fn account(&self, settings: &Settings, secrets: &Secrets) -> Arc<Account> {
        Account::new(account::Parts {
            ledger: self.ledger.clone(),
            directory: self.directory.clone(),
            gates: Gates::Own(self.gate.clone()),
            registered: self.registered.clone(),
            tokens: self.tokens.clone(),
            codes: Codes::new(secrets.token_secret.as_bytes()),
            registered_only: registered_only(settings),
            origins: self.origins.clone(),
            limiter: login_limiter(settings),
            limit_loopback: settings.limit_loopback.unwrap_or(false),
        })
    }

    fn monitor(&self, announcer: Announcer, settings: monitor::Settings) -> Arc<Monitor> {
        let tools = monitor::Tools {
            ledger: self.ledger.clone(),
            queue: self.queue.clone(),
            announcer,
            random: self.random.clone(),
            node: self.node,
        };
        Monitor::new(tools, settings)
    }
}

impl Node {
    /// Opens the ledger, fills the queue and starts what runs in the background. When this
    /// returns, requests can be answered.
    pub(super) async fn start(
        settings: &Settings,
        secrets: &Secrets,
        public_url: &str,
    ) -> anyhow::Result<Self> {
        let metrics = telemetry::metrics()?;
        let (shared, announcer, mut reader) = Shared::open(settings, secrets, public_url).await?;
        let origins = shared.origins.clone();
        let redpacket = shared.redpacket();
        let account = shared.account(settings, secrets);
        let told = monitor_settings(settings, secrets, public_url, origins);
        let monitor = shared.monitor(announcer, told);

        reader.follow(redpacket.clone());
        reader.follow(monitor.follower());
        reader.read().await.context("cannot read the campaigns")?;
        task::critical("directory", reader.run());
        monitor.refill().await?;

        let background = CancellationToken::new();
        let (saver, counting) = Counting::begin(redpacket.clone()).await?;
        monitor.reads_counters_of(Arc::new(saver));
        let readiness = Readiness::expecting(&["ledger"]);
        readiness.report(
            "ledger",
            ping(shared.ledger.clone())
                .await
                .map_err(|error| error.to_string()),
        );
        let ledger = shared.ledger.clone();
        tokio::spawn(readiness.clone().watch(
            "ledger",
            move || ping(ledger.clone()),
            background.clone(),
        ));
        tokio::spawn(shared.registered.follow(shared.ledger, background.clone()));
        Ok(Self {
            scheduling: tokio::spawn(task::guarded(
                "monitor",
                monitor.clone().run(background.clone()),
            )),
            counting: tokio::spawn(task::guarded("counting", counting.run(background.clone()))),
            ledger: shared.sqlite,
            account,
            redpacket,
            monitor,
            readiness,
            access_log: shared.access_log,
            metrics,
            id: shared.node.0,
            background,
        })
    }

    /// Stops what runs in the background, in the order in which one needs the other. Called when
    /// no request is under way.
    pub(super) async fn stop(self) {
        self.background.cancel();
        let ended = async {
            // An error would be a panic, which has ended the process already.
            let _panicked = self.scheduling.await.is_err();
            self.redpacket.stop().await;
            let _panicked = self.counting.await.is_err();
        };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!("the background did not end in time; nothing is lost by that");
        }
        self.ledger.close().await;
    }
}

fn registered_only(settings: &Settings) -> bool {
    settings.identity == Some(Identity::Registered)
}

fn access_log(settings: &Settings, node: NodeId) -> anyhow::Result<AccessLog> {
    let path = settings.access_log();
    let misses = settings.logged_misses_per_second;
    let options = AccessLogOptions {
        misses_per_second_max: misses.unwrap_or(LOGGED_MISSES_PER_SECOND),
        path: path.clone(),
        ..AccessLogOptions::default()
    };
    AccessLog::open(options, node.0, Arc::new(SystemClock))
        .with_context(|| format!("cannot write the access log {}", path.display()))
}

async fn ping(ledger: Arc<dyn Ledger>) -> Result<(), LedgerError> {
    ledger.ping().await
}

fn drawn<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// Keys the coin of the random discard: the same on every node, and nobody's to guess.
fn coin_key(token_secret: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token_secret.as_bytes());
    let tag = hmac::sign(&key, b"hongbao discard coin 1");
    tag.as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes")
}

fn tokens(settings: &Settings, secrets: &Secrets) -> anyhow::Result<Tokens> {
    let key_set = settings.token_keys_file.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the key set {}", path.display()))
    });
    let key_set = key_set.transpose()?;
    Tokens::new(secrets.token_secret.as_bytes(), key_set.as_deref())
        .context("HONGBAO_TOKEN_SECRET or HONGBAO_TOKEN_KEYS_FILE")
}

fn login_limiter(settings: &Settings) -> Option<Arc<RateLimiter>> {
    let per_minute = settings.logins_per_minute.unwrap_or(LOGINS_PER_MINUTE);
    let burst = std::num::NonZeroU32::new(per_minute)?;
    let per_second = std::num::NonZeroU32::new(per_minute.div_ceil(60))?;
    let limit_loopback = settings.limit_loopback.unwrap_or(false);
    Some(RateLimiter::new(RateLimit {
        per_second,
        burst,
        limit_loopback,
    }))
}

fn monitor_settings(
    settings: &Settings,
    secrets: &Secrets,
    public_url: &str,
    origin: OriginRules,
) -> monitor::Settings {
    let api_key = digest::digest(&digest::SHA256, secrets.organiser_key.as_bytes());
    monitor::Settings {
        public_url: public_url.to_owned(),
        origin,
        api_key_sha256: Some(api_key.as_ref().try_into().expect("SHA-256 gives 32 bytes")),
        replicas: 1,
        limit_loopback: settings.limit_loopback.unwrap_or(false),
        codes: Codes::new(secrets.token_secret.as_bytes()),
        registered_only: registered_only(settings),
        lease: LEASE_ALONE,
    }
}
