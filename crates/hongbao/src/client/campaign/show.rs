//! `hongbao campaign show`.

use std::process::ExitCode;

use serde_json::Value;

use super::{OneArgs, presented::present};
use crate::client::show::{self, Campaign, Out, facts};

/// Shows a campaign and how it stands now.
pub(super) async fn run(args: OneArgs, out: Out<'_>) -> anyhow::Result<ExitCode> {
    let server = args.server.server()?;
    let mut shown = server.get(&args.path(""), &[]).await?;
    let live = server.get(&args.path("/live"), &[]).await?;
    if args.json {
        shown["live"] = live;
        show::json(out, &shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    present(out, &Campaign::parse(&shown)?, true)?;
    writeln!(out, "\nNow")?;
    facts(out, &now(&live))?;
    Ok(ExitCode::SUCCESS)
}

/// The live state: packets, then the answers to grabs.
fn now(live: &Value) -> Vec<(&str, String)> {
    let mut facts = Vec::new();
    let packets = [
        "issued",
        "queued",
        "leased",
        "claimed",
        "remaining",
        "refunded",
    ];
    for name in packets {
        if let Some(count) = live[name].as_u64() {
            facts.push((name, format!("{count} packets")));
        }
    }
    if let Some(rate) = live["grabs_per_second"].as_f64() {
        facts.push(("grabs", format!("{rate:.1} a second")));
    }
    let outcomes = &live["by_outcome"];
    for name in ["won", "repeated", "unavailable"] {
        if let Some(count) = outcomes[name].as_u64() {
            facts.push((name, format!("{count} grabs")));
        }
    }
    for name in ["missed", "rejected"] {
        let reasons = outcomes[name].as_object().into_iter().flatten();
        let reasons: Vec<_> = reasons
            .filter(|(_, count)| count.as_u64() != Some(0))
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        if !reasons.is_empty() {
            facts.push((name, reasons.join(", ")));
        }
    }
    facts
}
