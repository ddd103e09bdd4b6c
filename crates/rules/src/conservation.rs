//! The equation that a campaign's books must satisfy at every instant: what was put in is
//! claimed, refunded or still there.
//!
//! It only judges numbers that an audit read elsewhere, and must never mend them.

use crate::Fen;

/// A campaign's books, of one instant: money, and the packets that hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// The sum of all tranches.
    pub budget: Fen,
    /// The sum of all claims.
    pub claimed: Fen,
    /// The sum given back by the close.
    pub refunded: Fen,
    /// The sum of the packets that can still be won or refunded.
    pub unclaimed: Fen,
    /// The packets of all tranches.
    pub packets_total: u64,
    /// How many are claimed.
    pub packets_claimed: u64,
    /// How many the close gave back.
    pub packets_refunded: u64,
    /// How many can still be won or refunded.
    pub packets_unclaimed: u64,
}

/// How the books of a campaign do not balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// The money does not add up.
    #[error(
        "the budget of {budget} is not claimed {claimed} + refunded {refunded} + unclaimed {unclaimed}"
    )]
    Money {
        /// See [`Books::budget`].
        budget: Fen,
        /// See [`Books::claimed`].
        claimed: Fen,
        /// See [`Books::refunded`].
        refunded: Fen,
        /// See [`Books::unclaimed`].
        unclaimed: Fen,
    },
    /// The packets do not add up.
    #[error(
        "the {total} packets are not claimed {claimed} + refunded {refunded} + unclaimed {unclaimed}"
    )]
    Packets {
        /// See [`Books::packets_total`].
        total: u64,
        /// See [`Books::packets_claimed`].
        claimed: u64,
        /// See [`Books::packets_refunded`].
        refunded: u64,
        /// See [`Books::packets_unclaimed`].
        unclaimed: u64,
    },
    /// A refund takes all that is left, but something is.
    #[error("{unclaimed} packets are left after {refunded} were refunded")]
    LeftAfterRefund {
        /// See [`Books::packets_refunded`].
        refunded: u64,
        /// See [`Books::packets_unclaimed`].
        unclaimed: u64,
    },
    /// A sum that its packets cannot hold: none is empty, and no packets hold nothing.
    #[error("{packets} {part} packets cannot hold {sum}")]
    Hollow {
        /// Which part of the books.
        part: &'static str,
        /// Its packets.
        packets: u64,
        /// Its money.
        sum: Fen,
    },
}

impl Books {
    /// Whether the books balance, in money and in packets.
    ///
    /// # Errors
    /// The first imbalance found.
    pub fn check(&self) -> Result<(), Imbalance> {
        if Fen::checked_sum([self.claimed, self.refunded, self.unclaimed]) != Some(self.budget) {
            return Err(Imbalance::Money {
                budget: self.budget,
                claimed: self.claimed,
                refunded: self.refunded,
                unclaimed: self.unclaimed,
            });
        }
        let packets = self
            .packets_claimed
            .checked_add(self.packets_refunded)
            .and_then(|sum| sum.checked_add(self.packets_unclaimed));
        if packets != Some(self.packets_total) {
            return Err(Imbalance::Packets {
                total: self.packets_total,
                claimed: self.packets_claimed,
                refunded: self.packets_refunded,
                unclaimed: self.packets_unclaimed,
            });
        }
        if self.packets_refunded > 0 && self.packets_unclaimed > 0 {
            return Err(Imbalance::LeftAfterRefund {
                refunded: self.packets_refunded,
                unclaimed: self.packets_unclaimed,
            });
        }
        for (part, packets, sum) in [
            ("claimed", self.packets_claimed, self.claimed),
            ("refunded", self.packets_refunded, self.refunded),
            ("unclaimed", self.packets_unclaimed, self.unclaimed),
        ] {
            if sum.units() < packets || (packets == 0 && sum != Fen::ZERO) {
                return Err(Imbalance::Hollow { part, packets, sum });
            }
        }
        Ok(())
    }
}
