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

/// The most campaigns audited in one go without naming one.
const CAMPAIGNS_MAX: u32 = 10_000;
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
    let campaigns = match args.campaign {
        Some(id) => vec![
            ledger
                .campaign(id)
                .await?
                .context("there is no such campaign")?,
        ],
        None => ledger.campaigns(None, CAMPAIGNS_MAX).await?,
    };
    if campaigns.is_empty() {
        println!("there are no campaigns in {}", args.data_dir.display());
    }
    let mut balanced = true;
    for campaign in &campaigns {
        let snapshot = ledger.audit_snapshot(campaign.id).await?;
        let report = audit(&snapshot.context("the campaign went away")?);
        balanced &= report.balanced;
        if args.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            tell(campaign, &report);
        }
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
    let mut before = None;
    loop {
        let page = ledger.campaigns(before, CAMPAIGNS_A_PAGE).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.no);
        for campaign in &page {
            let snapshot = ledger.audit_snapshot(campaign.id).await?;
            let report = audit(&snapshot.context("a campaign went away")?);
            audited.campaigns += 1;
            audited.not_ended += usize::from(campaign.closed_at.is_none());
            if !report.balanced {
                audited.unbalanced.push(campaign.id);
            }
        }
    }
    ledger.close().await;
    Ok(audited)
}

fn tell(campaign: &Campaign, report: &AuditReport) {
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
