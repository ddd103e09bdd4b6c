//! `hongbao crowd`: simulated users against a server, then the audit of its books.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use crowd::{CrowdError, Options, Report, Target};
use rules::CampaignId;
use uuid::Uuid;

use super::{quiet_pipe, server::ServerArgs, show};

/// What a run that could not start exits with, as wrong usage does.
const EXIT_NOT_STARTED: u8 = 2;
/// Open files that a run needs besides its connections.
const OTHER_FILES: u64 = 64;

/// Simulate users who tap at a set rate, then audit the books.
#[derive(Args)]
#[command(after_help = "\
The users log in first, each with a code of its own. Then taps arrive at the set rate, however
slowly they are answered; latencies count from the moment a tap was to be sent. Lost replies and
503s are asked again with the same Grab-Id. Afterwards all that the users were told is compared
with the winners' list, the server's audit and the users' own lists of wins.

Exits 0 when everything that was checked holds, 1 when something does not or a tap stayed without
an answer, 2 when the run could not start.

Examples:
  20,000 users, 5,000 taps a second for 30 seconds, on the server of this machine:
    hongbao crowd --campaign ID --users 20000 --rate 5000 --for 30

  The same crowd again, a fifth of all replies thrown away and asked again:
    hongbao crowd --campaign ID --seed 42 --drop-replies 0.2

  Users who were imported with the codes vip-1, vip-2, …:
    hongbao crowd --campaign ID --users 500 --code-prefix vip-")]
pub struct CrowdArgs {
    /// The campaign's id.
    #[arg(long, value_name = "ID")]
    campaign: CampaignId,
    /// How many users there are.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    users: u32,
    /// Taps per second, by random users.
    #[arg(long, value_name = "TAPS", default_value_t = 1_000.0)]
    rate: f64,
    /// For how many seconds taps arrive.
    #[arg(long = "for", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// What every identification code begins with; a number from 1 follows. Left out, it is made
    /// from the seed.
    #[arg(long, value_name = "TEXT")]
    code_prefix: Option<String>,
    /// Decides who taps when; the same seed makes the same crowd. Left out, a new one each time.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many connections there are; each carries one request at a time.
    #[arg(long, value_name = "N", default_value_t = 128)]
    connections: usize,
    /// How many taps may wait for their answer at once; arrivals beyond it are not sent, and
    /// reported.
    #[arg(long = "in-flight", value_name = "N", default_value_t = 10_000)]
    in_flight_max: u64,
    /// The share of replies, from 0 to 1, that are thrown away on purpose and asked again.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    drop_replies: f64,
    /// After how many seconds without a reply an attempt counts as lost.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
    /// After how many seconds a tap is given up; a tap given up fails the run.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    answer_within: Duration,
    /// Go on tapping when the campaign is sold out or has ended.
    #[arg(long)]
    to_the_end: bool,
    /// How many users' own lists of wins are read in the audit.
    #[arg(long, value_name = "N", default_value_t = 200)]
    wins_sample: usize,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
    /// The report as JSON on standard output; progress stays on standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Seconds, also fractions, with or without an `s` behind.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse::<f64>();
    let number = number.map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|cause| cause.to_string())
}

/// Runs the crowd and writes its report to standard output.
///
/// # Errors
/// When the report cannot be written; whatever keeps the run from starting is said on standard
/// error and exits 2.
pub async fn run(args: CrowdArgs) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let report = match start(args).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("hongbao crowd: {error:#}");
            return Ok(ExitCode::from(EXIT_NOT_STARTED));
        }
    };
    quiet_pipe(write(&report, json))
}

async fn start(args: CrowdArgs) -> anyhow::Result<Report> {
    let options = args.options()?;
    if options.organiser_key.is_none() && options.show_progress {
        eprintln!("no organiser key: the audit will check what can be checked without it");
    }
    let needed = options.connections as u64 + OTHER_FILES;
    let allowed = rlimit::increase_nofile_limit(needed).context("cannot ask for open files")?;
    if allowed < needed {
        bail!(
            "{} connections need {needed} open files, and this process may have {allowed}; \
             give fewer --connections",
            options.connections
        );
    }
    crowd::run(options)
        .await
        .map_err(|error: CrowdError| error.into())
}

impl CrowdArgs {
    fn options(self) -> anyhow::Result<Options> {
        let key = self.server.key()?;
        let target = Target::parse(&self.server.url)?;
        let (seed, run) = Uuid::new_v4().as_u64_pair();
        let seed = self.seed.unwrap_or(seed >> 32);
        let defaults = Options::new(target, self.campaign, seed, run);
        Ok(Options {
            users: self.users,
            rate: self.rate,
            duration: self.duration,
            organiser_key: key.map(|key| key.value),
            code_prefix: self.code_prefix.unwrap_or(defaults.code_prefix),
            connections: self.connections,
            in_flight_max: self.in_flight_max,
            drop_replies: self.drop_replies,
            attempt_timeout: self.timeout,
            answer_within: self.answer_within,
            stop_early: !self.to_the_end,
            wins_sample: self.wins_sample,
            show_progress: !self.quiet,
            ..defaults
        })
    }
}

fn write(report: &Report, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    if json {
        show::json(&mut out, &serde_json::to_value(report)?)?;
    } else {
        write!(out, "\n{report}")?;
    }
    Ok(ExitCode::from(report.exit_code()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: CrowdArgs,
    }

    const ID: &str = "01980000-0000-7000-8000-000000000001";

    #[test]
    fn every_option_reaches_the_crowd() {
        let line = format!(
            "crowd --campaign {ID} --users 7 --rate 2.5 --for 1.5s --code-prefix vip- --seed 9 \
             --connections 3 --in-flight 4 --drop-replies 0.25 --timeout 2 --answer-within 8 \
             --to-the-end --wins-sample 5 --quiet --url http://127.0.0.1:1 --organiser-key k"
        );
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let options = cli.args.options().unwrap();
        assert_eq!((options.users, options.seed), (7, 9));
        assert_eq!(options.code(0), "vip-1");
        assert_eq!(options.taps_planned(), 4);
        assert_eq!((options.connections, options.in_flight_max), (3, 4));
        assert_eq!(options.attempt_timeout, Duration::from_secs(2));
        assert_eq!(options.answer_within, Duration::from_secs(8));
        assert!(!options.stop_early && !options.show_progress);
        assert_eq!(options.organiser_key.as_deref(), Some("k"));
        assert_eq!(options.wins_sample, 5);
        options.check().unwrap();
    }

    #[test]
    fn two_runs_without_a_seed_are_two_crowds() {
        let one = || {
            let line = format!("crowd --campaign {ID} --organiser-key k");
            let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
            cli.args.options().unwrap()
        };
        let (a, b) = (one(), one());
        assert_ne!(a.run, b.run);
        assert_ne!(a.code_prefix, b.code_prefix);
    }

    #[tokio::test]
    async fn a_run_that_cannot_start_exits_2() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let free = listener.local_addr().unwrap();
        drop(listener);
        let line = format!("crowd --campaign {ID} --quiet --organiser-key k --url http://{free}");
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let exit = run(cli.args).await.unwrap();
        assert_eq!(exit, ExitCode::from(2));
    }
}
