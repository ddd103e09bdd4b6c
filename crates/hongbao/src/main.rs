//! The `hongbao` binary: subcommands, configuration, wiring, telemetry, shutdown.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use hongbao::{
    autoscale, check, client, cloud, config::Settings, health, offline, serve, telemetry,
};

/// A grab allocates a dozen small things and frees them on the same thread; this allocator makes
/// that cheaper than the system's does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Red-packet rain: a fixed number of packets, handed out in waves, to far more people than
/// there are packets.
///
/// The first minute: `hongbao serve`, open the link it prints, make a campaign, open /webpage
/// on a phone and grab.
#[derive(Parser)]
#[command(version, about, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all four services in one process, on the embedded default.
    Serve(Box<Settings>),
    /// Run the account service alone.
    Account(Box<Settings>),
    /// Run the request processing service alone.
    Redpacket(Box<Settings>),
    /// Run the management and monitoring service alone.
    Monitor(Box<Settings>),
    /// Run the participants' pages alone.
    Webpage(Box<Settings>),
    /// Create, watch and steer campaigns on a server.
    #[command(subcommand)]
    Campaign(client::campaign::Command),
    /// Simulate users against a server, then audit its books.
    Crowd(client::crowd::CrowdArgs),
    /// Audit a campaign in a data directory that no server has open.
    Audit(offline::audit::AuditArgs),
    /// Back up a data directory while its server runs, or while none does.
    Backup(offline::backup::BackupArgs),
    /// Make a data directory of a backup.
    Restore(offline::restore::RestoreArgs),
    /// Recompute every amount of an ended campaign from its published seed.
    Verify(offline::verify::VerifyArgs),
    /// Test configuration and backends; exits 78 when something is wrong.
    Check {
        /// Which services are to run here.
        #[arg(long = "for", value_name = "SERVICES", default_value = "serve")]
        role: serve::Role,
        /// What they are told.
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Ask the service on this machine whether it is ready: the probe of a container.
    Health(health::HealthArgs),
    /// Keep the labelled services of a Compose project between their bounds by their use of CPU.
    Autoscale(autoscale::AutoscaleArgs),
    /// Serve the cloud's MNS and SLS on this machine: a development tool, never for production.
    Aliyun(cloud::CloudArgs),
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(settings) => serve::run(serve::Role::All, *settings),
        Command::Account(settings) => serve::run(serve::Role::Account, *settings),
        Command::Redpacket(settings) => serve::run(serve::Role::Redpacket, *settings),
        Command::Monitor(settings) => serve::run(serve::Role::Monitor, *settings),
        Command::Webpage(settings) => serve::run(serve::Role::Webpage, *settings),
        Command::Check { role, settings } => check::run(role, *settings),
        Command::Campaign(command) => telemetry::block_on(client::campaign::run(command)),
        Command::Crowd(args) => telemetry::block_on(client::crowd::run(args)),
        Command::Audit(args) => telemetry::block_on(offline::audit::run(args)),
        Command::Backup(args) => telemetry::block_on(offline::backup::run(args)),
        Command::Restore(args) => telemetry::block_on(offline::restore::run(args)),
        Command::Verify(args) => telemetry::block_on(offline::verify::run(args)),
        Command::Health(args) => telemetry::block_on(health::run(args)),
        Command::Autoscale(args) => telemetry::block_on(autoscale::run(args)),
        Command::Aliyun(args) => telemetry::block_on(cloud::run(args)),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "hongbao", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("hongbao: {error:#}");
        ExitCode::FAILURE
    })
}
