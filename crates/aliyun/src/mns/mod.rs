//! The message service: typed requests and replies, and a client that retries.
//!
//! # Layout
//! - [`Client`]: every operation on queues and messages.
//! - [`LongPoll`]: waits for messages, and gives way to a service that throttles.
//! - [`model`]: what travels, typed; [`Code`]: the service's error codes.
//! - `attributes`, `wire`: the same as XML. `call`: one signed call, with its retries.

mod attributes;
mod call;
mod client;
mod code;
pub mod model;
mod poll;
mod wire;

pub use self::{
    call::{MnsError, OpenError, Patience},
    client::{Client, Created},
    code::Code,
    poll::LongPoll,
    wire::NAMESPACE,
};
