//! What became of the grabs: counted exactly and logged, without ever blocking a grab.
//!
//! Nothing here decides anything, and nothing here is the truth about a win: the ledger is.
//!
//! # Layout
//! - [`counters`]: how many grabs ended how and how fast, per campaign, taken every second and
//!   saved to the ledger by whoever owns the [`Counters`].
//! - [`access_log`]: one JSON line for a grab, or for many alike when there are too many.
//! - [`sls`]: the same lines shipped to the log service, and their statistics read back.

pub mod access_log;
pub mod counters;
pub mod sls;
mod thread_slot;

pub use access_log::{AccessLog, AccessLogOptions, AccessLogStats, Grab};
pub use counters::Counters;
