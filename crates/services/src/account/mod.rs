//! Who is who and who may try: the account service.
//!
//! # Layout
//! - [`token`], [`key_set`]: participants' tokens, issued and verified.
//! - [`identity`]: who a request is from.
//! - [`codes`]: identification codes and what may be kept of them.
//! - [`admission`], [`registered`], [`attempts`], [`gates`]: who may try, and how often.
//! - [`asking`], [`remote`]: how grabs ask for that, in this process or another.
//! - [`service_key`]: what opens the inner listener.
//! - [`sessions`], [`verify`]: the endpoints.

pub mod admission;
pub mod asking;
pub mod attempts;
pub mod codes;
pub mod gates;
pub mod identity;
pub mod key_set;
pub mod registered;
pub mod remote;
pub mod service_key;
mod sessions;
pub mod token;
mod token_cache;
pub mod verify;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{extract::DefaultBodyLimit, middleware::from_fn_with_state};
use ledger::Ledger;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    codes::Codes, gates::Gates, registered::Registered, service_key::ServiceKey, token::Tokens,
};
use crate::{
    directory::Directory,
    http::{backoff::Backoff, origin::OriginRules, rate_limit::RateLimiter},
};

/// What the account service is made of.
pub struct Parts {
    /// The truth about imported users, and the time.
    pub ledger: Arc<dyn Ledger>,
    /// This process's snapshot of the campaigns, for their rules.
    pub directory: Arc<Directory>,
    /// Who may try.
    pub gates: Gates,
    /// The imported users' ids.
    pub registered: Arc<Registered>,
    /// Who is who.
    pub tokens: Arc<Tokens>,
    /// What is kept of codes.
    pub codes: Codes,
    /// Whether only imported users may log in; else anyone's code stands for a user.
    pub registered_only: bool,
    /// Where a cookie may be used from, and whether it is to be marked Secure.
    pub origins: OriginRules,
    /// How many logins an address may try; `None`: any number.
    pub limiter: Option<Arc<RateLimiter>>,
    /// Whether failed codes make clients on this machine wait, too.
    pub limit_loopback: bool,
}

/// The account service of one process.
pub struct Account {
    ledger: Arc<dyn Ledger>,
    directory: Arc<Directory>,
    gates: Gates,
    registered: Arc<Registered>,
    tokens: Arc<Tokens>,
    codes: Codes,
    registered_only: bool,
    origins: OriginRules,
    limiter: Option<Arc<RateLimiter>>,
    backoff: Backoff,
}

impl Account {
    /// The service, before it serves.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            ledger: parts.ledger,
            directory: parts.directory,
            gates: parts.gates,
            registered: parts.registered,
            tokens: parts.tokens,
            codes: parts.codes,
            registered_only: parts.registered_only,
            origins: parts.origins,
            limiter: parts.limiter,
            backoff: Backoff::new(parts.limit_loopback),
        })
    }
}

/// What everybody may reach.
pub fn router(account: Arc<Account>) -> OpenApiRouter {
    routes().with_state(account)
}

fn routes() -> OpenApiRouter<Arc<Account>> {
    OpenApiRouter::new().routes(routes!(sessions::create, sessions::show, sessions::delete))
}

fn inner_routes() -> OpenApiRouter<Arc<Account>> {
    OpenApiRouter::new()
        .routes(routes!(verify::verify))
        .routes(routes!(verify::withdraw))
}

/// What the routes are, for the API's description.
#[must_use]
pub fn api() -> utoipa::openapi::OpenApi {
    routes().merge(inner_routes()).into_openapi()
}

/// What only the other services may reach, on the inner listener and with `key`.
pub fn inner_router(account: Arc<Account>, key: ServiceKey) -> OpenApiRouter {
    inner_routes()
        .layer(DefaultBodyLimit::max(verify::BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::new(key), service_key::guard))
        .with_state(account)
}
