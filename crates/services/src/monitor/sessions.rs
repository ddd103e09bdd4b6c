//! `/monitor/api/sessions`: the organiser logs in, asks who they are, and logs out.
//!
//! The token is 256 random bits; the ledger keeps only its SHA-256. Wrong names and wrong
//! passwords get the same answer after the same work.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::IntoResponse};
use http::{StatusCode, header};
use rules::{Timestamp, ids::normal_name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Monitor,
    organiser::{COOKIE, Organiser, session_token},
    passwords::PASSWORD_BYTES_MAX,
};
use crate::http::{ApiError, ClientIp, Json, credentials::sha256, openapi::ErrorBody};
use crate::random::draw;

/// How long a session lasts, in seconds.
const SESSION_SECONDS: i64 = 12 * 3_600;

/// A login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    /// Login name.
    username: String,
    /// Password.
    password: String,
}

/// The session that has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// Login name.
    username: String,
    /// When the session ends by itself.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Who is logged in.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoIsIt {
    /// Login name; null for the API key.
    username: Option<String>,
}

/// Logs in; the answer sets the session cookie.
#[utoipa::path(post, path = "/monitor/api/sessions", tag = "monitor",
    request_body = LoginRequest,
    responses(
        (status = 200, body = Session),
        (status = 400, body = ErrorBody, description = "`invalid_field`"),
        (status = 401, body = ErrorBody, description = "`wrong_credentials`"),
        (status = 429, body = ErrorBody, description = "`too_many_requests`, with Retry-After"),
        (status = 503, body = ErrorBody, description = "`unavailable`")))]
pub(crate) async fn login(
    State(monitor): State<Arc<Monitor>>,
    client: ClientIp,
    Json(request): Json<LoginRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let username =
        normal_name(&request.username).map_err(|refusal| ApiError::invalid("username", refusal))?;
    if request.password.is_empty() || request.password.len() > PASSWORD_BYTES_MAX {
        let reason = format!("must have 1 to {PASSWORD_BYTES_MAX} bytes");
        return Err(ApiError::invalid("password", reason));
    }
    let now = monitor.ledger.now();
    let attempt = monitor.tries.begin(client, &username, now);
    let attempt = attempt.map_err(|wait_seconds| {
        metrics::counter!("hongbao_login_refused_total").increment(1);
        too_many_tries(wait_seconds)
    })?;

    let matches = password_matches(&monitor, &username, request.password).await;
    if !matches.inspect_err(|_undecided| monitor.tries.undecided(&attempt, now))? {
        tracing::warn!(client.address = %client.0, "a login failed");
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "wrong_credentials",
            "no organiser has this username and password",
        ));
    }
    monitor.tries.succeeded(attempt);

    let token = hex::encode(draw::<32>(monitor.random.as_ref()));
    let expires_at = monitor.ledger.now().plus_seconds(SESSION_SECONDS);
    let token_hash = sha256(token.as_bytes());
    let ledger = &monitor.ledger;
    ledger
        .add_session(&token_hash, &username, expires_at)
        .await?;
    tracing::info!(username, "the organiser logged in");
    let cookie = set_cookie(&monitor, &token, SESSION_SECONDS);
    let session = Session {
        username,
        expires_at,
    };
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(session)))
}

/// Who is logged in.
#[utoipa::path(get, path = "/monitor/api/sessions", tag = "monitor",
    responses((status = 200, body = WhoIsIt), (status = 401, body = ErrorBody, description = "`unauthenticated`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn who(organiser: Organiser) -> axum::Json<WhoIsIt> {
    axum::Json(WhoIsIt {
        username: organiser.username,
    })
}

/// Logs out; repeated, or with the API key, it changes nothing.
#[utoipa::path(delete, path = "/monitor/api/sessions", tag = "monitor",
    responses((status = 204), (status = 401, body = ErrorBody, description = "`unauthenticated`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn logout(
    State(monitor): State<Arc<Monitor>>,
    organiser: Organiser,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    if let (Some(username), Some(token)) = (organiser.username, session_token(&headers)) {
        let token_hash = sha256(token.as_bytes());
        monitor.ledger.delete_session(&token_hash).await?;
        tracing::info!(username, "the organiser logged out");
    }
    let cookie = set_cookie(&monitor, "", 0);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

fn set_cookie(monitor: &Monitor, token: &str, max_age_seconds: i64) -> String {
    let secure = if monitor.settings.origin.secure() {
        "; Secure"
    } else {
        ""
    };
    format!(
        "{COOKIE}={token}; Path=/monitor; Max-Age={max_age_seconds}; HttpOnly; SameSite=Strict{secure}"
    )
}

async fn password_matches(
    monitor: &Monitor,
    username: &str,
    password: String,
) -> Result<bool, ApiError> {
    let organiser = monitor.ledger.organiser(username).await?;
    let hash = organiser.map(|organiser| organiser.password_hash);
    monitor.passwords.matches(password, hash).await
}

fn too_many_tries(wait_seconds: u32) -> ApiError {
    ApiError {
        retry_after_seconds: Some(wait_seconds),
        ..ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            format!("too many failed logins; try again in {wait_seconds} s"),
        )
    }
}
