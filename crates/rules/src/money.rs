//! Money as whole minor units.

use serde::{Deserialize, Serialize};

use crate::limits::AMOUNT_MAX;

/// An amount or a sum in minor units of its currency (fen, cents), at most 2⁵³ − 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Fen(u64);

impl Fen {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One minor unit: the least a packet may hold.
    pub const ONE: Self = Self(1);
    /// The largest amount or sum.
    pub const MAX: Self = Self(AMOUNT_MAX);

    /// `units` minor units, or `None` above [`AMOUNT_MAX`].
    #[must_use]
    pub const fn new(units: u64) -> Option<Self> {
        if units <= AMOUNT_MAX {
            Some(Self(units))
        } else {
            None
        }
    }

    /// The number of minor units.
    #[must_use]
    pub const fn units(self) -> u64 {
        self.0
    }

    /// The sum, or `None` above [`AMOUNT_MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        // Two values below 2⁵³ cannot overflow 64 bits.
        Self::new(self.0 + other.0)
    }

    /// The difference, or `None` when it would be negative.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// `count` times this amount, or `None` above [`AMOUNT_MAX`].
    #[must_use]
    pub const fn checked_mul(self, count: u64) -> Option<Self> {
        match self.0.checked_mul(count) {
            Some(units) => Self::new(units),
            None => None,
        }
    }

    /// The sum of `amounts`, or `None` above [`AMOUNT_MAX`].
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

impl TryFrom<u64> for Fen {
    type Error = String;

    fn try_from(units: u64) -> Result<Self, Self::Error> {
        Self::new(units).ok_or_else(|| format!("{units} is more than {AMOUNT_MAX} minor units"))
    }
}

impl From<Fen> for u64 {
    fn from(amount: Fen) -> Self {
        amount.0
    }
}

impl std::fmt::Display for Fen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
