//! What the services of a process share, and each service made from it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use aws_lc_rs::hmac;
use eventlog::{AccessLog, AccessLogOptions, sls::Intake};
use ledger::{Ledger, NodeId};
use queue::Queue;
use rules::{Clock, Timestamp};
use services::{
    account::{
        self, Account,
        admission::{Gate, SharedGate},
        asking::{Admission, Asked, Verifier, WhenDown},
        codes::Codes,
        gates::Gates,
        registered::Registered,
        remote::RemoteAccount,
        token::Tokens,
    },
    directory::{Announcer, Directory, Reader},
    http::{
        credentials::sha256,
        health::Readiness,
        origin::OriginRules,
        rate_limit::{RateLimit, RateLimiter},
    },
    monitor::{self, Monitor},
    random::{Random, SystemRandom},
    redpacket::{self, Commits, Redpacket},
    task,
};
use tokio_util::sync::CancellationToken;

use super::{
    backends::{self, Opened},
    plan::Plan,
    wiring::ping,
};
use crate::{
    config::{AccountDown, Identity, QueueAt, Settings},
    secrets::Secrets,
};

/// Misses logged singly each second, when nothing else is said.
const LOGGED_MISSES_PER_SECOND: u32 = 200;
/// Logins a minute and address, when nothing else is said.
const LOGINS_PER_MINUTE: u32 = 120;
/// How long the account service may say no before it counts as away: longer than a replica says so
/// that drains, which the balancer goes on asking until it has noticed. All of redpacket hear of it
/// at once; were they not ready for that, nobody would be.
const ACCOUNT_AWAY_AFTER: Duration = Duration::from_secs(5);
/// How long a monitor leads that is alone on its ledger: nobody waits to take over.
const LEASE_ALONE: Duration = Duration::from_secs(600);
/// How long one of several leads without renewing: how long a dead leader is waited for.
const LEASE_OF_SEVERAL: Duration = Duration::from_secs(5);

/// The time by which grabs are judged, so that every line of the log is dated alike.
struct LedgerTime(Arc<dyn Ledger>);

impl Clock for LedgerTime {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// What the services of a process share.
pub(super) struct Shared<'a> {
    plan: &'a Plan,
    settings: &'a Settings,
    secrets: &'a Secrets,
    ledger: Arc<dyn Ledger>,
    queue: Arc<dyn Queue>,
    random: Arc<dyn Random>,
    pub(super) node: NodeId,
    directory: Arc<Directory>,
    pub(super) registered: Arc<Registered>,
    gates: Gates,
    tokens: Arc<Tokens>,
    origins: OriginRules,
}

impl<'a> Shared<'a> {
    /// Opens the queue and reads what has to be known at once.
    pub(super) async fn open(
        plan: &'a Plan,
        settings: &'a Settings,
        secrets: &'a Secrets,
        opened: &Opened,
        public_url: &str,
    ) -> anyhow::Result<(Self, Announcer, Reader)> {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let ledger = opened.ledger();
        let node = NodeId(u64::from_le_bytes(drawn(&*random)) >> 1);
        let (directory, announcer, reader) = Directory::new(ledger.clone());
        let registered = Arc::new(Registered::default());
        if plan.role.is_account() {
            registered.read(&*ledger).await?;
        }
        let coin_key = coin_key(&secrets.token_secret);
        let attempts = match plan.role.is_account() {
            true => backends::attempts(plan, opened)?,
            false => None,
        };
        let gates = match attempts {
            None => Gates::Own(Arc::new(Gate::new(coin_key, registered.clone()))),
            Some(attempts) => {
                let gate = SharedGate::new(coin_key, registered.clone(), attempts);
                Gates::Shared(Arc::new(gate))
            }
        };
        let shared = Self {
            plan,
            settings,
            secrets,
            ledger,
            queue: backends::queue(&plan.queue)?,
            random,
            node,
            directory,
            registered,
            gates,
            tokens: Arc::new(tokens(plan, secrets)?),
            origins: OriginRules::new(Some(public_url)),
        };
        Ok((shared, announcer, reader))
    }

    /// Who grabs ask whether a user may try, and what is to be watched of it.
    pub(super) fn admission(
        &self,
        account: Option<&Arc<Account>>,
    ) -> anyhow::Result<(Admission, Option<Arc<dyn Verifier>>)> {
        let when_down = match self.settings.account_down() {
            AccountDown::Refuse => WhenDown::Refuse,
            AccountDown::Admit => WhenDown::Admit,
        };
        let verifier: Arc<dyn Verifier> = match (&self.plan.account, &self.gates, account) {
            (Some(url), ..) => {
                let key = self.secrets.service_key.as_deref().unwrap_or_default();
                let remote = RemoteAccount::new(url, key);
                Arc::new(remote.context("HONGBAO_ACCOUNT_URL or ACCOUNT_CHECK_IP")?)
            }
            (None, Gates::Shared(_), Some(account)) => account.clone(),
            (None, Gates::Own(gate), _) => return Ok((Admission::Here(gate.clone()), None)),
            (None, Gates::Shared(_), None) => {
                anyhow::bail!("the attempts are shared by an account service that is not here")
            }
        };
        let asked = Asked::start(verifier.clone(), when_down);
        // Where grabs go on without it, the balancer need not know that it is away.
        let watched = (when_down == WhenDown::Refuse).then_some(verifier);
        Ok((Admission::Asked(asked), watched))
    }

    /// Where outcomes are logged, and shipped through `intake`.
    pub(super) fn access_log(&self, intake: Option<Intake>) -> anyhow::Result<AccessLog> {
        let path = self.settings.access_log();
        let misses = self.settings.logged_misses_per_second;
        let options = AccessLogOptions {
            misses_per_second_max: misses.unwrap_or(LOGGED_MISSES_PER_SECOND),
            path: path.clone(),
            ..AccessLogOptions::default()
        };
        let time = Arc::new(LedgerTime(self.ledger.clone()));
        AccessLog::open_shipped(options, self.node.0, time, intake)
            .with_context(|| format!("cannot write the access log {}", path.display()))
    }

    /// The service.
    pub(super) fn redpacket(
        &self,
        admission: Admission,
        access_log: Arc<AccessLog>,
    ) -> Arc<Redpacket> {
        Redpacket::start(redpacket::Parts {
            ledger: self.ledger.clone(),
            queue: self.queue.clone(),
            directory: self.directory.clone(),
            admission,
            tokens: self.tokens.clone(),
            origins: self.origins.clone(),
            access_log,
            random: self.random.clone(),
            node: self.node,
            lease: self.plan.lease,
            commits: match self.plan.shares_ledger() {
                true => Commits::TwoGathered,
                false => Commits::One,
            },
            streams_max: self.settings.connections_max() / 4 * 3,
        })
    }

    /// The service.
    pub(super) fn account(&self) -> Arc<Account> {
        Account::new(account::Parts {
            ledger: self.ledger.clone(),
            directory: self.directory.clone(),
            gates: self.gates.clone(),
            registered: self.registered.clone(),
            tokens: self.tokens.clone(),
            codes: Codes::new(self.secrets.token_secret.as_bytes()),
            registered_only: registered_only(self.settings),
            origins: self.origins.clone(),
            limiter: login_limiter(self.settings),
            limit_loopback: self.settings.limit_loopback.unwrap_or(false),
        })
    }

    /// The service.
    pub(super) fn monitor(
        &self,
        announcer: Announcer,
        public_url: &str,
    ) -> anyhow::Result<Arc<Monitor>> {
        let tools = monitor::Tools {
            ledger: self.ledger.clone(),
            queue: self.queue.clone(),
            announcer,
            random: self.random.clone(),
            node: self.node,
            registered: self.plan.role.is_account().then(|| self.registered.clone()),
        };
        let monitor = Monitor::new(tools, self.monitor_settings(public_url));
        if let Some(sls) = &self.plan.sls {
            monitor.reads_log_statistics_of(backends::log_statistics(sls)?);
        }
        Ok(monitor)
    }

    fn monitor_settings(&self, public_url: &str) -> monitor::Settings {
        let (plan, settings) = (self.plan, self.settings);
        let api_key = self.secrets.organiser_key.as_deref();
        let api_key = api_key.map(|key| sha256(key.as_bytes()));
        let shared = plan.shares_ledger();
        monitor::Settings {
            public_url: public_url.to_owned(),
            origin: self.origins.clone(),
            api_key_sha256: api_key,
            replicas: plan.replicas,
            limit_loopback: settings.limit_loopback.unwrap_or(false),
            codes: Codes::new(self.secrets.token_secret.as_bytes()),
            registered_only: registered_only(settings),
            lease: if shared {
                LEASE_OF_SEVERAL
            } else {
                LEASE_ALONE
            },
            allow_weak_durability: settings.allow_weak_durability.unwrap_or(false),
            setup_token: shared.then(|| setup_token(&self.secrets.token_secret)),
        }
    }

    /// Keeps `readiness` told of every backend, until `stop`.
    pub(super) fn watch(
        &self,
        readiness: &Arc<Readiness>,
        account: Option<Arc<dyn Verifier>>,
        stop: &CancellationToken,
    ) {
        let ledger = self.ledger.clone();
        let ledger = move || ping(ledger.clone());
        task::critical(
            "readiness",
            readiness.clone().watch("ledger", ledger, stop.clone()),
        );
        if self.watches_queue() {
            let queue = self.queue.clone();
            let queue = move || {
                let queue = queue.clone();
                async move { queue.ping().await }
            };
            task::critical(
                "readiness",
                readiness.clone().watch("queue", queue, stop.clone()),
            );
        }
        if self.watches_attempts() {
            let gates = self.gates.clone();
            let gates = move || {
                let gates = gates.clone();
                async move { gates.ping().await }
            };
            task::critical(
                "readiness",
                readiness.clone().watch("attempts", gates, stop.clone()),
            );
        }
        if let Some(account) = account {
            let account = move || {
                let account = account.clone();
                async move { account.ping().await }
            };
            let watch = readiness.clone().watch_patiently(
                "account",
                ACCOUNT_AWAY_AFTER,
                account,
                stop.clone(),
            );
            task::critical("readiness", watch);
        }
    }

    fn watches_queue(&self) -> bool {
        let role = self.plan.role;
        let uses_it = role.is_redpacket() || role.is_monitor();
        uses_it && self.plan.queue != QueueAt::Memory
    }

    fn watches_attempts(&self) -> bool {
        matches!(self.gates, Gates::Shared(_))
    }

    /// What this process waits for before it is ready.
    pub(super) fn readiness(&self, account: bool) -> Arc<Readiness> {
        let parts = [
            (true, "ledger"),
            (self.watches_queue(), "queue"),
            (self.watches_attempts(), "attempts"),
            (account, "account"),
        ];
        let parts = parts.iter().filter(|(watched, _)| *watched);
        Readiness::expecting(&parts.map(|(_, part)| *part).collect::<Vec<_>>())
    }
}

fn registered_only(settings: &Settings) -> bool {
    settings.identity == Some(Identity::Registered)
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

/// What the first organiser is made with, where several monitors print it: the same on each.
fn setup_token(token_secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token_secret.as_bytes());
    hex::encode(hmac::sign(&key, b"hongbao setup token 1"))
}

fn tokens(plan: &Plan, secrets: &Secrets) -> anyhow::Result<Tokens> {
    Tokens::new(secrets.token_secret.as_bytes(), plan.key_set.as_deref())
        .context("HONGBAO_TOKEN_SECRET or HONGBAO_TOKEN_KEYS_FILE")
}

fn login_limiter(settings: &Settings) -> Option<Arc<RateLimiter>> {
    let per_minute = settings.logins_per_minute.unwrap_or(LOGINS_PER_MINUTE);
    let per_minute = std::num::NonZeroU32::new(per_minute)?;
    let limit_loopback = settings.limit_loopback.unwrap_or(false);
    Some(RateLimiter::new(RateLimit {
        per_minute,
        burst: per_minute,
        limit_loopback,
    }))
}
