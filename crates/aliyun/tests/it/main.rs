//! The wire protocols against what was recorded, and clients against the offline servers.

mod mns_client;
mod mns_replay;
