//! `hongbao campaign winners`.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;
use rules::{CampaignId, Fen};
use serde::Deserialize;
use serde_json::{Value, json};

use super::path;
use crate::client::{
    server::{Server, ServerArgs},
    show::{self, Align, Currency, Out, printable, table, utc, utc_or_dash},
};

/// Show who won what, or export it as CSV.
#[derive(Args)]
#[command(after_help = "\
Examples:
  All winners as CSV in a file:
    hongbao campaign winners ID --csv --out winners.csv

  What the person won who presents a code at the counter:
    hongbao campaign winners ID --code 'the code'")]
pub struct WinnersArgs {
    /// The campaign's id.
    #[arg(value_name = "ID")]
    id: CampaignId,
    /// Only users whose id has this in it.
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Only the wins of who presents this identification code.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// At most so many; all when left out.
    #[arg(long, value_name = "N", conflicts_with = "csv")]
    limit: Option<usize>,
    /// All as CSV, as the server streams it.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// With --csv: into this file, which appears when it is whole.
    #[arg(long, value_name = "FILE", requires = "csv")]
    out: Option<PathBuf>,
    /// All as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl WinnersArgs {
    /// The search, without a cursor.
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.q.clone().map(|q| ("q", q)));
        query.extend(self.code.clone().map(|code| ("code", code)));
        query
    }
}

#[derive(Deserialize)]
struct Row {
    packet: String,
    user: String,
    amount: Fen,
    claimed_at: String,
    redeemed_at: Option<String>,
}

/// Shows or exports the winners.
pub(super) async fn run(args: WinnersArgs, out: Out<'_>) -> anyhow::Result<ExitCode> {
    let server = args.server.server()?;
    if args.csv {
        match &args.out {
            None => stream(&server, &args, out).await?,
            Some(file) => export(&server, &args, file).await?,
        };
        return Ok(ExitCode::SUCCESS);
    }
    let winners = pages(&server, &args).await?;
    if args.json {
        show::json(out, &json!({ "winners": winners }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let campaign = server.get(&path(args.id, ""), &[]).await?;
    let currency = Currency::deserialize(&campaign)?;
    let mut rows = Vec::with_capacity(winners.len());
    for winner in &winners {
        let row = Row::deserialize(winner)
            .context("the server's winners are not what the contract says")?;
        rows.push(vec![
            row.packet,
            currency.both(row.amount),
            utc(&row.claimed_at),
            utc_or_dash(row.redeemed_at.as_deref()),
            printable(&row.user),
        ]);
    }
    let heads = [
        ("packet", Align::Left),
        ("amount", Align::Right),
        ("claimed", Align::Left),
        ("redeemed", Align::Left),
        ("user", Align::Left),
    ];
    if rows.is_empty() {
        writeln!(out, "No winners.")?;
    } else {
        table(out, &heads, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All winners that are wanted, page by page.
async fn pages(server: &Server, args: &WinnersArgs) -> anyhow::Result<Vec<Value>> {
    let wanted = args.limit.unwrap_or(usize::MAX);
    let mut winners = Vec::new();
    let mut cursor: Option<String> = None;
    while winners.len() < wanted {
        let mut query = args.query();
        query.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
        let page = server.get(&path(args.id, "/winners"), &query).await?;
        let listed = page["winners"].as_array();
        winners.extend(listed.cloned().unwrap_or_default());
        let next = page["next_cursor"].as_str().map(str::to_owned);
        if next.is_some() && next == cursor {
            bail!("the server's list of winners does not go on: it gives the same cursor again");
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    winners.truncate(wanted);
    Ok(winners)
}

/// Copies the server's CSV to `out` as it comes.
async fn stream(
    server: &Server,
    args: &WinnersArgs,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut query = args.query();
    query.push(("format", "csv".to_owned()));
    let mut reply = server.get_raw(&path(args.id, "/winners"), &query).await?;
    let broke = "the list of winners broke off; it is not whole";
    while let Some(chunk) = reply.chunk().await.context(broke)? {
        out.write_all(&chunk)?;
    }
    out.flush()?;
    Ok(())
}

/// Writes the CSV beside `file` and renames it, so that a broken transfer never looks whole.
async fn export(server: &Server, args: &WinnersArgs, file: &Path) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let cannot = |what: &str| format!("cannot {what} {}", file.display());
    let mut part = File::create(&beside).with_context(|| cannot("write"))?;
    stream(server, args, &mut part).await?;
    part.sync_all().with_context(|| cannot("finish"))?;
    std::fs::rename(&beside, file).with_context(|| cannot("finish"))?;
    eprintln!("written: {}", file.display());
    Ok(())
}
