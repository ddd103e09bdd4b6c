//! What can be checked without a server.

pub mod audit;
pub mod backup;
mod manifest;
pub mod restore;
pub mod verify;
