//! `hongbao campaign audit`.

use std::process::ExitCode;

use rules::Fen;
use serde::Deserialize;

use super::OneArgs;
use crate::client::show::{self, Align, Currency, Out, table, utc};

#[derive(Deserialize)]
struct Audit {
    balanced: bool,
    budget: Fen,
    claimed: Fen,
    unclaimed: Fen,
    refunded: Fen,
    packets: Packets,
    double_claims: u64,
    over_limit: u64,
    wrong_amounts: u64,
    checked_at: String,
}

#[derive(Deserialize)]
struct Packets {
    total: u64,
    claimed: u64,
    unclaimed: u64,
    refunded: u64,
}

/// Has the server audit a campaign; exits 1 when its books do not balance.
pub(super) async fn run(args: OneArgs, out: Out<'_>) -> anyhow::Result<ExitCode> {
    let server = args.server.server()?;
    let reply = server.get(&args.path("/audit"), &[]).await?;
    let audit = Audit::deserialize(&reply)?;
    if args.json {
        show::json(out, &reply)?;
    } else {
        let campaign = server.get(&args.path(""), &[]).await?;
        present(out, &audit, &Currency::deserialize(&campaign)?)?;
    }
    Ok(if audit.balanced {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn present(out: Out<'_>, audit: &Audit, currency: &Currency) -> anyhow::Result<()> {
    let heads = [
        ("", Align::Left),
        ("packets", Align::Right),
        ("money", Align::Right),
    ];
    let packets = &audit.packets;
    let rows = [
        ("claimed", packets.claimed, audit.claimed),
        ("unclaimed", packets.unclaimed, audit.unclaimed),
        ("refunded", packets.refunded, audit.refunded),
        ("budget", packets.total, audit.budget),
    ];
    let rows =
        rows.map(|(name, count, sum)| vec![name.to_owned(), count.to_string(), currency.both(sum)]);
    table(out, &heads, &rows)?;
    let faults = [
        ("packets claimed twice", audit.double_claims),
        ("users above the limit", audit.over_limit),
        ("claims of a wrong amount", audit.wrong_amounts),
    ];
    for (what, count) in faults {
        if count > 0 {
            writeln!(out, "FAULT: {what}: {count}")?;
        }
    }
    let verdict = if audit.balanced {
        "The books balance."
    } else {
        "THE BOOKS DO NOT BALANCE."
    };
    writeln!(out, "{verdict} Checked {}.", utc(&audit.checked_at))?;
    Ok(())
}
