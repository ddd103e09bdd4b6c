//! `hongbao verify`: recomputes every amount of an ended campaign from what everybody can read.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use rules::{
    Fen, PacketId, Seed, Tranche, schedule,
    split::{self, Shares},
};
use serde::Deserialize;

/// Recompute every amount of an ended campaign from its published seed.
///
/// The campaign is the answer of GET /redpacket/campaigns/ID once it has ended; the winners,
/// if given, are the CSV export of the console or of `hongbao campaign winners --csv`.
#[derive(Args)]
pub struct VerifyArgs {
    /// The campaign's public JSON, in a file.
    campaign: PathBuf,
    /// The winners' CSV; each amount in it is compared.
    #[arg(long, value_name = "FILE")]
    winners: Option<PathBuf>,
    /// The commitment you noted before the campaign began, in hex; compared with the file's.
    #[arg(long, value_name = "HEX")]
    commitment: Option<String>,
}

/// What verifying needs of the public campaign.
#[derive(Deserialize)]
struct Published {
    currency: String,
    waves: Vec<PublishedWave>,
    split_commitment: String,
    split_seed: Option<String>,
    split_tranches: Option<Vec<Tranche>>,
}

#[derive(Deserialize)]
struct PublishedWave {}

/// What verifying needs of a winner.
#[derive(Deserialize)]
struct PublishedWinner {
    packet: PacketId,
    amount: Fen,
}

/// Every packet's amount, made again.
struct Amounts {
    /// Packets of each wave of the creation.
    waves: Vec<u32>,
    /// By tranche.
    shares: Vec<Shares>,
}

impl Amounts {
    /// What `packet` holds; `None` when there is no such packet.
    fn of(&self, packet: PacketId) -> Option<Fen> {
        let wave = packet.wave.checked_sub(1)? as usize;
        let index = packet.index.checked_sub(1)? as usize;
        match self.waves.get(wave) {
            Some(&packets) => {
                let offset: usize = self.waves[..wave].iter().map(|&n| n as usize).sum();
                (index < packets as usize).then(|| self.shares[0].amount(offset + index))
            }
            // Each top-up is one more wave, and a tranche of its own.
            None => {
                let shares = self.shares.get(wave - self.waves.len() + 1)?;
                (index < shares.len()).then(|| shares.amount(index))
            }
        }
    }
}

/// Verifies, and says what was found.
///
/// # Errors
/// When a file cannot be read, or the campaign has not ended.
pub async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(&args.campaign)
        .with_context(|| format!("cannot read {}", args.campaign.display()))?;
    let published: Published = serde_json::from_str(&text)
        .with_context(|| format!("{} is no public campaign", args.campaign.display()))?;
    if let Some(noted) = &args.commitment
        && !noted.eq_ignore_ascii_case(&published.split_commitment)
    {
        println!("WRONG: the file's commitment is not the one you noted");
        return Ok(ExitCode::FAILURE);
    }
    let amounts = match recompute(&published)? {
        Ok(amounts) => amounts,
        Err(wrong) => {
            println!("WRONG: {wrong}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let packets: usize = amounts.shares.iter().map(Shares::len).sum();
    let sum = Fen::checked_sum(amounts.shares.iter().flat_map(Shares::amounts).copied())
        .context("the amounts add up to more than any budget")?;
    println!(
        "the seed matches the commitment; {packets} packets made again, {sum} minor units of {}",
        published.currency
    );
    let Some(path) = &args.winners else {
        return Ok(ExitCode::SUCCESS);
    };
    let wrong = compare(&amounts, path)?;
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Makes every amount again; the inner error says why the commitment does not hold.
fn recompute(published: &Published) -> anyhow::Result<Result<Amounts, String>> {
    let (Some(seed), Some(tranches)) = (&published.split_seed, &published.split_tranches) else {
        bail!("the campaign has not ended: its seed is not published yet");
    };
    let bytes = hex::decode(seed)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let seed = Seed(bytes.context("`split_seed` is not 32 bytes in hex")?);
    let first = tranches.first().context("`split_tranches` is empty")?;
    let batches = published.waves.len().checked_sub(tranches.len() - 1);
    let batches = batches.context("there are fewer waves than tranches")? as u32;
    let canonical =
        split::canonical_parameters(first.packets, batches, &published.currency, &first.split);
    if hex::encode(split::commitment(&seed, &canonical)) != published.split_commitment {
        return Ok(Err("the seed does not match the commitment".into()));
    }
    let waves = schedule::wave_sizes(first.packets, batches)?;
    let shares = tranches.iter().map(|tranche| split::split(&seed, tranche));
    Ok(Ok(Amounts {
        waves,
        shares: shares.collect::<Result<_, _>>()?,
    }))
}

/// Compares each winner's amount; gives the number of those that are wrong.
fn compare(amounts: &Amounts, path: &PathBuf) -> anyhow::Result<u64> {
    let mut csv =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut right, mut wrong) = (0, 0);
    for winner in csv.deserialize() {
        let winner: PublishedWinner =
            winner.with_context(|| format!("{} is no winners' export", path.display()))?;
        if amounts.of(winner.packet) == Some(winner.amount) {
            right += 1;
        } else {
            wrong += 1;
            println!("WRONG: packet {} was paid {}", winner.packet, winner.amount);
        }
    }
    println!("{right} winners were paid their packet's amount, {wrong} were not");
    Ok(wrong)
}
