//! Who calls: the organiser, by API key or by session cookie.
//!
//! The guard stands before every route but setup and login. An API key that is wrong is refused,
//! never passed over in favour of a cookie; a request by cookie must come from our own pages.

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, header, request::Parts};

use super::Monitor;
use crate::http::{ApiError, origin};

/// The session cookie's name.
pub(crate) const COOKIE: &str = "hongbao_organiser";

/// The organiser that a request is from. An extractor behind [`guard`].
#[derive(Clone, Debug)]
pub(crate) struct Organiser {
    /// The login name; `None` for the API key.
    pub(crate) username: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Organiser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let organiser = parts.extensions.get::<Self>().cloned();
        organiser.ok_or_else(|| ApiError::unauthenticated("log in first"))
    }
}

/// Middleware: lets the organiser through and nobody else.
pub(crate) async fn guard(
    State(monitor): State<Arc<Monitor>>,
    mut request: Request,
    next: Next,
) -> Response {
    match authenticate(&monitor, request.headers(), request.method()).await {
        Ok(organiser) => {
            request.extensions_mut().insert(organiser);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn authenticate(
    monitor: &Monitor,
    headers: &HeaderMap,
    method: &Method,
) -> Result<Organiser, ApiError> {
    if headers.contains_key(header::AUTHORIZATION) {
        return by_api_key(monitor, headers);
    }
    let Some(token) = session_token(headers) else {
        let message = "log in, or send `Authorization: Bearer` with the organiser's key";
        return Err(ApiError::unauthenticated(message));
    };
    let Some(username) = monitor.ledger.session(&sha256(token.as_bytes())).await? else {
        return Err(ApiError::unauthenticated(
            "the session is over; log in again",
        ));
    };
    origin::check(headers, method, &monitor.settings.origin)?;
    Ok(Organiser {
        username: Some(username),
    })
}

fn by_api_key(monitor: &Monitor, headers: &HeaderMap) -> Result<Organiser, ApiError> {
    let value = headers.get(header::AUTHORIZATION);
    let sent = value
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| sha256(key.trim().as_bytes()));
    match (&monitor.settings.api_key_sha256, sent) {
        (Some(key), Some(sent)) if constant_time::verify_slices_are_equal(key, &sent).is_ok() => {
            Ok(Organiser { username: None })
        }
        _ => Err(ApiError::unauthenticated("this is not the organiser's key")),
    }
}

/// The session token in the request's cookies.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let cookies = lines.filter_map(|line| line.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// SHA-256: what is kept of tokens and compared of keys, so that neither the ledger nor the time
/// a comparison takes tells anything about them.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}
