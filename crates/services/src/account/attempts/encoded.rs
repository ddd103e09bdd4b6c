//! An attempt as bytes, for memories that know nothing of attempts.

use bytes::Bytes;
use rules::{GrabId, Timestamp, admission::Attempt};
use uuid::Uuid;

use super::AttemptsError;

/// What bit of the first byte says that the attempt was discarded.
const DISCARDED: u8 = 1;
/// What bit says that a Grab-Id follows.
const NAMED: u8 = 2;

/// An attempt in bytes: what it is, when (microseconds, big endian), its Grab-Id if it has one.
/// No attempt is no byte.
pub(super) fn encode(attempt: Option<Attempt>) -> Bytes {
    let Some(attempt) = attempt else {
        return Bytes::new();
    };
    let mut bytes = Vec::with_capacity(25);
    let discarded = if attempt.discarded { DISCARDED } else { 0 };
    let named = if attempt.grab_id.is_some() { NAMED } else { 0 };
    bytes.push(discarded | named);
    bytes.extend(attempt.at.micros().to_be_bytes());
    if let Some(GrabId(id)) = attempt.grab_id {
        bytes.extend(id.as_bytes());
    }
    bytes.into()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Option<Attempt>, AttemptsError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let parts = bytes.split_first_chunk::<1>().and_then(|(flags, rest)| {
        let (at, id) = rest.split_first_chunk::<8>()?;
        Some((flags[0], i64::from_be_bytes(*at), id))
    });
    let (flags, at, id) = parts.ok_or_else(|| strange(&bytes))?;
    let grab_id = match (flags & NAMED, id.len()) {
        (0, 0) => None,
        (NAMED, 16) => Some(GrabId(Uuid::from_slice(id).map_err(|_| strange(&bytes))?)),
        _ => return Err(strange(&bytes)),
    };
    if flags & !(DISCARDED | NAMED) != 0 {
        return Err(strange(&bytes));
    }
    Ok(Some(Attempt {
        at: Timestamp::from_micros(at),
        grab_id,
        discarded: flags & DISCARDED != 0,
    }))
}

fn strange(what: &dyn std::fmt::Debug) -> AttemptsError {
    AttemptsError(format!(
        "something strange is remembered of a user: {what:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(at: i64) -> Option<Attempt> {
        Some(Attempt {
            at: Timestamp::from_micros(at),
            grab_id: (at % 2 == 0).then(|| GrabId(Uuid::from_u128(7))),
            discarded: at % 3 == 0,
        })
    }

    #[test]
    fn every_attempt_is_read_as_it_was_written() {
        assert_eq!(decode(&encode(None)).expect("nothing"), None);
        for at in [i64::MIN, -1, 0, 1, 2, 3, 1_800_000_000_000_000, i64::MAX] {
            assert_eq!(
                decode(&encode(attempt(at))).expect("an attempt"),
                attempt(at)
            );
        }
        let longest = encode(attempt(6));
        for end in 1..longest.len() {
            decode(&longest[..end]).expect_err("cut short");
        }
        decode(b"\x04not known").expect_err("of another version");
    }
}
