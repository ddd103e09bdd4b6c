//! A tap: one wish for a packet, however often it is sent.

use rules::GrabId;

use crate::http::ApiError;

/// One tap, as its headers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tap {
    /// Names the tap; a repeat has the same.
    pub(super) id: Option<GrabId>,
    /// 1 for the first ask of the tap.
    pub(super) attempt: u32,
}

impl Tap {
    /// The tap's headers, all of a name as `headers` gives them. 400 when one makes no sense.
    pub(super) fn read<'h, V: Iterator<Item = &'h [u8]>>(
        headers: impl Fn(&'static str) -> V,
    ) -> Result<Self, ApiError> {
        let text = |name| {
            let mut values = headers(name);
            let value = values.next();
            if values.next().is_some() {
                return Err(ApiError::invalid_header(name, "must be sent once"));
            }
            let text = value.map(std::str::from_utf8).transpose();
            text.map_err(|_| ApiError::invalid_header(name, "is no plain text"))
        };
        let id = text("Grab-Id")?
            .map(|id| {
                id.parse()
                    .map_err(|_| ApiError::invalid_header("Grab-Id", "must be a UUID"))
            })
            .transpose()?;
        let attempt = text("Grab-Attempt")?
            .map(|count| count.parse().ok().filter(|&count: &u32| count >= 1))
            .map(|count| {
                count.ok_or_else(|| {
                    ApiError::invalid_header("Grab-Attempt", "must be a whole number from 1")
                })
            })
            .transpose()?;
        Ok(Self {
            id,
            attempt: attempt.unwrap_or(1),
        })
    }
}
