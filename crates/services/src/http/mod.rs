//! What every service needs to speak HTTP.
//!
//! # Layout
//! - [`edge`]: what stands around every route: the other layers, fallbacks, limits.
//! - [`request_id`], [`client_ip`], [`security_headers`], [`rate_limit`]: one layer each.
//! - [`credentials`], [`origin`], [`backoff`]: what logins and cookies need.
//! - [`error`], [`json`], [`query`], [`path`]: what is read and how refusals look.
//! - [`server`]: listeners; `connection`: each of theirs; `lane`, `head`: requests answered in front
//!   of hyper; `stall`, `paced`: peers that do not read, or hardly
//!   write; `place`: how many there may be.
//! - [`health`]: liveness and readiness.
//! - [`openapi`]: the published document and its page.
//! - [`campaign_json`]: a campaign as everybody sees it.

pub mod backoff;
pub mod campaign_json;
pub mod client_ip;
mod connection;
pub mod credentials;
pub mod edge;
pub mod error;
pub(crate) mod head;
pub mod health;
pub mod json;
mod lane;
pub mod openapi;
pub mod origin;
mod paced;
pub mod path;
mod place;
pub mod query;
pub mod rate_limit;
pub mod request_id;
pub mod security_headers;
pub mod server;
mod stall;

pub use client_ip::ClientIp;
pub use error::ApiError;
pub(crate) use head::Head;
pub use json::Json;
pub(crate) use lane::Answered;
pub use path::CampaignPath;
pub(crate) use place::Place;
pub use query::Query;
