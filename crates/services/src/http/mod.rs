//! What every service needs to speak HTTP.

pub mod campaign_json;
pub mod error;
pub mod json;

pub use error::ApiError;
pub use json::Json;
