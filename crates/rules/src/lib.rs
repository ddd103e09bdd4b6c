//! The pure rules of a rain: money, splits, waves, periods, admission and conservation.
//!
//! Nothing here reads a clock, draws ambient randomness or performs I/O; whatever varies is a
//! parameter. A rule that needs I/O to be tested is in the wrong crate.
//!
//! # Layout
//! - [`ids`]: campaigns, claims, grabs, users and packets, and how each is written.
//! - [`time`]: [`Timestamp`] and the [`Clock`] that callers hand in.
//! - [`money`]: [`Fen`], whole minor units with checked arithmetic.
//! - [`campaign`]: the terms of a campaign as the organiser gives them.
//! - [`check`]: which terms are refused, field by field, and why.
//! - [`split`](mod@split): how a tranche's budget becomes packets, and the commitment to it.
//! - [`schedule`]: how packets are cut into waves and waves into bundles.
//! - [`period`]: which period a win counts towards.
//! - [`admission`]: who may try: eligible, blocked, attempt window, random discard.
//! - [`outcome`]: what a grab can end in.
//! - [`conservation`]: the equation the books must satisfy at every instant.
//! - [`limits`]: every limit on size and number, by name.

pub mod admission;
pub mod campaign;
pub mod check;
pub mod conservation;
pub mod ids;
mod keystream;
pub mod limits;
pub mod money;
pub mod outcome;
pub mod period;
mod reading;
pub mod schedule;
pub mod split;
pub mod time;

pub use admission::{Attempt, RuleSet, Verdict};
pub use campaign::{Eligible, Per, Rules, Split, Tier, Tranche, WinLimit};
pub use check::Refusal;
pub use conservation::{Books, Imbalance};
pub use ids::{CampaignId, ClaimId, GrabId, PacketId, Seed, UserId};
pub use money::Fen;
pub use outcome::{Missed, Outcome, Rejected, Tally};
pub use schedule::{ScheduleRefusal, bundle_size, bundles, wave_sizes};
pub use split::{ALGORITHM, Shares, SplitRefusal, canonical_parameters, commitment, split};
pub use time::{Clock, Timestamp};
