//! What a run is asked to do, its limits, and why it may be refused before it starts.

use std::time::Duration;

use rules::CampaignId;

use crate::http::target::Target;

/// The most users one crowd may simulate; each costs about 500 bytes.
pub const USERS_MAX: u32 = 5_000_000;
/// The highest arrival rate, in taps per second.
pub const RATE_MAX: f64 = 1_000_000.0;
/// The most connections, below the usual limit on open files.
pub const CONNECTIONS_MAX: usize = 16_000;
/// The longest run, in seconds (7 days).
pub const SECONDS_MAX: u64 = 7 * 86_400;

/// What a run is asked to do. Without `Debug`, because it holds a secret.
#[derive(Clone)]
pub struct Options {
    /// Where the server is.
    pub target: Target,
    /// Which campaign is tapped.
    pub campaign: CampaignId,
    /// How many users there are; user `n` logs in with the code prefix followed by `n`, from 1.
    pub users: u32,
    /// Taps per second, whatever the speed of the answers.
    pub rate: f64,
    /// How long taps arrive.
    pub duration: Duration,
    /// The organiser's API key; without it the audit checks less and says so.
    pub organiser_key: Option<String>,
    /// What every identification code begins with.
    pub code_prefix: String,
    /// Decides which user taps when, and which replies are dropped.
    pub seed: u64,
    /// Makes this run's Grab-Ids unlike those of any other run; never repeated, unlike the seed.
    pub run: u64,
    /// How many connections there are; each carries one request at a time.
    pub connections: usize,
    /// How many taps may wait for an answer at once; arrivals beyond it are shed and counted.
    pub in_flight_max: u64,
    /// The probability, from 0 to 1, that the crowd drops a reply on purpose and asks again.
    pub drop_replies: f64,
    /// How long one attempt may take before its reply counts as lost.
    pub attempt_timeout: Duration,
    /// How long after its arrival a tap may stay without an answer before it is given up.
    pub answer_within: Duration,
    /// Whether arrivals stop when the campaign is sold out or has ended.
    pub stop_early: bool,
    /// How many users' own lists of wins the audit reads.
    pub wins_sample: usize,
    /// Whether progress is shown on standard error.
    pub show_progress: bool,
}

impl Options {
    /// A run against `target` with everything else as the command line leaves it.
    #[must_use]
    pub fn new(target: Target, campaign: CampaignId, seed: u64, run: u64) -> Self {
        Self {
            target,
            campaign,
            users: 1_000,
            rate: 1_000.0,
            duration: Duration::from_secs(10),
            organiser_key: None,
            code_prefix: format!("crowd-{seed}-"),
            seed,
            run,
            connections: 128,
            in_flight_max: 10_000,
            drop_replies: 0.0,
            attempt_timeout: Duration::from_secs(5),
            answer_within: Duration::from_secs(30),
            stop_early: true,
            wins_sample: 200,
            show_progress: false,
        }
    }

    /// The identification code of user `index`, from 0.
    #[must_use]
    pub fn code(&self, index: u32) -> String {
        format!("{}{}", self.code_prefix, u64::from(index) + 1)
    }

    /// How many taps arrive when nothing stops the run early.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rate and duration are checked to be positive and bounded"
    )]
    pub fn taps_planned(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64()).ceil() as u64
    }

    /// # Errors
    /// [`CrowdError::Options`], naming the option, when one is out of its range.
    pub fn check(&self) -> Result<(), CrowdError> {
        let refuse = |text: String| Err(CrowdError::Options(text));
        if !(1..=USERS_MAX).contains(&self.users) {
            return refuse(format!("--users must be from 1 to {USERS_MAX}"));
        }
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            return refuse(format!(
                "--rate must be above 0 and at most {RATE_MAX} taps a second"
            ));
        }
        let seconds = self.duration.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a week in seconds is exact")]
        if !(seconds > 0.0 && seconds <= SECONDS_MAX as f64) {
            return refuse(format!(
                "--for must be above 0 and at most {SECONDS_MAX} seconds"
            ));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return refuse(format!("--connections must be from 1 to {CONNECTIONS_MAX}"));
        }
        if self.in_flight_max == 0 {
            return refuse("--in-flight must be at least 1".to_owned());
        }
        if !(0.0..=1.0).contains(&self.drop_replies) {
            return refuse("--drop-replies must be from 0 to 1".to_owned());
        }
        if let Err(refusal) = rules::ids::normal_name(&self.code(self.users - 1)) {
            return refuse(format!("--code-prefix makes a code that {refusal}"));
        }
        Ok(())
    }
}

/// Why a run did not start. Once it has started, all that goes wrong is in the report.
#[derive(Debug, thiserror::Error)]
pub enum CrowdError {
    /// An option is out of its range.
    #[error("{0}")]
    Options(String),
    /// Nothing answers there.
    #[error("no answer from {url}: {cause}; is the server running there?")]
    Unreachable {
        /// Where it was asked.
        url: String,
        /// What the connection said.
        cause: String,
    },
    /// The server answered with an error.
    #[error("{doing}: the server answered {status} {code}: {message}")]
    Refused {
        /// What was tried.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// The contract's error code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The server answered with something that the contract does not allow.
    #[error("{doing}: the answer is not what the contract says: {cause}")]
    Unreadable {
        /// What was tried.
        doing: String,
        /// What is wrong with it.
        cause: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let target = Target::parse("http://127.0.0.1:1").unwrap();
        Options::new(target, CampaignId(uuid::Uuid::nil()), 1, 2)
    }

    #[test]
    fn what_the_command_line_leaves_is_accepted() {
        options().check().unwrap();
        assert_eq!(options().taps_planned(), 10_000);
        assert_eq!(options().code(0), "crowd-1-1");
    }

    #[test]
    fn each_option_out_of_range_is_refused_by_name() {
        type Change = fn(&mut Options);
        let cases: [(&str, Change); 8] = [
            ("--users", |o| o.users = 0),
            ("--rate", |o| o.rate = 0.0),
            ("--rate", |o| o.rate = f64::NAN),
            ("--for", |o| o.duration = Duration::ZERO),
            ("--connections", |o| o.connections = 0),
            ("--in-flight", |o| o.in_flight_max = 0),
            ("--drop-replies", |o| o.drop_replies = 1.5),
            ("--code-prefix", |o| o.code_prefix = "x".repeat(64)),
        ];
        for (name, change) in cases {
            let mut options = options();
            change(&mut options);
            let refusal = options.check().unwrap_err().to_string();
            assert!(refusal.contains(name), "{name}: {refusal}");
        }
    }
}
