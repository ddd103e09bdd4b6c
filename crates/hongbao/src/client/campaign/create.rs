//! `hongbao campaign create`.

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use rules::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::presented::present;
use crate::client::{
    server::{ServerArgs, advise_repeat},
    show::{self, Campaign, Out},
};

/// Create a campaign.
#[derive(Args)]
#[command(after_help = "\
All amounts are whole minor units of the currency: with CNY, 100 is ¥1.00.

Examples:
  10 packets in 3 waves, 2 seconds apart, with ¥100.00 in all at random, for the first who tap:
    hongbao campaign create --title 'New year' --packets 10 --batches 3 --interval 2 --lucky 10000

  1000 packets of ¥1.00 each, at eight in the evening, two per user at most:
    hongbao campaign create --title 'Eight o’clock' --packets 1000 --equal 100 \\
      --starts-at 2026-12-31T20:00:00+08:00 --limit 2

  Prizes, one of 88.88 and a hundred of 0.88, for imported users, one try in ten seconds:
    hongbao campaign create --title Prizes --tier 'First prize:1:8888' --tier Luck:100:88 \\
      --eligible registered --attempt-window 10

  The request body as the HTTP API takes it, from a file or from standard input:
    hongbao campaign create --from-file campaign.json")]
#[command(group(clap::ArgGroup::new("how")
    .args(["lucky", "equal", "tier", "from_file"]).required(true)))]
pub struct CreateArgs {
    /// What participants read.
    #[arg(long, required_unless_present = "from_file")]
    title: Option<String>,
    /// How many packets; with --tier, their counts' sum unless it is said.
    #[arg(long, value_name = "N", required_unless_present_any = ["from_file", "tier"])]
    packets: Option<u32>,
    /// In how many waves they come.
    #[arg(long, value_name = "N", default_value_t = 1)]
    batches: u32,
    /// Seconds between two waves.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = whole_seconds)]
    interval: u32,
    /// Split at random: what all packets hold together, in minor units.
    #[arg(long, value_name = "TOTAL", help_heading = "Split")]
    lucky: Option<u64>,
    /// With --lucky: the least a packet holds; 1 when left out.
    #[arg(
        long,
        value_name = "AMOUNT",
        conflicts_with_all = ["equal", "tier", "from_file"],
        help_heading = "Split"
    )]
    min: Option<u64>,
    /// With --lucky: the most a packet holds.
    #[arg(
        long,
        value_name = "AMOUNT",
        conflicts_with_all = ["equal", "tier", "from_file"],
        help_heading = "Split"
    )]
    max: Option<u64>,
    /// Split alike: what each packet holds, in minor units.
    #[arg(long, value_name = "AMOUNT", help_heading = "Split")]
    equal: Option<u64>,
    /// Split into prizes: one prize, so many times, of this amount in minor units; repeat for
    /// each prize.
    #[arg(long, value_name = "LABEL:COUNT:AMOUNT", value_parser = tier, help_heading = "Split")]
    tier: Vec<Tier>,
    /// ISO 4217 code of the currency.
    #[arg(long, value_name = "CODE", default_value = "CNY")]
    currency: String,
    /// When the first wave comes, such as 2026-12-31T20:00:00+08:00; now when left out.
    #[arg(long, value_name = "TIME")]
    starts_at: Option<Timestamp>,
    /// When what is left is refunded; 24 hours after the last wave when left out.
    #[arg(long, value_name = "TIME")]
    ends_at: Option<Timestamp>,
    /// How often one user may win.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Who may win"
    )]
    limit: u32,
    /// In what --limit counts: the campaign, each wave, or so many seconds.
    #[arg(long, value_name = "campaign|wave|SECONDSs", default_value = "campaign",
        value_parser = per, help_heading = "Who may win")]
    per: Value,
    /// One attempt per user in so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = whole_seconds, help_heading = "Who may win")]
    attempt_window: Option<u32>,
    /// The share of attempts, from 0 to 1, that is given up at random.
    #[arg(long, value_name = "SHARE", help_heading = "Who may win")]
    discard: Option<f64>,
    /// Who may win: anyone, registered (imported users), users with commas between, or @FILE
    /// with a user in each line.
    #[arg(long, value_name = "WHO", help_heading = "Who may win")]
    eligible: Option<String>,
    /// Who may not win: users with commas between, or @FILE with a user in each line.
    #[arg(long, value_name = "USERS", help_heading = "Who may win")]
    blocked: Option<String>,
    /// The whole request as JSON, instead of all options above; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["title", "packets", "batches",
        "interval", "currency", "starts_at", "ends_at", "limit", "per", "attempt_window",
        "discard", "eligible", "blocked"])]
    from_file: Option<PathBuf>,
    /// Makes a repeat safe: the same key and request create one campaign. Made anew and shown
    /// when left out.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The server's answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// One prize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tier {
    label: String,
    pub(super) count: u32,
    amount: u64,
}

impl Tier {
    pub(super) fn json(&self) -> Value {
        json!({"label": self.label, "count": self.count, "amount": self.amount})
    }
}

/// Reads `LABEL:COUNT:AMOUNT`; a label may have colons of its own.
pub(super) fn tier(text: &str) -> Result<Tier, String> {
    let form = || format!("`{text}` is no LABEL:COUNT:AMOUNT such as First:1:8888");
    let (rest, amount) = text.rsplit_once(':').ok_or_else(form)?;
    let (label, count) = rest.rsplit_once(':').ok_or_else(form)?;
    Ok(Tier {
        label: label.to_owned(),
        count: count.parse().map_err(|_| form())?,
        amount: amount.parse().map_err(|_| form())?,
    })
}

/// All packets of these prizes.
pub(super) fn tier_packets(tiers: &[Tier]) -> anyhow::Result<u32> {
    let counts = tiers.iter().map(|tier| tier.count);
    counts
        .into_iter()
        .try_fold(0_u32, u32::checked_add)
        .context("the prizes' counts add up to more packets than any campaign can have")
}

/// Reads `campaign`, `wave` or `60s`.
fn per(text: &str) -> Result<Value, String> {
    match text {
        "campaign" | "wave" => Ok(Value::from(text)),
        _ => {
            let seconds = text.strip_suffix('s').and_then(|n| n.parse::<u32>().ok());
            let seconds = seconds.ok_or("expected campaign, wave or seconds such as 60s")?;
            Ok(json!({ "seconds": seconds }))
        }
    }
}

/// Reads whole seconds, with or without an `s` behind.
fn whole_seconds(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse();
    number.map_err(|_| format!("`{text}` is no whole number of seconds such as 2 or 2s"))
}

/// Users with commas between, or a file's lines.
fn users(option: &str, text: &str) -> anyhow::Result<Vec<String>> {
    let all = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the users of {option} in {file}"))?,
        None => text.replace(',', "\n"),
    };
    let lines = all.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// A key that no other call has.
pub(super) fn fresh_key() -> String {
    Uuid::new_v4().to_string()
}

impl CreateArgs {
    /// The request body.
    fn body(&self) -> anyhow::Result<Value> {
        if let Some(path) = &self.from_file {
            return from_file(path);
        }
        let packets = match self.packets {
            Some(packets) => packets,
            None => tier_packets(&self.tier)?,
        };
        let mut body = json!({
            "title": self.title,
            "packets": packets,
            "batches": self.batches,
            "interval_seconds": self.interval,
            "currency": self.currency,
            "split": self.split()?,
            "win_limit": {"count": self.limit, "per": self.per},
        });
        let rules = self.rules()?;
        if !rules.is_empty() {
            body["rules"] = rules.into();
        }
        for (field, time) in [("starts_at", self.starts_at), ("ends_at", self.ends_at)] {
            if let Some(time) = time {
                body[field] = time.to_string().into();
            }
        }
        Ok(body)
    }

    fn split(&self) -> anyhow::Result<Value> {
        match (self.lucky, self.equal) {
            (Some(total), _) => {
                let mut split = json!({"mode": "lucky", "total": total});
                for (field, amount) in [("min", self.min), ("max", self.max)] {
                    if let Some(amount) = amount {
                        split[field] = amount.into();
                    }
                }
                Ok(split)
            }
            (None, Some(amount)) => Ok(json!({"mode": "equal", "amount": amount})),
            (None, None) if self.tier.is_empty() => bail!("give --lucky, --equal or --tier"),
            (None, None) => {
                let tiers: Vec<_> = self.tier.iter().map(Tier::json).collect();
                Ok(json!({"mode": "tiers", "tiers": tiers}))
            }
        }
    }

    fn rules(&self) -> anyhow::Result<Map<String, Value>> {
        let mut rules = Map::new();
        if let Some(seconds) = self.attempt_window {
            rules.insert("attempt_window_seconds".to_owned(), seconds.into());
        }
        if let Some(share) = self.discard {
            rules.insert("discard_probability".to_owned(), share.into());
        }
        if let Some(who) = &self.eligible {
            let who = match who.as_str() {
                "anyone" | "registered" => Value::from(who.as_str()),
                list => users("--eligible", list)?.into(),
            };
            rules.insert("eligible".to_owned(), who);
        }
        if let Some(blocked) = &self.blocked {
            let blocked = users("--blocked", blocked)?;
            rules.insert("blocked".to_owned(), blocked.into());
        }
        Ok(rules)
    }
}

fn from_file(path: &PathBuf) -> anyhow::Result<Value> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.with_context(|| format!("cannot read the campaign in {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// Creates the campaign and shows it.
pub(super) async fn run(args: CreateArgs, out: Out<'_>) -> anyhow::Result<ExitCode> {
    let body = args.body()?;
    let server = args.server.server()?;
    let key = args.idempotency_key.unwrap_or_else(fresh_key);
    // Said before it is sent: should everything break now, a repeat with it is still safe.
    eprintln!("idempotency key: {key}");
    let created = server
        .post("/monitor/api/campaigns", &body, Some(&key))
        .await
        .map_err(|error| advise_repeat(error, &key))?;
    if args.json {
        show::json(out, &created)?;
        return Ok(ExitCode::SUCCESS);
    }
    let campaign = Campaign::parse(&created)?;
    present(out, &campaign, true)?;
    if let Some(link) = &campaign.link {
        writeln!(out, "\nParticipants grab at {link}")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn parse(line: &[&str]) -> Result<CreateArgs, clap::Error> {
        let line = ["create"].iter().chain(line);
        Cli::try_parse_from(line).map(|cli| cli.args)
    }

    fn body(line: &[&str]) -> Value {
        parse(line).unwrap().body().unwrap()
    }

    #[test]
    fn the_missions_own_example() {
        let line = "--title T --packets 10 --batches 3 --interval 2s --lucky 10000 --min 5";
        let line: Vec<_> = line.split(' ').collect();
        let expected = json!({
            "title": "T", "packets": 10, "batches": 3, "interval_seconds": 2, "currency": "CNY",
            "split": {"mode": "lucky", "total": 10_000, "min": 5},
            "win_limit": {"count": 1, "per": "campaign"},
        });
        assert_eq!(body(&line), expected);
    }

    #[test]
    fn every_other_option() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("blocked");
        std::fs::write(&file, "mallory\n\n  eve \n").unwrap();
        let blocked = format!("@{}", file.display());
        let body = body(&[
            "--title",
            "T",
            "--tier",
            "a:b:1:8888",
            "--tier",
            "c:100:88",
            "--currency",
            "USD",
            "--starts-at",
            "2026-12-31T20:00:00+08:00",
            "--ends-at",
            "2027-01-01T00:00:00Z",
            "--limit",
            "2",
            "--per",
            "60s",
            "--attempt-window",
            "10",
            "--discard",
            "0.5",
            "--eligible",
            "bob, 小明",
            "--blocked",
            &blocked,
        ]);
        let expected = json!({
            "title": "T", "packets": 101, "batches": 1, "interval_seconds": 0, "currency": "USD",
            "starts_at": "2026-12-31T12:00:00.000Z", "ends_at": "2027-01-01T00:00:00.000Z",
            "split": {"mode": "tiers", "tiers": [
                {"label": "a:b", "count": 1, "amount": 8888},
                {"label": "c", "count": 100, "amount": 88},
            ]},
            "win_limit": {"count": 2, "per": {"seconds": 60}},
            "rules": {"attempt_window_seconds": 10, "discard_probability": 0.5,
                "eligible": ["bob", "小明"], "blocked": ["mallory", "eve"]},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_file_is_sent_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("campaign.json");
        std::fs::write(&file, r#"{"title":"T"}"#).unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(body(&["--from-file", path]), json!({"title": "T"}));
        assert!(parse(&["--from-file", path, "--title", "U"]).is_err());
        std::fs::write(&file, "{").unwrap();
        let error = parse(&["--from-file", path]).unwrap().body().unwrap_err();
        assert!(format!("{error:#}").contains("is no JSON"), "{error:#}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--packets 1 --equal 1",
            "--title T --equal 1",
            "--title T --packets 1",
            "--title T --packets 1 --equal 1 --lucky 1",
            "--title T --packets 1 --equal 1 --min 1",
            "--title T --packets 1 --equal 1 --per 60",
            "--title T --packets 1 --equal 1 --starts-at tomorrow",
            "--title T --tier First:1",
            "--title T --tier First:x:1",
        ] {
            let line: Vec<_> = line.split(' ').collect();
            assert!(parse(&line).is_err(), "{line:?}");
        }
    }
}
