//! Places of which there are so many.

use tokio::sync::OwnedSemaphorePermit;

/// One of the places that may be taken, counted for as long as it is.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    taken: metrics::Gauge,
}

impl Place {
    /// The place of `permit`; `taken` counts them.
    pub(crate) fn new(permit: OwnedSemaphorePermit, taken: metrics::Gauge) -> Self {
        taken.increment(1.0);
        Self {
            _permit: permit,
            taken,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.decrement(1.0);
    }
}
