//! `hongbao audit`: audits a data directory that no server has open.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use ledger::{
    Campaign, Ledger as _,
    audit::{AuditReport, audit},
    sqlite::SqliteLedger,
    time::SystemClock,
};
use rules::CampaignId;

/// Campaigns read at once where all are audited.
const CAMPAIGNS_A_PAGE: u32 = 100;

/// Audit the campaigns in a data directory; exits 1 when the books of one do not balance.
#[derive(Args)]
pub struct AuditArgs {
    /// The data directory. No server may have it open.
    #[arg(
        long,
        env = "HONGBAO_DATA_DIR",
        default_value = "data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// Only this campaign.
    #[arg(long, value_name = "ID")]
    campaign: Option<CampaignId>,
    /// One JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

/// Audits, and says what was found.
///
/// # Errors
/// When the directory cannot be opened, or there is no such campaign.
pub async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let ledger = SqliteLedger::open_read_only(&args.data_dir, Arc::new(SystemClock))
        .await
        .with_context(|| format!("cannot audit {}", args.data_dir.display()))?;
    let mut balanced = true;
    let mut tell = |campaign: &Campaign, report: &AuditReport| {
        balanced &= report.balanced;
        if args.json {
            println!("{}", serde_json::to_string(report)?);
        } else {
            describe(campaign, report);
        }
        Ok(())
    };
    match args.campaign {
        Some(id) => {
            let campaign = ledger.campaign(id).await?;
            let campaign = campaign.context("there is no such campaign")?;
            tell(&campaign, &audited(&ledger, &campaign).await?)?;
        }
        None if each(&ledger, tell).await? == 0 => {
            println!("there are no campaigns in {}", args.data_dir.display());
        }
        None => {}
    }
    ledger.close().await;
    Ok(if balanced {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What an audit of everything came to.
pub(super) struct Audited {
    /// How many campaigns there are.
    pub(super) campaigns: usize,
    /// How many of them may still hand out packets.
    pub(super) not_ended: usize,
    /// Those whose books do not balance.
    pub(super) unbalanced: Vec<CampaignId>,
}

/// Audits every campaign of the ledger at `path`, which nobody may have open.
pub(super) async fn audit_all(path: &Path) -> anyhow::Result<Audited> {
    let ledger = SqliteLedger::open_read_only(path, Arc::new(SystemClock)).await?;
    let mut audited = Audited {
        campaigns: 0,
        not_ended: 0,
        unbalanced: Vec::new(),
    };
    let note = |campaign: &Campaign, report: &AuditReport| {
        audited.not_ended += usize::from(campaign.closed_at.is_none());
        if !report.balanced {
            audited.unbalanced.push(campaign.id);
        }
        Ok(())
    };
    audited.campaigns = each(&ledger, note).await?;
    ledger.close().await;
    Ok(audited)
}

/// Audits every campaign, and hands each report over; how many there are.
async fn each(
    ledger: &SqliteLedger,
    mut tell: impl FnMut(&Campaign, &AuditReport) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let (mut before, mut number) = (None, 0);
    loop {
        let page = ledger.campaigns(before, CAMPAIGNS_A_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(number);
        };
        before = Some(last.no);
        number += page.len();
        for campaign in &page {
            tell(campaign, &audited(ledger, campaign).await?)?;
        }
    }
}

async fn audited(ledger: &SqliteLedger, campaign: &Campaign) -> anyhow::Result<AuditReport> {
    let snapshot = ledger.audit_snapshot(campaign.id).await?;
    Ok(audit(&snapshot.context("the campaign went away")?))
}

fn describe(campaign: &Campaign, report: &AuditReport) {
    let verdict = if report.balanced {
        "balanced"
    } else {
        "NOT BALANCED"
    };
    println!("{}  {}  {verdict}", campaign.id, campaign.title);
    println!(
        "  {}: budget {} = claimed {} + unclaimed {} + refunded {}",
        campaign.currency, report.budget, report.claimed, report.unclaimed, report.refunded
    );
    let packets = &report.packets;
    println!(
        "  packets: {} = claimed {} + unclaimed {} + refunded {}",
        packets.total, packets.claimed, packets.unclaimed, packets.refunded
    );
    for difference in &report.differences {
        println!("  DIFFERENCE: {difference}");
    }
}
