//! The ledger on a database server: MySQL, MariaDB and what speaks like them, and PostgreSQL.
//!
//! Any number of processes share one database; what excludes what is a row's lock, never a lock
//! of this process. Writes are READ COMMITTED: every rule they need is a unique key, or is read
//! under the lock of the row that decides it. Audits read one snapshot (REPEATABLE READ).
//!
//! Nothing here uses what managed databases refuse: no stored procedures, triggers, XA or
//! rights beyond those on its own tables.
//!
//! # Layout
//! - [`sql`], [`pool`], [`bind`], [`value`], [`dialect`], [`fault`]: one small layer over the two
//!   drivers.
//! - [`open`], [`connect`], [`migrate`], [`offset`]: connections, the schema, the database's time.
//! - [`delegate`], [`patience`]: the trait, and how long a call is tried again.
//! - [`durable`]: what an acknowledgement means on this database.
//! - [`campaigns`], [`change`], [`waves`], [`bundles`]: what an organiser issues.
//! - [`claims`], [`fence`], [`insert`], [`standing`]: the hot path; [`doubt`]: what became of it.
//! - [`wins`], [`follow`], [`snapshot`]: reading claims.
//! - [`lead`]: which monitor leads.
//! - [`counters`], [`people`]: statistics; users, organisers, sessions.
//! - [`secrets`], [`attempts`]: what processes share that have nothing else to share it by.

mod attempts;
mod bind;
mod bundles;
mod campaigns;
mod change;
mod claims;
mod connect;
mod counters;
mod delegate;
mod dialect;
mod doubt;
mod durable;
mod fault;
mod fence;
mod follow;
mod insert;
mod lead;
mod migrate;
mod offset;
mod open;
mod patience;
mod people;
mod pool;
mod secrets;
mod snapshot;
mod sql;
mod standing;
mod value;
mod waves;
mod wins;

use std::sync::Arc;

use self::open::Inner;
pub use self::{attempts::AttemptSwap, migrate::SCHEMA, offset::TimeSource, secrets::LedgerSecret};

/// The ledger in a database that a server keeps. Cheap to clone; each value opened has
/// connections of its own.
#[derive(Clone)]
pub struct ServerLedger {
    inner: Arc<Inner>,
}
