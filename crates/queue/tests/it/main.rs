//! The queue on real servers.

mod failures;
mod mns;
mod redis;
mod tls;
