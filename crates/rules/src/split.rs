//! How a tranche's budget becomes packets, and the public commitment to it.
//!
//! Every amount is a function of the seed and the terms alone, so that anyone who has the
//! published seed can compute them again. Nothing here may change what an [`ALGORITHM`] that
//! was used once gives: a campaign in mid-rain makes its amounts again after every restart. A
//! new rule is a new version beside the old one.
//!
//! # Algorithm 1
//! Random numbers come from the ChaCha20 keystream of RFC 8439 with the seed as its key, the
//! tranche's number as its nonce (12 bytes, little endian) and a block counter from 0. One
//! *draw* from `[low, high]`, with `span = high − low + 1`, reads 8 bytes as a little-endian
//! number `v`, reads again while `v ≥ 2⁶⁴ − (2⁶⁴ mod span)`, and gives `low + v mod span`. It
//! reads 8 bytes even where `span` is 1.
//!
//! - *Equal*: every packet holds the amount; nothing is drawn.
//! - *Lucky*: for each packet in turn, with R left for the n packets that have none yet, one
//!   draw from `[max(min, R − max·(n−1)), min(⌊2R/n⌋, R − min·(n−1), max)]`. An absent `max` is
//!   the total.
//! - *Tiers*: the prizes in the order of the terms, each as often as its count says.
//!
//! Lucky and tiered packets are then shuffled as one tranche (Fisher and Yates, in Durstenfeld's
//! form): for i from the last place, counted from 0, down to 1, one draw j from `[0, i]`, and
//! the packets at i and j change places.

use sha2::{Digest as _, Sha256};

use crate::{Fen, Seed, Split, Tier, Tranche, keystream::Keystream, limits};

/// The version of the algorithm that [`split`] performs; kept with every wave.
pub const ALGORITHM: u32 = 1;

/// Why a tranche cannot be split. The text continues the name of its [`Self::field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitRefusal {
    /// No packets.
    #[error("must be at least 1")]
    NoPackets,
    /// Over [`limits::PACKETS_MAX`] packets.
    #[error("must be at most {most}, not {0}", most = limits::PACKETS_MAX)]
    TooManyPackets(u32),
    /// Equal packets of nothing.
    #[error("must be at least 1 minor unit: no packet may be empty")]
    EmptyAmount,
    /// Equal packets whose sum is over [`limits::AMOUNT_MAX`].
    #[error(
        "is too large: {packets} packets of {amount} are more than {} in all",
        limits::AMOUNT_MAX
    )]
    AmountTooLarge {
        /// What each packet would hold.
        amount: Fen,
        /// How many packets.
        packets: u32,
    },
    /// Lucky packets that could hold nothing.
    #[error("must be at least 1 minor unit: no packet may be empty")]
    EmptyMin,
    /// A least amount above the greatest.
    #[error("must be at least `min` ({min}), not {max}")]
    MaxBelowMin {
        /// The least a packet may hold.
        min: Fen,
        /// The most a packet may hold.
        max: Fen,
    },
    /// A total that cannot give every packet its least amount.
    #[error("must be at least {least}: {packets} packets hold {min} or more each; it is {total}")]
    TotalTooSmall {
        /// The sum asked for.
        total: Fen,
        /// How many packets.
        packets: u32,
        /// The least a packet may hold.
        min: Fen,
        /// The least sum that can be split so.
        least: u128,
    },
    /// A total that does not fit into the packets.
    #[error("must be at most {most}: {packets} packets hold {max} or less each; it is {total}")]
    TotalTooLarge {
        /// The sum asked for.
        total: Fen,
        /// How many packets.
        packets: u32,
        /// The most a packet may hold.
        max: Fen,
        /// The greatest sum that can be split so.
        most: u128,
    },
    /// No prizes.
    #[error("must name at least one prize")]
    NoTiers,
    /// Over [`limits::TIERS_MAX`] prizes.
    #[error("must name at most {most} prizes, not {0}", most = limits::TIERS_MAX)]
    TooManyTiers(usize),
    /// A prize without packets.
    #[error("must be 1 or more packets each: the count of prize {0} is 0")]
    EmptyTier(usize),
    /// A prize of nothing.
    #[error("must hold at least 1 minor unit each: the amount of prize {0} is 0")]
    EmptyPrize(usize),
    /// Prizes that are not as many as the packets.
    #[error("must add up to `packets` ({packets}): the counts add up to {counted}")]
    CountMismatch {
        /// How many packets.
        packets: u32,
        /// The sum of the prizes' counts.
        counted: u64,
    },
    /// Prizes whose sum is over [`limits::AMOUNT_MAX`].
    #[error("are worth more than {} in all", limits::AMOUNT_MAX)]
    PrizesTooLarge,
}

impl SplitRefusal {
    /// The field of the organiser's terms that is to blame.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::NoPackets | Self::TooManyPackets(_) => "packets",
            Self::EmptyAmount | Self::AmountTooLarge { .. } => "split.amount",
            Self::EmptyMin => "split.min",
            Self::MaxBelowMin { .. } => "split.max",
            Self::TotalTooSmall { .. } | Self::TotalTooLarge { .. } => "split.total",
            Self::NoTiers
            | Self::TooManyTiers(_)
            | Self::EmptyTier(_)
            | Self::EmptyPrize(_)
            | Self::CountMismatch { .. }
            | Self::PrizesTooLarge => "split.tiers",
        }
    }
}

impl Tranche {
    /// The exact sum of the tranche's packets, once everything that could keep it from being
    /// split is ruled out.
    ///
    /// # Errors
    /// The first reason why it cannot be split.
    pub fn budget(&self) -> Result<Fen, SplitRefusal> {
        if self.packets == 0 {
            return Err(SplitRefusal::NoPackets);
        }
        if self.packets > limits::PACKETS_MAX {
            return Err(SplitRefusal::TooManyPackets(self.packets));
        }
        match &self.split {
            Split::Equal { amount } => equal_budget(self.packets, *amount),
            Split::Lucky { total, min, max } => lucky_budget(self.packets, *total, *min, *max),
            Split::Tiers { tiers } => tiers_budget(self.packets, tiers),
        }
    }
}

fn equal_budget(packets: u32, amount: Fen) -> Result<Fen, SplitRefusal> {
    if amount == Fen::ZERO {
        return Err(SplitRefusal::EmptyAmount);
    }
    amount
        .checked_mul(u64::from(packets))
        .ok_or(SplitRefusal::AmountTooLarge { amount, packets })
}

fn lucky_budget(packets: u32, total: Fen, min: Fen, max: Option<Fen>) -> Result<Fen, SplitRefusal> {
    if min == Fen::ZERO {
        return Err(SplitRefusal::EmptyMin);
    }
    if let Some(max) = max
        && max < min
    {
        return Err(SplitRefusal::MaxBelowMin { min, max });
    }
    let all = |each: Fen| u128::from(each.units()) * u128::from(packets);
    let least = all(min);
    if u128::from(total.units()) < least {
        return Err(SplitRefusal::TotalTooSmall {
            total,
            packets,
            min,
            least,
        });
    }
    if let Some(max) = max
        && u128::from(total.units()) > all(max)
    {
        return Err(SplitRefusal::TotalTooLarge {
            total,
            packets,
            max,
            most: all(max),
        });
    }
    Ok(total)
}

fn tiers_budget(packets: u32, tiers: &[Tier]) -> Result<Fen, SplitRefusal> {
    if tiers.is_empty() {
        return Err(SplitRefusal::NoTiers);
    }
    if tiers.len() > limits::TIERS_MAX {
        return Err(SplitRefusal::TooManyTiers(tiers.len()));
    }
    for (number, tier) in (1..).zip(tiers) {
        if tier.count == 0 {
            return Err(SplitRefusal::EmptyTier(number));
        }
        if tier.amount == Fen::ZERO {
            return Err(SplitRefusal::EmptyPrize(number));
        }
    }
    let counted: u64 = tiers.iter().map(|tier| u64::from(tier.count)).sum();
    if counted != u64::from(packets) {
        return Err(SplitRefusal::CountMismatch { packets, counted });
    }
    tiers
        .iter()
        .try_fold(Fen::ZERO, |sum, tier| {
            sum.checked_add(tier.amount.checked_mul(u64::from(tier.count))?)
        })
        .ok_or(SplitRefusal::PrizesTooLarge)
}

/// What each packet of a tranche holds, in the order in which waves are cut from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    amounts: Vec<Fen>,
    tiers: Option<Vec<u16>>,
}

impl Shares {
    /// How many packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.amounts.len()
    }

    /// Whether there are none, which [`split`] never gives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.amounts.is_empty()
    }

    /// What the packet at `place` of the tranche, from 0, holds.
    ///
    /// # Panics
    /// When `place` is not below [`Self::len`], as a slice does.
    #[must_use]
    pub fn amount(&self, place: usize) -> Fen {
        self.amounts[place]
    }

    /// The prize, counted from 0, of the packet at `place` of a tiered tranche; `None` for
    /// other splits and beyond the end.
    #[must_use]
    pub fn tier(&self, place: usize) -> Option<u16> {
        self.tiers.as_ref()?.get(place).copied()
    }

    /// All amounts, by place.
    #[must_use]
    pub fn amounts(&self) -> &[Fen] {
        &self.amounts
    }

    /// SHA-256 over the `packets` packets from place `offset` (from 0) on: of each its amount
    /// in 8 bytes and its prize in 2, both little endian, the prize `0xFFFF` where there are no
    /// prizes. Places beyond the end add nothing, so that such a range never has the digest of
    /// a whole one.
    #[must_use]
    pub fn range_digest(&self, offset: u32, packets: u32) -> [u8; 32] {
        let len = self.amounts.len();
        let start = usize::try_from(offset).map_or(len, |offset| offset.min(len));
        let count = usize::try_from(packets).unwrap_or(usize::MAX);
        let end = start.saturating_add(count).min(len);
        let mut digest = Sha256::new();
        for place in start..end {
            let mut entry = [0xFF_u8; 10];
            entry[..8].copy_from_slice(&self.amounts[place].units().to_le_bytes());
            if let Some(tier) = self.tier(place) {
                entry[8..].copy_from_slice(&tier.to_le_bytes());
            }
            digest.update(entry);
        }
        digest.finalize().into()
    }
}

/// The packets of `tranche`, by [algorithm 1](self#algorithm-1).
///
/// # Errors
/// See [`Tranche::budget`].
pub fn split(seed: &Seed, tranche: &Tranche) -> Result<Shares, SplitRefusal> {
    let budget = tranche.budget()?;
    let packets = tranche.packets;
    let places = usize::try_from(packets).unwrap_or(usize::MAX);
    let mut random = Keystream::new(&seed.0, &nonce(tranche.number));
    let shares = match &tranche.split {
        Split::Equal { amount } => Shares {
            amounts: vec![*amount; places],
            tiers: None,
        },
        Split::Lucky { total, min, max } => {
            let mut amounts = lucky(&mut random, packets, *total, *min, max.unwrap_or(*total));
            random.shuffle(&mut amounts);
            Shares {
                amounts,
                tiers: None,
            }
        }
        Split::Tiers { tiers } => {
            let mut prizes = Vec::with_capacity(places);
            for (number, tier) in (0_u16..).zip(tiers) {
                prizes.extend((0..tier.count).map(|_| number));
            }
            random.shuffle(&mut prizes);
            let amount = |&prize: &u16| tiers[usize::from(prize)].amount;
            Shares {
                amounts: prizes.iter().map(amount).collect(),
                tiers: Some(prizes),
            }
        }
    };
    assert_eq!(
        (
            shares.len(),
            Fen::checked_sum(shares.amounts.iter().copied())
        ),
        (places, Some(budget)),
        "a split must be exact"
    );
    Ok(shares)
}

fn nonce(tranche: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&tranche.to_le_bytes());
    nonce
}

/// Lucky amounts before the shuffle, for terms that [`lucky_budget`] let pass.
///
/// The bounds of a draw never cross. Before each, n·min ≤ R ≤ n·max holds: at first because
/// `lucky_budget` checked it, later because a draw of at least R − max·(n−1) leaves at most
/// max·(n−1), and one of at most R − min·(n−1) leaves at least min·(n−1). Then
/// - `min` is at most 2R/n (which is 2·min or more), R − min·(n−1) and `max`;
/// - R − max·(n−1) is at most R/n (as max ≥ R/n), and being whole at most ⌊2R/n⌋; it is at most
///   R − min·(n−1) (as min ≤ max); and at most `max` (as R ≤ n·max).
///
/// The last packet, n = 1, gets exactly R.
fn lucky(random: &mut Keystream, packets: u32, total: Fen, min: Fen, max: Fen) -> Vec<Fen> {
    let (min, max) = (min.units(), max.units());
    let mut left = total.units();
    (1..=u64::from(packets))
        .rev()
        .map(|n| {
            let others = n - 1;
            // Saturating is exact: what overflows 64 bits is above every `left`. 2R and
            // min·(n−1) ≤ R cannot overflow, both being at most 2⁵⁴.
            let low = min.max(left.saturating_sub(max.saturating_mul(others)));
            let high = (2 * left / n).min(left - min * others).min(max);
            let amount = random.between(low, high);
            left -= amount;
            Fen::new(amount).expect("a share is at most the total, which is a Fen")
        })
        .collect()
}

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
