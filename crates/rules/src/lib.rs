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
//! - [`split`]: how a tranche's budget becomes packets, and the commitment to it.
//! - [`schedule`]: how packets are cut into waves and waves into bundles.
//! - [`period`]: which period a win counts towards.
//! - [`admission`]: who may try: eligible, blocked, attempt window, random discard.
//! - [`outcome`]: what a grab can end in.
//! - [`conservation`]: the equation the books must satisfy at every instant.
//! - [`limits`]: every limit on size and number, by name.

pub mod campaign;
pub mod ids;
pub mod limits;
pub mod money;
pub mod outcome;
pub mod time;

pub use campaign::{Eligible, Per, Rules, Split, Tier, Tranche, WinLimit};
pub use ids::{CampaignId, ClaimId, GrabId, PacketId, Seed, UserId};
pub use money::Fen;
pub use outcome::{Missed, Outcome, Rejected, Tally};
pub use time::{Clock, Timestamp};
