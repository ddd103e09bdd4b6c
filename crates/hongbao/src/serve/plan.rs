//! What a service is to run on, checked before anything is touched: a refusal here names the
//! setting, and the process exits 78.

use std::time::Duration;

use anyhow::{Context as _, bail};
use services::account::{key_set, remote::RemoteAccount};

use super::{Role, backends::Opened};
use crate::{
    config::{AttemptsAt, Database, QueueAt, Settings, SlsAt},
    secrets::{Found, Needed, Secrets, Told},
};

/// The bounds of how long a grab node holds packets, in seconds: the shortest leaves a grab the time it may take.
const LEASE_SECONDS_MIN: u64 = 6;
const LEASE_SECONDS_MAX: u64 = 600;
/// How many grab nodes share the packets where they can be several and nothing else is said.
const REPLICAS: u32 = 4;

/// What a service is to run on.
pub(crate) struct Plan {
    /// Which services.
    pub(crate) role: Role,
    /// Where the ledger is.
    pub(crate) database: Database,
    /// Where the queue is.
    pub(crate) queue: QueueAt,
    /// Where it is remembered who has tried.
    pub(crate) attempts: AttemptsAt,
    /// Where the account service is, when it is another process.
    pub(crate) account: Option<String>,
    /// A JSON Web Key Set whose tokens are taken, too.
    pub(crate) key_set: Option<String>,
    /// Where the access log is shipped to, and statistics are read back from.
    pub(crate) sls: Option<SlsAt>,
    /// How many grab nodes share the packets.
    pub(crate) replicas: u32,
    /// How long a grab node holds packets.
    pub(crate) lease: Duration,
}

impl Role {
    /// As on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "serve",
            Self::Account => "account",
            Self::Redpacket => "redpacket",
            Self::Monitor => "monitor",
            Self::Webpage => "webpage",
        }
    }

    /// Whether this process answers participants' logins and who may try.
    pub(crate) const fn is_account(self) -> bool {
        matches!(self, Self::All | Self::Account)
    }

    /// Whether this process answers grabs.
    pub(crate) const fn is_redpacket(self) -> bool {
        matches!(self, Self::All | Self::Redpacket)
    }

    /// Whether this process answers organisers.
    pub(crate) const fn is_monitor(self) -> bool {
        matches!(self, Self::All | Self::Monitor)
    }
}

impl Plan {
    /// What `role` is to run on.
    ///
    /// # Errors
    /// The setting that is wrong or missing.
    pub(crate) fn of(role: Role, settings: &Settings) -> anyhow::Result<Self> {
        let database = settings.database()?;
        let (queue, attempts) = (settings.queue()?, settings.attempts(role != Role::All)?);
        let account = settings.account()?.map(str::to_owned);
        if let Some(url) = &account {
            RemoteAccount::new(url, "").context("HONGBAO_ACCOUNT_URL or ACCOUNT_CHECK_IP")?;
        }
        let key_set = key_set(settings)?;
        let name = role.name();
        if role != Role::All {
            if matches!(database, Database::Sqlite(_)) {
                bail!(
                    "`hongbao {name}` is one of several processes, and SQLite is for one: set \
                     HONGBAO_DATABASE_URL to mysql://… or postgres://…, or DB_HOST, DB_NAME, \
                     DB_USER and DB_PASSWD; `hongbao serve` runs all services in one process"
                );
            }
            let uses_queue = role.is_redpacket() || role.is_monitor();
            if uses_queue && queue == QueueAt::Memory {
                bail!(
                    "`hongbao {name}` is one of several processes, and a queue in memory is for \
                     one: set HONGBAO_QUEUE_URL to redis://… or redis+cluster://…, or \
                     MNS_URL, ACCESS_KEY_ID and ACCESS_KEY_SECRET"
                );
            }
            if role.is_account() && attempts == AttemptsAt::Memory {
                bail!(
                    "`hongbao {name}` is one of several processes, which remember together who \
                     has tried: set HONGBAO_ATTEMPTS_URL to ledger:, redis://… or \
                     redis+cluster://…, or leave it out"
                );
            }
            if role.is_redpacket() && account.is_none() {
                bail!(
                    "`hongbao {name}` asks the account service who may try: set \
                     HONGBAO_ACCOUNT_URL to http://HOST:PORT of its inner listener, or \
                     ACCOUNT_CHECK_IP"
                );
            }
        }
        let lease = settings.lease();
        if !(LEASE_SECONDS_MIN..=LEASE_SECONDS_MAX).contains(&lease.as_secs()) {
            bail!(
                "HONGBAO_LEASE_SECONDS must be {LEASE_SECONDS_MIN} to {LEASE_SECONDS_MAX}, and is {}",
                lease.as_secs()
            );
        }
        let uses_log = role.is_redpacket() || role.is_monitor();
        let sls = if uses_log { settings.sls()? } else { None };
        let alone = matches!(database, Database::Sqlite(_));
        let replicas = settings
            .replicas
            .unwrap_or(if alone { 1 } else { REPLICAS });
        if replicas == 0 {
            bail!("HONGBAO_REPLICAS must be at least 1");
        }
        Ok(Self {
            role,
            database,
            queue,
            attempts,
            account,
            key_set,
            sls,
            replicas,
            lease,
        })
    }

    /// Whether other processes may have the ledger, too.
    pub(crate) const fn shares_ledger(&self) -> bool {
        matches!(self.database, Database::Server(_))
    }

    /// What is to be said where other account processes could be, and this one remembers only for
    /// itself who has tried.
    pub(crate) fn remembers_alone(&self) -> Option<&'static str> {
        let others = self.shares_ledger() && self.queue != QueueAt::Memory;
        let alone = others && self.role.is_account() && self.attempts == AttemptsAt::Memory;
        alone.then_some(
            "who has tried is remembered by this process alone, as HONGBAO_ATTEMPTS_URL says: run no \
             other account process beside it",
        )
    }

    /// The secrets that this was told, before anything is touched but, for a process with all
    /// services, its data directory.
    ///
    /// # Errors
    /// When one is told twice or too short, or a file cannot be read or written.
    pub(crate) fn told(&self, settings: &Settings) -> anyhow::Result<Told> {
        match self.role {
            Role::All if self.shares_ledger() => Told::or_kept(settings),
            Role::All => {
                // It makes what is missing, and has all of them.
                Secrets::load(settings)?;
                Ok(Told::default())
            }
            _ => Told::of(settings, self.needed()),
        }
    }

    /// The secrets that this needs: `told`, and what is missing from the data directory of a
    /// process that is all there is, or from the ledger that it shares.
    ///
    /// # Errors
    /// When one is too short, a file cannot be read or written, or the ledger does not answer.
    pub(crate) async fn secrets(
        &self,
        settings: &Settings,
        told: Told,
        opened: &Opened,
    ) -> anyhow::Result<Secrets> {
        match opened {
            Opened::Sqlite(_) => Secrets::load(settings),
            Opened::Server(ledger) => Secrets::shared(told, self.needed(), ledger).await,
        }
    }

    /// The secrets that are there already: told, or kept where [`Self::secrets`] keeps them.
    ///
    /// # Errors
    /// When one cannot be used, a file cannot be read, or the ledger does not answer.
    pub(crate) async fn found(
        &self,
        settings: &Settings,
        opened: Option<&Opened>,
    ) -> anyhow::Result<Found> {
        let dir = (self.role == Role::All).then(|| settings.data_dir());
        let ledger = match opened {
            Some(Opened::Server(ledger)) => Some(ledger),
            _ => None,
        };
        Found::look(settings, self.needed(), dir, ledger).await
    }

    const fn needed(&self) -> Needed {
        Needed {
            service_key: self.role.is_account() || self.role.is_redpacket(),
            organiser_key: self.role.is_monitor(),
        }
    }
}

/// The key set that `settings` name, read and understood.
fn key_set(settings: &Settings) -> anyhow::Result<Option<String>> {
    let Some(path) = &settings.token_keys_file else {
        return Ok(None);
    };
    let of = || format!("HONGBAO_TOKEN_KEYS_FILE {}", path.display());
    let text = std::fs::read_to_string(path).with_context(of)?;
    key_set::check(&text).with_context(of)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Settings {
        Settings {
            database_url: Some("mysql://u:p@h/d".into()),
            queue_url: Some("redis://h".into()),
            account_url: Some("http://account.local:8081".into()),
            inner_listen: Some(([127, 0, 0, 1], 8081).into()),
            ..Settings::default()
        }
    }

    fn refusal(role: Role, settings: &Settings) -> String {
        Plan::of(role, settings)
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn one_process_runs_on_anything_and_one_of_several_on_what_they_share() {
        for role in [Role::All, Role::Account, Role::Redpacket, Role::Monitor] {
            assert_eq!(refusal(role, &shared()), "", "{}", role.name());
        }
        assert_eq!(refusal(Role::All, &Settings::default()), "");
        let sqlite = Settings {
            database_url: None,
            ..shared()
        };
        let memory = Settings {
            queue_url: None,
            ..shared()
        };
        for role in [Role::Account, Role::Redpacket, Role::Monitor] {
            let refused = refusal(role, &sqlite);
            assert!(refused.contains("HONGBAO_DATABASE_URL"), "{refused}");
            assert!(refused.contains("DB_HOST"), "{refused}");
            let refused = refusal(role, &memory);
            let needs_queue = role != Role::Account;
            assert_eq!(
                refused.contains("HONGBAO_QUEUE_URL"),
                needs_queue,
                "{refused}"
            );
        }
        let mixed = [
            Settings {
                queue_url: None,
                ..shared()
            },
            Settings {
                database_url: None,
                ..shared()
            },
        ];
        for settings in mixed {
            assert_eq!(refusal(Role::All, &settings), "");
        }
    }

    #[test]
    fn each_service_names_what_it_misses() {
        let without_account = Settings {
            account_url: None,
            ..shared()
        };
        assert!(refusal(Role::Redpacket, &without_account).contains("HONGBAO_ACCOUNT_URL"));
        assert_eq!(refusal(Role::Monitor, &without_account), "");
        let own_window = Settings {
            attempts_url: Some("memory:".into()),
            ..shared()
        };
        assert!(refusal(Role::Account, &own_window).contains("HONGBAO_ATTEMPTS_URL"));
        let short = Settings {
            lease_seconds: Some(5),
            ..shared()
        };
        assert!(refusal(Role::Redpacket, &short).contains("HONGBAO_LEASE_SECONDS"));
    }

    #[test]
    fn a_queue_on_mns_is_shared_and_the_ledger_remembers_attempts() {
        let mns = Settings {
            queue_url: None,
            mns_url: Some("https://h".into()),
            access_key_id: Some("id".into()),
            access_key_secret: Some("secret".into()),
            lease_seconds: Some(20),
            ..shared()
        };
        for role in [Role::All, Role::Account, Role::Redpacket, Role::Monitor] {
            let plan = Plan::of(role, &mns).unwrap();
            let QueueAt::Mns(queue) = &plan.queue else {
                panic!("the queue is {}", plan.queue);
            };
            assert_eq!(queue.visibility, plan.lease);
            assert!(plan.attempts == AttemptsAt::Ledger, "{}", role.name());
            assert_eq!(plan.remembers_alone(), None);
        }
        let alone = Settings {
            attempts_url: Some("memory:".into()),
            ..mns.clone()
        };
        let said = Plan::of(Role::All, &alone).unwrap().remembers_alone();
        assert!(said.is_some_and(|said| said.contains("HONGBAO_ATTEMPTS_URL")));
        let with_redis = Settings {
            attempts_url: Some("redis://h".into()),
            ..mns.clone()
        };
        let plan = Plan::of(Role::Account, &with_redis).unwrap();
        assert!(plan.attempts == AttemptsAt::Redis("redis://h".into()));
        assert_eq!(plan.remembers_alone(), None);
        let in_one_file = Settings {
            database_url: None,
            ..mns.clone()
        };
        let plan = Plan::of(Role::All, &in_one_file).unwrap();
        assert_eq!(plan.remembers_alone(), None, "nobody else has that ledger");
        let keyless = Settings {
            access_key_secret: None,
            ..mns
        };
        assert!(refusal(Role::Monitor, &keyless).contains("ACCESS_KEY_SECRET"));
    }

    #[test]
    fn packets_travel_in_smaller_bundles_where_several_share_them() {
        assert_eq!(
            Plan::of(Role::All, &Settings::default()).unwrap().replicas,
            1
        );
        assert_eq!(Plan::of(Role::Monitor, &shared()).unwrap().replicas, 4);
        let told = Settings {
            replicas: Some(9),
            ..shared()
        };
        assert_eq!(Plan::of(Role::Monitor, &told).unwrap().replicas, 9);
    }
}
