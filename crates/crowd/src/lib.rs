//! Simulated users: they log in, tap at a set rate, and afterwards audit the books against what
//! they were told.
//!
//! The crowd knows a server by its HTTP contract only, so that it can judge any implementation
//! of it. It must never believe the server about itself: every check of the audit compares two
//! things that were learned separately.
//!
//! # Layout
//! - [`options`]: what a run is asked to do, and its limits.
//! - `http/`: one connection (`link`), where it leads (`target`) and the bodies of the contract
//!   (`contract`).
//! - `run/`: logging in (`login`), arrivals (`arrivals`), taps and their repeats (`tapper`),
//!   counting (`tally`), and what is shown meanwhile (`progress`).
//! - [`audit`]: gathers the books (`gather`) and judges them by pure functions (`checks`).
//! - [`report`]: what a run found, as a table and as JSON.
//! - `random`: the seeded randomness.

pub mod audit;
mod http;
pub mod options;
mod random;
pub mod report;
mod run;

pub use http::target::Target;
pub use options::{CrowdError, Options};
pub use report::Report;
pub use run::run;
