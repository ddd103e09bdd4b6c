//! The wire protocols against what was recorded, and clients against the offline servers.

mod mns_replay;
