//! The four services and what they share: one folder per service, one file per endpoint.
//!
//! # Layout
//! - [`http`]: what every service needs to speak HTTP: errors, JSON, identity, limits, the server.
//! - [`directory`]: this process's snapshot of the campaigns, read from the ledger.
//! - [`account`]: who may try: sessions, tokens, admission.
//! - [`redpacket`]: the grab: the only hot path.
//! - [`monitor`]: the organiser's control: issuing, watching, exporting, auditing.
//! - [`webpage`]: the pages, built into the binary.
//! - [`random`], [`task`]: randomness as a parameter; tasks whose panic ends the process.

pub mod account;
pub mod directory;
pub mod http;
pub mod monitor;
pub mod random;
pub mod redpacket;
pub mod task;
pub mod webpage;
