//! Whether a tranche can be split, and what it holds in all.
//!
//! Everything that [`super::split`] relies on is checked here; a tranche that has a budget has
//! packets, each of at least one minor unit, whose exact sum it is.

use crate::{Fen, Split, Tier, Tranche, limits};

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
