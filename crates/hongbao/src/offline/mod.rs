//! What can be checked without a server.

pub mod audit;
pub mod verify;
