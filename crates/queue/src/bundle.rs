//! The message that travels: a run of packets of one wave, sealed with a tag keyed from the
//! campaign's secret seed, so that who can write to the queue cannot mint money.
//!
//! The tag proves who made a bundle, not that its packets are still unclaimed: the ledger
//! decides that. Nothing here may read a field of a message before its tag is verified, the
//! version byte alone excepted.
//!
//! # Layout of a message, version 1, integers big-endian
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | flags: bit 0, tiers follow; the others are 0 |
//! | 16 | campaign |
//! | 4, 4, 2 | wave, first index, number of packets n |
//! | 1–8 each | n amounts in minor units, LEB128 in the shortest form |
//! | 2 each | n tiers, if flagged |
//! | 32 | HMAC-SHA256 of all before it |

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rules::{CampaignId, Fen, PacketId, Seed, limits::BUNDLE_PACKETS_MAX};
use sha2::Sha256;

const VERSION: u8 = 1;
const FLAG_TIERS: u8 = 1;
const HEADER_BYTES: usize = 1 + 1 + 16 + 4 + 4 + 2;
const TAG_BYTES: usize = 32;
/// 53 bits in groups of 7.
const AMOUNT_BYTES_MAX: usize = 8;
const TIER_BYTES: usize = 2;
/// Sets this use of the seed apart from every other.
const KEY_LABEL: &[u8] = b"hongbao bundle tag, version 1";

/// The longest sealed bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize =
    HEADER_BYTES + BUNDLE_PACKETS_MAX as usize * (AMOUNT_BYTES_MAX + TIER_BYTES) + TAG_BYTES;

// MNS takes bodies of at most 64 KiB, and base64 makes four bytes of three.
const _: () = assert!(BUNDLE_BYTES_MAX.div_ceil(3) * 4 <= 64 * 1024);
const _: () = assert!(BUNDLE_PACKETS_MAX <= u16::MAX as u32);

/// A run of packets of one wave that travels, is leased and is served together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The campaign.
    pub campaign: CampaignId,
    /// The wave, from 1.
    pub wave: u32,
    /// The index of the first packet within the wave, from 1.
    pub first_index: u32,
    /// What the packets hold, by ascending index; 1 to [`BUNDLE_PACKETS_MAX`] of them.
    pub amounts: Vec<Fen>,
    /// The packets' tiers, one for each amount, where the split is tiered.
    pub tiers: Option<Vec<u16>>,
}

/// Why a message is not a bundle of the campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// No bundle is as short or as long as this.
    #[error("a message of {0} bytes is no bundle")]
    Length(usize),
    /// Made by another version of this program, or not by it at all.
    #[error("the bundle is of the unknown version {0}")]
    Version(u8),
    /// Altered, forged, or sealed for another campaign.
    #[error("the bundle's tag does not fit")]
    Tag,
    /// Sealed under the right key, and yet not a bundle of this campaign within the limits.
    #[error("the bundle is malformed: {0}")]
    Malformed(&'static str),
}

impl Bundle {
    /// The packet at `place` (from 0) in the bundle, and what it holds; `None` beyond its end.
    #[must_use]
    pub fn packet(&self, place: usize) -> Option<(PacketId, Fen, Option<u16>)> {
        let amount = *self.amounts.get(place)?;
        let packet = PacketId {
            wave: self.wave,
            index: self.first_index + u32::try_from(place).ok()?,
        };
        let tier = self.tiers.as_ref().and_then(|t| t.get(place).copied());
        Some((packet, amount, tier))
    }

    /// What no bundle may break, sealed or opened.
    fn check(&self) -> Result<(), BundleError> {
        let packets = u32::try_from(self.amounts.len()).unwrap_or(u32::MAX);
        if packets == 0 || packets > BUNDLE_PACKETS_MAX {
            return Err(BundleError::Malformed("too few or too many packets"));
        }
        if self.wave == 0 || self.first_index == 0 {
            return Err(BundleError::Malformed("waves and indices count from 1"));
        }
        if self.first_index.checked_add(packets - 1).is_none() {
            return Err(BundleError::Malformed("its last index is too large"));
        }
        if self
            .tiers
            .as_ref()
            .is_some_and(|t| t.len() != self.amounts.len())
        {
            return Err(BundleError::Malformed("not one tier for each packet"));
        }
        Ok(())
    }
}

/// Seals and opens the bundles of one campaign.
#[derive(Clone)]
pub struct BundleSealer {
    /// Keyed once; cloned for each message.
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for BundleSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BundleSealer(secret)")
    }
}

fn hmac_under(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl BundleSealer {
    /// The sealer of the campaign that has this seed.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        let key = hmac_under(&seed.0).chain_update(KEY_LABEL).finalize();
        Self {
            keyed: hmac_under(&key.into_bytes()),
        }
    }

    /// The sealed message that carries `bundle`, at most [`BUNDLE_BYTES_MAX`] bytes.
    ///
    /// # Panics
    /// When `bundle` breaks what its fields promise: nothing wrong may be sent under a tag.
    #[must_use]
    pub fn encode(&self, bundle: &Bundle) -> Bytes {
        if let Err(error) = bundle.check() {
            panic!("a bundle about to be sent is wrong: {error}");
        }
        let packets = u16::try_from(bundle.amounts.len()).expect("checked to be at most 256");
        let mut message = Vec::with_capacity(HEADER_BYTES + TAG_BYTES + bundle.amounts.len() * 5);
        message.push(VERSION);
        message.push(if bundle.tiers.is_some() {
            FLAG_TIERS
        } else {
            0
        });
        message.extend_from_slice(bundle.campaign.0.as_bytes());
        message.extend_from_slice(&bundle.wave.to_be_bytes());
        message.extend_from_slice(&bundle.first_index.to_be_bytes());
        message.extend_from_slice(&packets.to_be_bytes());
        for amount in &bundle.amounts {
            put_amount(&mut message, *amount);
        }
        for tier in bundle.tiers.iter().flatten() {
            message.extend_from_slice(&tier.to_be_bytes());
        }
        let tag = self.keyed.clone().chain_update(&message).finalize();
        message.extend_from_slice(&tag.into_bytes());
        message.into()
    }

    /// The bundle of `campaign` that `message` carries.
    ///
    /// # Errors
    /// A [`BundleError`] for whatever [`Self::encode`] did not make for this campaign, byte for
    /// byte. The tag is compared in constant time.
    pub fn decode(&self, campaign: CampaignId, message: &[u8]) -> Result<Bundle, BundleError> {
        if !(HEADER_BYTES + 1 + TAG_BYTES..=BUNDLE_BYTES_MAX).contains(&message.len()) {
            return Err(BundleError::Length(message.len()));
        }
        if message[0] != VERSION {
            return Err(BundleError::Version(message[0]));
        }
        let (content, tag) = message.split_at(message.len() - TAG_BYTES);
        self.keyed
            .clone()
            .chain_update(content)
            .verify_slice(tag)
            .map_err(|_| BundleError::Tag)?;

        let bundle = read_content(&mut Reader(&content[1..]))?;
        bundle.check()?;
        if bundle.campaign != campaign {
            return Err(BundleError::Malformed("it is of another campaign"));
        }
        Ok(bundle)
    }
}

fn put_amount(message: &mut Vec<u8>, amount: Fen) {
    let mut rest = amount.units();
    while rest >= 0x80 {
        message.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    message.push((rest & 0x7f) as u8);
}

/// Reads all after the version byte, and insists that nothing follows.
fn read_content(reader: &mut Reader<'_>) -> Result<Bundle, BundleError> {
    let [flags] = reader.array()?;
    if flags & !FLAG_TIERS != 0 {
        return Err(BundleError::Malformed("unknown flags"));
    }
    let campaign = CampaignId(uuid::Uuid::from_bytes(reader.array()?));
    let wave = u32::from_be_bytes(reader.array()?);
    let first_index = u32::from_be_bytes(reader.array()?);
    let packets = u16::from_be_bytes(reader.array()?);
    if u32::from(packets) > BUNDLE_PACKETS_MAX {
        return Err(BundleError::Malformed("too few or too many packets"));
    }
    let amounts = (0..packets)
        .map(|_| reader.amount())
        .collect::<Result<_, _>>()?;
    let tiers = if flags & FLAG_TIERS != 0 {
        let tier = |_| reader.array().map(u16::from_be_bytes);
        Some((0..packets).map(tier).collect::<Result<_, _>>()?)
    } else {
        None
    };
    if !reader.0.is_empty() {
        return Err(BundleError::Malformed("bytes are left over"));
    }
    Ok(Bundle {
        campaign,
        wave,
        first_index,
        amounts,
        tiers,
    })
}

/// What is left to read of a message whose tag was verified.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(BundleError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn amount(&mut self) -> Result<Fen, BundleError> {
        let mut units = 0_u64;
        for group in 0..AMOUNT_BYTES_MAX {
            let [byte] = self.array()?;
            units |= u64::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                if byte == 0 && group > 0 {
                    return Err(BundleError::Malformed("an amount is not in shortest form"));
                }
                return Fen::new(units).ok_or(BundleError::Malformed("an amount is too large"));
            }
        }
        Err(BundleError::Malformed("an amount is too large"))
    }
}

#[cfg(test)]
mod tests;
