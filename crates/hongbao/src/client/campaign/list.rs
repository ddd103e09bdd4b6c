//! `hongbao campaign list`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{
    server::ServerArgs,
    show::{self, Align, Campaign, Out, printable, table, utc_or_dash},
};

/// The most campaigns that are asked for at once.
const PAGE: usize = 200;

/// List campaigns, the newest first.
#[derive(Args)]
pub struct ListArgs {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// The list as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists campaigns.
pub(super) async fn run(args: ListArgs, out: Out<'_>) -> anyhow::Result<ExitCode> {
    let server = args.server.server()?;
    let mut campaigns: Vec<Value> = Vec::new();
    let mut before: Option<String> = None;
    while campaigns.len() < args.limit {
        let wanted = (args.limit - campaigns.len()).min(PAGE);
        let mut query = vec![("limit", wanted.to_string())];
        query.extend(before.map(|before| ("before", before)));
        let page = server.get("/monitor/api/campaigns", &query).await?;
        let listed = page["campaigns"].as_array().cloned();
        campaigns.extend(listed.unwrap_or_default());
        match &page["next_before"] {
            Value::Null => break,
            next => before = Some(next.as_str().map_or(next.to_string(), str::to_owned)),
        }
    }
    campaigns.truncate(args.limit);
    if args.json {
        show::json(out, &json!({ "campaigns": campaigns }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if campaigns.is_empty() {
        writeln!(out, "There are no campaigns on {} yet.", server.url)?;
        return Ok(ExitCode::SUCCESS);
    }
    let campaigns: Result<Vec<_>, _> = campaigns.iter().map(Campaign::parse).collect();
    let rows: Vec<_> = campaigns?.iter().map(row).collect();
    let heads = [
        ("id", Align::Left),
        ("state", Align::Left),
        ("packets", Align::Right),
        ("budget", Align::Right),
        ("starts", Align::Left),
        ("ends", Align::Left),
        ("title", Align::Left),
    ];
    table(out, &heads, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn row(campaign: &Campaign) -> Vec<String> {
    let state = match campaign.halted {
        Some(_) => format!("{}, HALTED", campaign.state),
        None => campaign.state.clone(),
    };
    let budget = campaign.budget;
    vec![
        campaign.id.clone(),
        state,
        campaign.packets_total.to_string(),
        budget.map_or_else(String::new, |budget| campaign.currency.both(budget)),
        utc_or_dash(campaign.starts_at.as_deref()),
        utc_or_dash(campaign.ends_at.as_deref()),
        printable(&campaign.title),
    ]
}
