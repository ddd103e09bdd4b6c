//! The queue on real servers.

mod failures;
mod redis;
mod tls;
