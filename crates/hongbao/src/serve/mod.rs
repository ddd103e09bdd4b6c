//! Running the services: start, serve, drain.
//!
//! # Layout
//! - [`plan`]: what a service is to run on; [`backends`]: opening that.
//! - [`shared`]: what the services share; [`wiring`]: the parts and how they hang together.
//! - [`listeners`]: the listeners and their routes; [`places`]: where they listen.

pub(crate) mod backends;
mod listeners;
pub(crate) mod places;
pub(crate) mod plan;
mod shared;
pub(crate) mod wiring;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use ledger::Durability;
use services::http::{health::Readiness, server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::{
    backends::Opened,
    listeners::{Listeners, Pages},
    plan::Plan,
    wiring::Node,
};
use crate::{check::EXIT_CONFIG, config::Settings, telemetry};

/// Which services this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// All four.
    #[value(name = "serve")]
    All,
    /// The account service.
    Account,
    /// Request processing.
    Redpacket,
    /// Management and monitoring.
    Monitor,
    /// The participants' pages.
    Webpage,
}

/// Open files beside connections: the database, logs, listeners, and some air.
const FILES_BESIDE_CONNECTIONS: u64 = 256;
/// Threads for what outlives a request; connections have threads of their own.
const BACKGROUND_THREADS: usize = 2;
/// How long one of several services serves on after it was told to stop. HAProxy, as configured in
/// deploy/, asks every second and notices within two.
const DRAIN_NOTICE_SECONDS: u64 = 3;
/// The exit code when the ledger has stopped for good, so that a supervisor restarts us.
const EXIT_LEDGER_STOPPED: u8 = 74;

/// Serves until SIGTERM or Ctrl-C, then drains.
///
/// # Errors
/// When something keeps it from serving: a port, the data directory, a backend. Settings that
/// cannot be right end with the exit code for that instead.
pub fn run(role: Role, settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = match understood(settings) {
        Ok(settings) => settings,
        Err(error) => return Ok(misconfigured(&error)),
    };
    raise_file_limit(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        match role {
            Role::Webpage => webpage(settings).await,
            _ => services(role, settings).await,
        }
    })
}

/// The settings with what their file says, and the log set up by them.
fn understood(settings: Settings) -> anyhow::Result<Settings> {
    let settings = settings.with_file()?;
    telemetry::log(&settings)?;
    check_listening(&settings)?;
    Ok(settings)
}

/// Refuses what a process that listens cannot be told.
pub(crate) fn check_listening(settings: &Settings) -> anyhow::Result<()> {
    settings.public_url(settings.listen())?;
    listeners::trusted_proxies(settings)?;
    if settings.connections_max() == 0 {
        anyhow::bail!("HONGBAO_CONNECTIONS_MAX must be at least 1");
    }
    if settings.threads == Some(0) {
        anyhow::bail!("HONGBAO_THREADS must be at least 1");
    }
    Ok(())
}

/// Says what is wrong with the configuration; the exit code for that.
pub(crate) fn misconfigured(error: &anyhow::Error) -> ExitCode {
    eprintln!("hongbao: {error:#}");
    ExitCode::from(EXIT_CONFIG)
}

/// Some or all of the services that have a backend.
async fn services(role: Role, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut stop_signals = StopSignals::new()?;
    let plan = match Plan::of(role, &settings) {
        Ok(plan) => plan,
        Err(error) => return Ok(misconfigured(&error)),
    };
    // Bound first: a taken port must not touch the data directory.
    let listeners = Listeners::bind(role, &settings).await?;
    let told = match plan.told(&settings) {
        Ok(told) => told,
        Err(error) => return Ok(misconfigured(&error)),
    };
    let opened = Opened::open(&plan.database).await?;
    let secrets = plan.secrets(&settings, told, &opened).await?;
    let public_url = settings.public_url(listeners.public_address()?)?;
    let started = Node::start(opened, &plan, &settings, &secrets, &public_url).await;
    let node = match started {
        Err(error) if wiring::is_of_another(&error) => return Ok(misconfigured(&error)),
        started => started?,
    };
    let setup = match &node.monitor {
        Some(monitor) => monitor.begin_setup().await?,
        None => None,
    };

    let stopping = CancellationToken::new();
    let drain_within = Duration::from_secs(settings.drain_seconds.unwrap_or(10));
    let serving = listeners.serve(&node, &secrets, options(&settings), stopping.clone())?;
    greet(
        &plan,
        &settings,
        &public_url,
        setup.as_deref(),
        &node.durability,
    );
    println!("listening on http://{}", serving.public_address);

    let code = tokio::select! {
        () = stop_signals.wait() => ExitCode::SUCCESS,
        () = node.opened.stopped() => {
            tracing::error!("the ledger has stopped for good; ending, to be started afresh");
            ExitCode::from(EXIT_LEDGER_STOPPED)
        }
    };
    tracing::info!(seconds_max = drain_within.as_secs(), "draining");
    node.readiness.drain();
    if !notice(role, &settings, &mut stop_signals).await {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(redpacket) = &node.redpacket {
        redpacket.end_streams();
    }
    stopping.cancel();
    tokio::select! {
        () = serving.ended() => {}
        // A second signal does not wait for anybody.
        () = stop_signals.wait() => return Ok(ExitCode::FAILURE),
    }
    node.stop().await;
    tracing::info!("stopped");
    Ok(code)
}

/// The participants' pages alone: they need no backend.
async fn webpage(settings: Settings) -> anyhow::Result<ExitCode> {
    let mut stop_signals = StopSignals::new()?;
    let listeners = Listeners::bind(Role::Webpage, &settings).await?;
    let readiness = Readiness::expecting(&[]);
    let stopping = CancellationToken::new();
    let pages = Pages {
        readiness: readiness.clone(),
        metrics: telemetry::metrics(Role::Webpage)?,
    };
    let serving = listeners.serve_pages(pages, options(&settings), stopping.clone())?;
    println!("listening on http://{}", serving.public_address);
    stop_signals.wait().await;
    readiness.drain();
    if !notice(Role::Webpage, &settings, &mut stop_signals).await {
        return Ok(ExitCode::FAILURE);
    }
    stopping.cancel();
    Ok(tokio::select! {
        () = serving.ended() => ExitCode::SUCCESS,
        () = stop_signals.wait() => ExitCode::FAILURE,
    })
}

/// Serves on for a while, so that a balancer learns that this process is not ready before it
/// closes connections: one that it closed just then could carry a request already. False when a
/// second signal came meanwhile, which does not wait for anybody.
async fn notice(role: Role, settings: &Settings, stop_signals: &mut StopSignals) -> bool {
    let default = if role == Role::All {
        0
    } else {
        DRAIN_NOTICE_SECONDS
    };
    let seconds = settings.drain_notice_seconds.unwrap_or(default);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => true,
        () = stop_signals.wait() => false,
    }
}

fn options(settings: &Settings) -> server::Options {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    server::Options {
        threads: settings.threads.unwrap_or(cores),
        connections_max: settings.connections_max(),
        drain_within: Duration::from_secs(settings.drain_seconds.unwrap_or(10)),
    }
}

/// What the organiser needs for the first minute, on standard output.
fn greet(
    plan: &Plan,
    settings: &Settings,
    public_url: &str,
    setup: Option<&str>,
    durability: &Durability,
) {
    println!("ledger: {}, queue: {}", plan.database, plan.queue);
    if let (true, Some(sls)) = (plan.role.is_redpacket(), &plan.sls) {
        println!("the access log is shipped to SLS: {sls}");
    }
    println!("durability: {}", durability.meaning);
    if let Some(weakness) = &durability.weakness {
        println!("durability: an acknowledged win may be lost: {weakness}");
    }
    if let Some(said) = plan.remembers_alone() {
        println!("attempts: {said}");
    }
    if plan.role == Role::All {
        println!("participants: {public_url}/webpage");
    }
    if plan.role.is_monitor() {
        println!("organisers:   {public_url}/monitor");
        println!("the API:      {public_url}/docs");
    }
    if let Some(token) = setup {
        println!("set up the first organiser, once: {public_url}/monitor#/setup?token={token}");
    }
    if settings.lan == Some(true) {
        println!("a phone on this network reaches it at {public_url}/webpage");
        if !public_url.starts_with("https://") {
            println!(
                "what travels is not encrypted; put a TLS proxy in front for more than a party"
            );
        }
    }
}

/// As many files as connections need, if the system lets us.
fn raise_file_limit(settings: &Settings) {
    let wanted = settings.connections_max() as u64 + FILES_BESIDE_CONNECTIONS;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(granted) if granted < wanted => {
            tracing::warn!(
                granted,
                wanted,
                "the limit of open files is below what all connections need"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "could not raise the limit of open files"),
    }
}

/// SIGTERM and Ctrl-C.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on the process does not end by them.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next of them.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
