//! What is published of the split before it is made: a text of its terms, and the hash that
//! binds the seed to it.
//!
//! Nothing here may change for an [`ALGORITHM`] that was used once: whoever kept a commitment
//! must be able to check it when the seed is revealed.

use sha2::{Digest as _, Sha256};

use super::ALGORITHM;
use crate::{Seed, Split, Tier};

/// What is public of a campaign's splits from the start: SHA-256 of the seed's 32 bytes
/// followed by the UTF-8 bytes of `canonical`, from [`canonical_parameters`].
#[must_use]
pub fn commitment(seed: &Seed, canonical: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(seed.0);
    digest.update(canonical);
    digest.finalize().into()
}

/// The terms of tranche 0 as the text that is committed to. UTF-8, every line ended by one line
/// feed, numbers in decimal without sign, leading zero or grouping:
///
/// ```text
/// hongbao split 1
/// packets=10
/// batches=3
/// currency=CNY
/// mode=lucky
/// total=10000
/// min=1
/// max=none
/// ```
///
/// The 1 of the first line is [`ALGORITHM`]. `max` is a number or `none`. After `mode=equal`
/// comes the one line `amount=100`. After `mode=tiers` comes a line for each prize, in order,
/// `tier=<count>,<amount>,<bytes>,<label>`: the third is the label's length in UTF-8 bytes, so
/// that no label can pass for another line.
#[must_use]
pub fn canonical_parameters(packets: u32, batches: u32, currency: &str, split: &Split) -> String {
    let head = format!(
        "hongbao split {ALGORITHM}\npackets={packets}\nbatches={batches}\ncurrency={currency}\n"
    );
    let terms = match split {
        Split::Equal { amount } => format!("mode=equal\namount={amount}\n"),
        Split::Lucky { total, min, max } => {
            let max = max.map_or_else(|| "none".to_owned(), |max| max.to_string());
            format!("mode=lucky\ntotal={total}\nmin={min}\nmax={max}\n")
        }
        Split::Tiers { tiers } => {
            let line = |tier: &Tier| {
                let (label, bytes) = (&tier.label, tier.label.len());
                format!("tier={},{},{bytes},{label}\n", tier.count, tier.amount)
            };
            let lines: String = tiers.iter().map(line).collect();
            format!("mode=tiers\n{lines}")
        }
    };
    head + &terms
}
