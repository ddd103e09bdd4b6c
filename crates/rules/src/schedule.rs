//! How packets are cut into waves, and waves into bundles.
//!
//! It must never lose or double a packet: every cut covers exactly what it was given.

use crate::limits::{BUNDLE_PACKETS_MAX, PACKETS_MAX, WAVES_MAX};

/// Bundles that each replica should find in a wave, so that the replicas share it evenly.
const BUNDLES_PER_REPLICA: u32 = 8;

/// Why packets cannot be cut into waves. The text continues the name of its [`Self::field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleRefusal {
    /// No packets.
    #[error("must be at least 1")]
    NoPackets,
    /// Over [`PACKETS_MAX`] packets.
    #[error("must be at most {PACKETS_MAX}, not {0}")]
    TooManyPackets(u32),
    /// No waves.
    #[error("must be at least 1")]
    NoBatches,
    /// Over [`WAVES_MAX`] waves.
    #[error("must be at most {WAVES_MAX}, not {0}")]
    TooManyBatches(u32),
    /// Waves that would be empty.
    #[error("must be at most `packets` ({packets}), not {batches}: no wave may be empty")]
    MoreBatchesThanPackets {
        /// How many packets.
        packets: u32,
        /// How many waves.
        batches: u32,
    },
}

impl ScheduleRefusal {
    /// The field of the organiser's terms that is to blame.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::NoPackets | Self::TooManyPackets(_) => "packets",
            Self::NoBatches | Self::TooManyBatches(_) | Self::MoreBatchesThanPackets { .. } => {
                "batches"
            }
        }
    }
}

/// The packets of each wave, in order: as even as whole numbers allow, the larger ones first
/// (10 in 3 are 4, 3, 3).
///
/// # Errors
/// When a number is out of its limits, or a wave would be empty.
pub fn wave_sizes(packets: u32, batches: u32) -> Result<Vec<u32>, ScheduleRefusal> {
    if packets == 0 {
        return Err(ScheduleRefusal::NoPackets);
    }
    if packets > PACKETS_MAX {
        return Err(ScheduleRefusal::TooManyPackets(packets));
    }
    if batches == 0 {
        return Err(ScheduleRefusal::NoBatches);
    }
    if batches > WAVES_MAX {
        return Err(ScheduleRefusal::TooManyBatches(batches));
    }
    if batches > packets {
        return Err(ScheduleRefusal::MoreBatchesThanPackets { packets, batches });
    }
    let (size, larger) = (packets / batches, packets % batches);
    Ok((0..batches)
        .map(|wave| size + u32::from(wave < larger))
        .collect())
}

/// The packets per bundle of a wave of `packets` that `replicas` grab nodes share: from 1, the
/// literal "one message, one packet", to [`BUNDLE_PACKETS_MAX`]. No replicas count as one.
#[must_use]
pub fn bundle_size(packets: u32, replicas: u32) -> u32 {
    let bundles = replicas.max(1).saturating_mul(BUNDLES_PER_REPLICA);
    (packets / bundles).clamp(1, BUNDLE_PACKETS_MAX)
}

/// The bundles of a wave of `packets`: the index of the first packet of each, from 1, and how
/// many it holds: `size`, the last one perhaps fewer. A size of 0 counts as 1.
pub fn bundles(packets: u32, size: u32) -> impl Iterator<Item = (u32, u32)> {
    let size = size.max(1);
    (0..packets.div_ceil(size)).map(move |bundle| {
        let before = bundle * size;
        (before + 1, size.min(packets - before))
    })
}
