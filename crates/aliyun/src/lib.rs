//! The wire protocols of the Alibaba Cloud message service (MNS) and log service (SLS): clients
//! of both, and an offline server of both for development and tests.
//!
//! It knows nothing of packets or campaigns. A secret never appears in an error or in a log line.
//!
//! # Layout
//! - [`sign`]: the signatures of MNS, SLS version 1 and SLS version 4.
//! - [`mns`]: typed requests and replies of MNS, and a client that retries.
//! - [`sls`]: the same of SLS.
//! - [`server`]: what serves the offline servers, and the offline MNS.
//! - [`xml`]: XML as MNS writes it.

pub mod mns;
mod no_answer;
mod reply_body;
pub mod server;
pub mod sign;
pub mod sls;
pub mod xml;
