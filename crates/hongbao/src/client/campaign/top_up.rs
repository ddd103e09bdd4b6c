//! `hongbao campaign top-up`.

use std::process::ExitCode;

use clap::Args;
use rules::CampaignId;
use serde_json::json;

use super::{
    create::{Tier, fresh_key, tier, tier_packets},
    path,
    presented::present,
};
use crate::client::{
    server::{ServerArgs, advise_repeat},
    show::{self, Campaign, Out},
};

/// Add packets to a campaign, under its own split, as one more wave that opens at once.
#[derive(Args)]
#[command(after_help = "\
Examples:
  100 packets more, with ¥50.00 in all, for a campaign that splits at random:
    hongbao campaign top-up ID --packets 100 --total 5000

  100 packets more for a campaign whose packets are alike:
    hongbao campaign top-up ID --packets 100

  Prizes for a campaign of prizes:
    hongbao campaign top-up ID --tier Luck:100:88")]
pub struct TopUpArgs {
    /// The campaign's id.
    #[arg(value_name = "ID")]
    id: CampaignId,
    /// How many packets; with --tier, their counts' sum unless it is said.
    #[arg(long, value_name = "N", required_unless_present = "tier")]
    packets: Option<u32>,
    /// For a campaign that splits at random: what they hold together, in minor units.
    #[arg(long, value_name = "AMOUNT", conflicts_with = "tier")]
    total: Option<u64>,
    /// For a campaign of prizes: one prize, so many times, of this amount; repeat for each.
    #[arg(long, value_name = "LABEL:COUNT:AMOUNT", value_parser = tier)]
    tier: Vec<Tier>,
    /// Makes a repeat safe: the same key and request add packets once. Made anew and shown when
    /// left out.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The server's answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Tops a campaign up and shows it afterwards.
pub(super) async fn run(args: TopUpArgs, out: Out<'_>) -> anyhow::Result<ExitCode> {
    let packets = match args.packets {
        Some(packets) => packets,
        None => tier_packets(&args.tier)?,
    };
    let mut body = json!({ "packets": packets });
    if let Some(total) = args.total {
        body["total"] = total.into();
    }
    if !args.tier.is_empty() {
        body["tiers"] = args.tier.iter().map(Tier::json).collect();
    }
    let server = args.server.server()?;
    let key = args.idempotency_key.unwrap_or_else(fresh_key);
    // Said before it is sent: should everything break now, a repeat with it is still safe.
    eprintln!("idempotency key: {key}");
    let after = server
        .post(&path(args.id, "/top-up"), &body, Some(&key))
        .await
        .map_err(|error| advise_repeat(error, &key))?;
    if args.json {
        show::json(out, &after)?;
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "Topped up by {packets} packets: ")?;
    present(out, &Campaign::parse(&after)?, true)?;
    Ok(ExitCode::SUCCESS)
}
