//! The log service: typed requests and replies, a client that retries, and an offline server.
//!
//! # Layout
//! - [`proto`]: logs on the wire.
//! - [`query`]: the language that the offline server is asked in.
//! - [`server`]: the offline server.

pub mod proto;
pub mod query;
pub mod server;
