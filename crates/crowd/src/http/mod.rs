//! What the crowd needs to speak the contract over HTTP.

pub(crate) mod contract;
pub(crate) mod link;
pub(crate) mod target;
