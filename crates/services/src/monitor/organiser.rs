//! Who calls: the organiser, by API key or by session cookie.
//!
//! The guard stands before every route but setup and login. An API key that is wrong is refused,
//! never passed over in favour of a cookie; a request by cookie must come from our own pages.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, header, request::Parts};

use super::Monitor;
use crate::http::{
    ApiError,
    credentials::{bearer, cookie, sha256},
    origin,
};

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
    let sent = bearer(headers).map(|key| sha256(key.as_bytes()));
    match (&monitor.settings.api_key_sha256, sent) {
        (Some(key), Some(sent)) if constant_time::verify_slices_are_equal(key, &sent).is_ok() => {
            Ok(Organiser { username: None })
        }
        _ => Err(ApiError::unauthenticated("this is not the organiser's key")),
    }
}

/// The session token in the request's cookies.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, COOKIE)
}
