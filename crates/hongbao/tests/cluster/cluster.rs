//! A whole installation: replicas of the four services, and HAProxy in front.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Method;
use tempfile::TempDir;
use testkit::haproxy::{self, HaProxy, Replicas};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::block_in_place,
};

use crate::{
    client::{Client, send},
    server::{Plan, Server},
    until::until,
};

/// One cluster at a time: each wants the whole machine.
static TURN: Mutex<()> = Mutex::const_new(());
/// Nothing is asserted about time by this; it ends a test that would otherwise hang.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// How much of HAProxy's log is printed when a test fails.
const PROXY_LINES: usize = 20;

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Who may try.
    Account,
    /// Issuing and watching.
    Monitor,
    /// Grabs.
    Redpacket,
    /// The pages.
    Webpage,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Account, Self::Monitor, Self::Redpacket, Self::Webpage];

    /// Its subcommand, and HAProxy's name for its replicas.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Monitor => "monitor",
            Self::Redpacket => "redpacket",
            Self::Webpage => "webpage",
        }
    }
}

/// A place for a replica: its ports and folder stay, processes come and go.
pub(crate) struct Replica {
    /// Which service.
    pub(crate) role: Role,
    plan: Plan,
    server: Option<Server>,
}

impl Replica {
    fn new(role: Role, number: usize, folder: &Path, env: &[(String, String)]) -> Self {
        let folder = folder.join(format!("{}-{number}", role.name()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let mut plan = Plan::new(&folder);
        plan.env = env.to_vec();
        Self {
            role,
            plan,
            server: None,
        }
    }

    /// Where it answers, when it runs.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.plan.port)
    }

    fn inner_address(&self) -> String {
        format!("127.0.0.1:{}", self.plan.inner_port)
    }

    /// A client that talks to it alone.
    pub(crate) fn client(&self) -> Client {
        Client::at(
            &self.address(),
            &format!("127.0.0.1:{}", self.plan.admin_port),
        )
    }

    /// Begins to start it.
    pub(crate) fn spawn(&mut self) {
        let command = self.plan.command(&[self.role.name()]);
        self.server = Some(self.plan.spawn_command(command));
    }

    /// Waits until it answers.
    pub(crate) fn wait(&mut self) {
        let role = self.role;
        let server = self.server.as_mut().expect("it was spawned");
        block_in_place(|| server.wait_until_listening())
            .unwrap_or_else(|refused| panic!("{} did not start: {refused}", role.name()));
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait();
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        block_in_place(|| server.kill());
    }

    /// Drains it; it must end by itself, and well.
    pub(crate) fn stop(&mut self) {
        let server = self.server.take().expect("it runs");
        let status = block_in_place(|| server.stop());
        assert_eq!(status.code(), Some(0), "{} drained badly", self.role.name());
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        self.server.as_ref().expect("it runs").signal(name);
    }

    /// Whether it runs.
    pub(crate) const fn runs(&self) -> bool {
        self.server.is_some()
    }
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Where the ledger is.
    pub(crate) database_url: String,
    /// Where the queue is.
    pub(crate) queue_url: String,
    /// Replicas of each service at the start.
    pub(crate) replicas: usize,
    /// More environment for every service.
    pub(crate) env: Vec<(String, String)>,
}

impl Spec {
    /// Two replicas of each service on these engines.
    pub(crate) fn new(database_url: String, queue_url: String) -> Self {
        Self {
            database_url,
            queue_url,
            replicas: 2,
            env: Vec::new(),
        }
    }

    /// With one more environment variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A running cluster. Dropped, all of it is killed.
pub(crate) struct Cluster {
    /// HAProxy. First, so that it goes first.
    pub(crate) proxy: HaProxy,
    accounts: Vec<Replica>,
    monitors: Vec<Replica>,
    redpackets: Vec<Replica>,
    webpages: Vec<Replica>,
    _folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts one, and waits until HAProxy knows every replica as ready.
    pub(crate) async fn start(spec: &Spec) -> Self {
        let turn = TURN.lock().await;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let inner_port = testkit::server::free_port();
        let mut env = vec![
            ("HONGBAO_DATABASE_URL".to_owned(), spec.database_url.clone()),
            ("HONGBAO_QUEUE_URL".to_owned(), spec.queue_url.clone()),
            (
                "HONGBAO_ACCOUNT_URL".to_owned(),
                format!("http://127.0.0.1:{inner_port}"),
            ),
            ("HONGBAO_TRUSTED_PROXIES".to_owned(), "127.0.0.1".to_owned()),
            // A dead replica's packets can be won again soon.
            ("HONGBAO_LEASE_SECONDS".to_owned(), "10".to_owned()),
            ("HONGBAO_THREADS".to_owned(), "1".to_owned()),
        ];
        env.extend(spec.env.iter().cloned());
        let places = |role, number| {
            let places = 0..number;
            places
                .map(|number| Replica::new(role, number, folder.path(), &env))
                .collect::<Vec<_>>()
        };
        let accounts = places(Role::Account, 2);
        let monitors = places(Role::Monitor, 2);
        let redpackets = places(Role::Redpacket, 4);
        let webpages = places(Role::Webpage, 2);
        let addresses = |replicas: &[Replica]| replicas.iter().map(Replica::address).collect();
        let replicas = Replicas {
            redpacket: addresses(&redpackets),
            account: addresses(&accounts),
            account_inner: accounts.iter().map(Replica::inner_address).collect(),
            monitor: addresses(&monitors),
            webpage: addresses(&webpages),
        };
        let inner = format!("127.0.0.1:{inner_port}");
        let more = [("HAPROXY_INNER_LISTEN", inner.as_str())];
        let mut cluster = Self {
            proxy: block_in_place(|| HaProxy::start(&replicas, &more)),
            accounts,
            monitors,
            redpackets,
            webpages,
            _folder: folder,
            _turn: turn,
        };
        for role in Role::ALL {
            for replica in cluster.all(role).iter_mut().take(spec.replicas) {
                replica.spawn();
            }
        }
        for role in Role::ALL {
            for replica in cluster
                .all(role)
                .iter_mut()
                .filter(|replica| replica.runs())
            {
                replica.wait();
            }
            cluster.wait_until_up(role).await;
        }
        cluster
    }

    /// The places of a service.
    pub(crate) const fn all(&mut self, role: Role) -> &mut Vec<Replica> {
        match role {
            Role::Account => &mut self.accounts,
            Role::Monitor => &mut self.monitors,
            Role::Redpacket => &mut self.redpackets,
            Role::Webpage => &mut self.webpages,
        }
    }

    /// One place of a service.
    pub(crate) fn one(&mut self, role: Role, number: usize) -> &mut Replica {
        &mut self.all(role)[number]
    }

    /// A client that goes through HAProxy, and has no metrics.
    pub(crate) fn client(&self) -> Client {
        Client::at(&self.proxy.address(), "127.0.0.1:9")
    }

    /// Waits until HAProxy believes as many replicas of `role` to be up as run.
    pub(crate) async fn wait_until_up(&mut self, role: Role) {
        let expected = self
            .all(role)
            .iter()
            .filter(|replica| replica.runs())
            .count();
        let began = Instant::now();
        loop {
            let up = block_in_place(|| self.proxy.up(role.name()));
            if up.len() == expected {
                return;
            }
            assert!(
                began.elapsed() < SETTLED_WITHIN,
                "{expected} replicas of {} run; HAProxy knows {up:?}:\n{}",
                role.name(),
                self.proxy.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until it rains on every running replica of redpacket.
    pub(crate) async fn known_everywhere(&self, campaign: &str) {
        let path = format!("/redpacket/campaigns/{campaign}");
        for replica in self.redpackets.iter().filter(|replica| replica.runs()) {
            let client = replica.client();
            until("a replica of redpacket knows the campaign", async || {
                let seen = send(client.request(Method::GET, &path)).await;
                (seen.body["state"] == "running").then_some(())
            })
            .await;
        }
    }

    /// The sum of a counter over all running replicas of all services but the pages, which have
    /// no backend.
    pub(crate) async fn counter(&mut self, name: &str) -> u64 {
        let mut sum = 0;
        for role in [Role::Account, Role::Monitor, Role::Redpacket] {
            for replica in self.all(role).iter().filter(|replica| replica.runs()) {
                sum += replica.client().counter(name).await;
            }
        }
        sum
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for role in Role::ALL {
            eprintln!(
                "HAProxy knows of {}: {:?}",
                role.name(),
                haproxy::up(&self.proxy.admin_address(), role.name())
            );
        }
        let log = self.proxy.log();
        let last: Vec<_> = log.lines().rev().take(PROXY_LINES).collect();
        eprintln!(
            "--- HAProxy's last words, the latest first ---\n{}\n---",
            last.join("\n")
        );
    }
}
