//! The log service: typed requests and replies, a client that retries, and an offline server.
//!
//! # Layout
//! - [`Client`]: every operation of one project; [`model`]: what it takes and gives.
//! - `call`: one signed call, sent again where that can help; `endpoint`: where to.
//! - [`proto`]: logs on the wire.
//! - [`server`]: the offline server; [`query`]: the language that it is asked in.

mod call;
mod client;
mod endpoint;
pub mod model;
pub mod proto;
pub mod query;
pub mod server;
#[cfg(test)]
mod tests;

pub use self::{
    call::{OpenError, SlsError},
    client::Client,
    endpoint::check_endpoint,
    model::Signature,
};
pub use crate::mns::Patience;
