//! The `hongbao` binary: subcommands, configuration, wiring, telemetry, shutdown.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use hongbao::{
    autoscale,
    check::{self, EXIT_CONFIG},
    client, cloud,
    config::Settings,
    health, offline, serve, telemetry,
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
    /// Test configuration and backends, changing nothing; exits 78 when something is wrong.
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

/// Commands that a supervisor starts again and again, for which what they are told is configuration.
const SUPERVISED: [&str; 8] = [
    "serve",
    "account",
    "redpacket",
    "monitor",
    "webpage",
    "check",
    "autoscale",
    "aliyun",
];

/// Says why the command line or the environment is not understood, or the help that was asked for.
fn not_understood(said: &clap::Error) -> ExitCode {
    if said.print().is_err() {
        // Nobody reads it; the code says it all the same.
    }
    let command = std::env::args_os().nth(1);
    let is_supervised = command.is_some_and(|it| SUPERVISED.iter().any(|name| it == *name));
    match said.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if is_supervised => ExitCode::from(EXIT_CONFIG),
        _ => ExitCode::from(2),
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return not_understood(&said),
    };
    let result = match cli.command {
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
