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

mod budget;
mod commitment;

use sha2::{Digest as _, Sha256};

use crate::{Fen, Seed, Split, Tranche, keystream::Keystream};

pub use budget::SplitRefusal;
pub use commitment::{canonical_parameters, commitment};

/// The version of the algorithm that [`split`] performs; kept with every wave.
pub const ALGORITHM: u32 = 1;

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

/// Lucky amounts before the shuffle, for terms whose budget was found.
///
/// The bounds of a draw never cross. Before each, n·min ≤ R ≤ n·max holds: at first because
/// [`Tranche::budget`] checked it, later because a draw of at least R − max·(n−1) leaves at most
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
