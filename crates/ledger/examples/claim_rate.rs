//! How fast claims become durable: `claim_rate TARGET ROWS BATCH` claims through the ledger, one
//! batch after the other, and prints claims per second. TARGET is a directory (SQLite) or the
//! URL of a database. Its yardstick is `bare_insert`.

use std::{path::Path, sync::Arc, time::Instant};

use ledger::{
    ClaimAsk, ClaimResult, Ledger, NewCampaign, Seen, ServerLedger, SqliteLedger, SystemClock,
};
use rules::{
    CampaignId, ClaimId, Fen, PacketId, Rules, Seed, Split, Timestamp, Tranche, UserId, WinLimit,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, rows, batch] = &arguments[..] else {
        anyhow::bail!("usage: claim_rate DIR|URL ROWS BATCH");
    };
    let (rows, batch): (u32, u32) = (rows.parse()?, batch.parse()?);
    let ledger = open(target).await?;
    let id = CampaignId(uuid::Uuid::from_u128(u128::from(rand(&*ledger))));
    ledger
        .create_campaign(campaign(id, rows, ledger.now()), None)
        .await?;
    let campaign = ledger.campaign(id).await?.expect("just created");
    let start = Instant::now();
    for first in (0..rows).step_by(batch as usize) {
        let now = ledger.now();
        let ask = |n: u32| ClaimAsk {
            id: ClaimId(uuid::Uuid::from_u128(u128::from(n))),
            campaign: campaign.no,
            starts_at: campaign.starts_at,
            win_limit: campaign.win_limit,
            user: user(n),
            packet: PacketId {
                wave: 1,
                index: n + 1,
            },
            amount: Fen::new(100).expect("small"),
            tier: None,
            grab_id: None,
            asked_at: now,
        };
        let asks: Vec<_> = (first..rows.min(first + batch)).map(ask).collect();
        let results = ledger.claim(0, &asks).await?.results;
        let all_won = results.iter().all(|r| matches!(r, ClaimResult::Won(_)));
        anyhow::ensure!(all_won, "a claim was not won");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.0} claims/s", f64::from(rows) / seconds);
    let start = Instant::now();
    let wins = ledger
        .wins_after(campaign.no, &Seen::default())
        .await?
        .0
        .len();
    println!("{wins} wins read in {:.3} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let claims = ledger
        .audit_snapshot(id)
        .await?
        .map_or(0, |s| s.claims.len());
    println!(
        "{claims} claims to audit read in {:.3} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn open(target: &str) -> anyhow::Result<Arc<dyn Ledger>> {
    let clock = Arc::new(SystemClock);
    Ok(if target.contains("://") {
        Arc::new(ServerLedger::open(target, clock).await?)
    } else {
        Arc::new(SqliteLedger::open(Path::new(target), clock).await?)
    })
}

/// Differs from run to run, so that a target can be used again.
fn rand(ledger: &dyn Ledger) -> u64 {
    ledger.now().micros().unsigned_abs()
}

fn campaign(id: CampaignId, packets: u32, now: Timestamp) -> NewCampaign {
    NewCampaign {
        id,
        title: "claim rate".into(),
        currency: "CNY".into(),
        starts_at: now,
        ends_at: now.plus_seconds(3_600),
        interval_seconds: 0,
        win_limit: WinLimit::ONE,
        rules: Rules::default(),
        seed: Seed([1; 32]),
        commitment: [0; 32],
        tranche: Tranche {
            number: 0,
            packets,
            split: Split::Equal {
                amount: Fen::new(100).expect("small"),
            },
        },
        waves: Vec::new(),
    }
}

/// Users in no order, as a hash of a code is.
fn user(n: u32) -> UserId {
    let hash = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    UserId::trusted(&format!("u{hash:016x}"))
}
