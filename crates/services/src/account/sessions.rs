//! `/account/sessions`: a participant logs in with an identification code, asks who they are,
//! and logs out.
//!
//! Stateless: the token is all there is of a session. The code must never appear in an answer,
//! an error or the log.

use std::{sync::Arc, time::Instant};

use axum::{
    Json as JsonAnswer,
    extract::State,
    response::{AppendHeaders, IntoResponse},
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use rules::{Timestamp, UserId};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

use super::{
    Account,
    codes::Code,
    identity::{self, COOKIE},
    token::LIFE_SECONDS,
};
use crate::http::{ApiError, ClientIp, Json, openapi::ErrorBody, origin};

/// A login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSession {
    /// The identification code: 1 to 64 characters, none of control.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    code: CodeText,
}

/// The code as sent. Its refusals do not repeat it, which serde's own would.
struct CodeText(String);

impl<'de> Deserialize<'de> for CodeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("must be a text")),
        }
    }
}

/// A session that has begun.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    /// To be sent as `Authorization: Bearer`; also set as a cookie.
    token: String,
    /// The participant's public id.
    #[schema(value_type = String)]
    user: UserId,
    /// When the token expires, at most 24 hours from now.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Whose session it is.
#[derive(Serialize, ToSchema)]
pub(super) struct CurrentSession {
    /// The participant's public id.
    #[schema(value_type = String)]
    user: UserId,
    /// When the token expires.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Logs in with an identification code.
///
/// Sets the token as an HttpOnly cookie, too. Failed codes make their address wait ever longer.
#[utoipa::path(
    post, path = "/account/sessions", tag = "account",
    request_body = NewSession,
    responses(
        (status = 200, description = "Logged in", body = Session),
        (status = 400, description = "`invalid_field`, `invalid_json`", body = ErrorBody),
        (status = 401, description = "`unknown_code`", body = ErrorBody),
        (status = 429, description = "`too_many_requests`, with Retry-After", body = ErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(account): State<Arc<Account>>,
    client: ClientIp,
    Json(request): Json<NewSession>,
) -> Result<impl IntoResponse, ApiError> {
    if let Some(limiter) = &account.limiter {
        limiter.check(client)?;
    }
    account.backoff.check(client, Instant::now())?;
    let code = Code::new(&request.code.0).map_err(|refusal| ApiError::invalid("code", refusal))?;
    let user = user_of(&account, &code).await?;
    // Again, before anything is told: of many that came together, the first have failed by now.
    account.backoff.check(client, Instant::now())?;
    let Some(user) = user else {
        account.backoff.failed(client, Instant::now());
        metrics::counter!("hongbao_logins_failed_total").increment(1);
        let message = "nobody is registered with this code";
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "unknown_code",
            message,
        ));
    };
    account.backoff.succeeded(client, Instant::now());
    let (token, expires_at) = account.tokens.issue(&user, account.ledger.now());
    let cookie = set_cookie(&account, &token, LIFE_SECONDS);
    let session = Session {
        token,
        user,
        expires_at,
    };
    Ok((NO_STORE, cookie, JsonAnswer(session)))
}

/// The participant who presents `code`; `None`: nobody is registered with it.
async fn user_of(account: &Account, code: &Code) -> Result<Option<UserId>, ApiError> {
    if !account.registered_only {
        return Ok(Some(account.codes.anonymous_user(code)));
    }
    let hash = account.codes.code_hash(code);
    let Some(user) = account.ledger.user_by_code(&hash).await? else {
        return Ok(None);
    };
    // Who was imported a moment ago, by another process perhaps, is not to be told at the first
    // grab that they are not.
    account
        .registered
        .ensure(&user.id, &*account.ledger)
        .await?;
    Ok(Some(user.id))
}

/// Whose session this is.
#[utoipa::path(
    get, path = "/account/sessions", tag = "account",
    security(("participant_token" = []), ("participant_cookie" = [])),
    responses(
        (status = 200, description = "A valid session", body = CurrentSession),
        (status = 401, description = "`unauthenticated`", body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(account): State<Arc<Account>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let now = account.ledger.now();
    let (tokens, origins) = (&account.tokens, &account.origins);
    let verified = identity::session(&headers, &Method::GET, tokens, origins, now)?;
    let session = CurrentSession {
        user: verified.user,
        expires_at: verified.expires_at,
    };
    Ok((NO_STORE, JsonAnswer(session)))
}

/// Logs out: clears the cookie. A token that was copied elsewhere stays valid until it expires.
#[utoipa::path(
    delete, path = "/account/sessions", tag = "account",
    responses(
        (status = 204, description = "The cookie is cleared"),
        (status = 403, description = "`cross_origin`", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    State(account): State<Arc<Account>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    if headers.contains_key(header::COOKIE) {
        origin::check(&headers, &Method::DELETE, &account.origins)?;
    }
    Ok((StatusCode::NO_CONTENT, set_cookie(&account, "", 0)))
}

const NO_STORE: AppendHeaders<[(HeaderName, &str); 1]> =
    AppendHeaders([(header::CACHE_CONTROL, "no-store")]);

fn set_cookie(
    account: &Account,
    token: &str,
    max_age_seconds: i64,
) -> AppendHeaders<[(HeaderName, String); 1]> {
    let secure = if account.origins.secure() {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_seconds}{secure}"
    );
    AppendHeaders([(header::SET_COOKIE, cookie)])
}
