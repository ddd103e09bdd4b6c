//! How values are written into columns and read back, the same for every database.
//!
//! Reading never trusts: what does not decode is [`LedgerError::Corrupt`], never a default.

use rules::{CampaignId, ClaimId, Fen, GrabId, Tally, outcome::LATENCY_BUCKETS};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{LedgerError, WaveState, api::Result};

/// `value` as an integer column holds it.
///
/// # Errors
/// Above `i64::MAX`, which no count or sum within the limits reaches.
pub(crate) fn to_column(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| corrupt(format!("{value} does not fit a column")))
}

/// A count read from an integer column.
pub(crate) fn count(column: i64) -> Result<u64> {
    u64::try_from(column).map_err(|_| corrupt(format!("a count is {column}")))
}

/// A small number read from an integer column.
pub(crate) fn small<T: TryFrom<i64>>(column: i64, what: &str) -> Result<T> {
    T::try_from(column).map_err(|_| corrupt(format!("{what} is {column}")))
}

/// An amount as an integer column holds it.
pub(crate) fn amount_to_column(amount: Fen) -> i64 {
    i64::try_from(amount.units()).expect("an amount is below 2^53")
}

/// An amount read from an integer column.
pub(crate) fn amount(column: i64) -> Result<Fen> {
    let units = u64::try_from(column).ok().and_then(Fen::new);
    units.ok_or_else(|| corrupt(format!("an amount is {column}")))
}

/// How a wave's state is written.
pub(crate) fn state_to_column(state: WaveState) -> i64 {
    match state {
        WaveState::Planned => 0,
        WaveState::Issuing => 1,
        WaveState::Open => 2,
    }
}

/// A wave's state read back.
pub(crate) fn state(column: i64) -> Result<WaveState> {
    match column {
        0 => Ok(WaveState::Planned),
        1 => Ok(WaveState::Issuing),
        2 => Ok(WaveState::Open),
        other => Err(corrupt(format!("a wave's state is {other}"))),
    }
}

/// Terms as JSON text.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| corrupt(format!("cannot be written: {error}")))
}

/// Terms read from JSON text; `what` names the column.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(format!("{what}: {error}")))
}

/// 32 bytes read from a binary column; `what` names it.
pub(crate) fn bytes32(column: &[u8], what: &str) -> Result<[u8; 32]> {
    let length = column.len();
    let wrong = |_| corrupt(format!("{what} has {length} bytes instead of 32"));
    column.try_into().map_err(wrong)
}

/// A campaign's id read from a binary column.
pub(crate) fn campaign_id(column: &[u8]) -> Result<CampaignId> {
    uuid(column, "a campaign's id").map(CampaignId)
}

/// A claim's id read from a binary column.
pub(crate) fn claim_id(column: &[u8]) -> Result<ClaimId> {
    uuid(column, "a claim's id").map(ClaimId)
}

/// A Grab-Id read from a binary column.
pub(crate) fn grab_id(column: &[u8]) -> Result<GrabId> {
    uuid(column, "a Grab-Id").map(GrabId)
}

fn uuid(column: &[u8], what: &str) -> Result<Uuid> {
    Uuid::from_slice(column).map_err(|_| {
        let length = column.len();
        corrupt(format!("{what} has {length} bytes instead of 16"))
    })
}

/// Ends a run of pairs in a written tally.
const END: u64 = u64::MAX;

/// A tally as bytes: the outcomes, then the latencies, each as (place, count) pairs of those
/// that are not 0, in LEB128, closed by a mark. A second of one node takes some ten bytes.
pub(crate) fn tally_to_column(tally: &Tally) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    for counts in [&tally.outcomes[..], &tally.latencies[..]] {
        for (place, &count) in counts.iter().enumerate().filter(|&(_, &n)| n > 0) {
            push_varint(&mut bytes, place as u64);
            push_varint(&mut bytes, count);
        }
        push_varint(&mut bytes, END);
    }
    bytes
}

/// A tally read back. Places that this version does not know make it corrupt.
pub(crate) fn tally(column: &[u8]) -> Result<Tally> {
    const { assert!(LATENCY_BUCKETS < 128) };
    let mut tally = Tally::default();
    let mut rest = column;
    for counts in [&mut tally.outcomes[..], &mut tally.latencies[..]] {
        loop {
            let place = take_varint(&mut rest)?;
            if place == END {
                break;
            }
            let count = take_varint(&mut rest)?;
            let slot = usize::try_from(place).ok().and_then(|p| counts.get_mut(p));
            *slot.ok_or_else(|| corrupt(format!("a tally counts at place {place}")))? = count;
        }
    }
    if rest.is_empty() {
        Ok(tally)
    } else {
        Err(corrupt("a tally goes on after its end".into()))
    }
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest
            .split_first()
            .ok_or_else(|| corrupt("a tally is cut short".into()))?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(corrupt("a tally holds a number over 64 bits".into()))
}

/// What a row says that it must not.
pub(crate) fn corrupt(what: String) -> LedgerError {
    LedgerError::Corrupt(what)
}

#[cfg(test)]
mod tests {
    use rules::{Missed, Outcome};

    use super::*;

    #[test]
    fn a_tally_comes_back_as_it_was() {
        let mut counted = Tally::default();
        assert_eq!(tally(&tally_to_column(&counted)).unwrap(), counted);
        counted.outcomes[Outcome::Won.slot()] = 1;
        counted.outcomes[Outcome::Missed(Missed::SoldOut).slot()] = u64::from(u32::MAX) * 3;
        counted.latencies[0] = 127;
        counted.latencies[LATENCY_BUCKETS - 1] = 128;
        assert_eq!(tally(&tally_to_column(&counted)).unwrap(), counted);
    }

    #[test]
    fn a_damaged_tally_is_refused() {
        let mut counted = Tally::default();
        counted.outcomes[3] = 300;
        let bytes = tally_to_column(&counted);
        for cut in 0..bytes.len() {
            assert!(tally(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(tally(&longer).is_err());
        let mut elsewhere = bytes;
        elsewhere[0] = 99;
        assert!(tally(&elsewhere).is_err());
    }

    #[test]
    fn what_does_not_decode_is_corrupt() {
        assert!(amount(-1).is_err());
        assert!(amount(i64::MAX).is_err());
        assert!(state(3).is_err());
        assert!(bytes32(&[0; 31], "a digest").is_err());
        assert!(campaign_id(&[0; 15]).is_err());
        assert!(count(-1).is_err());
    }
}
