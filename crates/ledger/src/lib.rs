//! The ledger: the one truth about campaigns, waves, claims, refunds, users and counters.
//!
//! The queue only carries; what this crate has committed is what happened. It must never
//! answer before a commit is durable, and never decide by a clock or an order of events what a
//! unique key can decide.
//!
//! # Layout
//! - [`model`]: what is kept, as plain data.
//! - [`api`]: the [`Ledger`] trait that every database implements, and its errors.
//! - [`time`]: ledger time, which never goes back.
//! - `codec`, `claiming`, `conflict`, `bundling`, `issue`, `import`, `search`, `counting`: how
//!   values are written, and what calls and conflicts amount to, the same for every database.
//! - `failures`: calls that failed, counted.
//! - [`audit`]: the proof that the books balance, pure over one snapshot.
//! - [`sqlite`]: the embedded default.
//! - [`server`]: MySQL, MariaDB and PostgreSQL, for several processes.
//! - [`conformance`]: the suite that every implementation must pass.

pub mod api;
pub mod audit;
mod bundling;
mod claiming;
mod codec;
mod conflict;
pub mod conformance;
mod counting;
mod failures;
mod import;
mod issue;
pub mod model;
mod search;
pub mod server;
pub mod sqlite;
pub mod time;

pub use api::{ClaimError, Ledger, LedgerError};
pub use audit::{AuditPackets, AuditReport, audit};
pub use model::*;
pub use server::ServerLedger;
pub use sqlite::{OpenError, SqliteLedger};
pub use time::SystemClock;
