//! `/monitor/api/users`: the participants that the organiser has imported.
//!
//! Codes come in and never go out: only their keyed hashes are kept.

use std::sync::Arc;

use axum::extract::{RawPathParams, State};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use ledger::{Imported, NewUser, User};
use rules::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Monitor,
    list::page_limit,
    users_file::{self, Line},
};
use crate::http::{ApiError, Query, openapi::ErrorBody};

/// The most users on a page.
const LIMIT_MAX: u32 = 1_000;
/// How many there are on a page when nothing is said.
const LIMIT_DEFAULT: u32 = 100;

/// What an import did.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportDone {
    /// New users.
    added: u64,
    /// Users whose code or name is another now.
    changed: u64,
}

/// Adds or changes users, all or none.
#[utoipa::path(put, path = "/monitor/api/users", tag = "monitor",
    request_body(content((String = "text/csv"), (String = "application/x-ndjson")),
        description = "lines of code, user and optional name"),
    responses(
        (status = 200, body = ImportDone),
        (status = 400, body = ErrorBody, description = "`invalid_field`, `invalid_json`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 409, body = ErrorBody, description = "`code_taken`"),
        (status = 413, body = ErrorBody, description = "`too_large`"),
        (status = 415, body = ErrorBody, description = "`unsupported_media_type`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn import(
    State(monitor): State<Arc<Monitor>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<axum::Json<ImportDone>, ApiError> {
    let read = reader(&headers)?;
    let body = body.map_err(|refusal| {
        let status = refusal.status();
        let too_large = status == StatusCode::PAYLOAD_TOO_LARGE;
        let code = if too_large {
            "too_large"
        } else {
            "invalid_body"
        };
        ApiError::new(status, code, refusal.body_text())
    })?;
    let hashing = monitor.clone();
    // A full list takes a while to read and hash.
    let users = tokio::task::spawn_blocking(move || {
        let codes = &hashing.settings.codes;
        let user = |line: Line| NewUser {
            code_hash: codes.code_hash(&line.code),
            id: line.user,
            name: line.name,
        };
        Ok::<Vec<_>, ApiError>(read(&body)?.into_iter().map(user).collect())
    });
    let users = users.await.map_err(|error| {
        tracing::error!(%error, "reading a list of users failed");
        let message = "the list could not be read; see the server's log";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    })??;
    match monitor.ledger.import_users(&users).await? {
        Imported::Done { added, changed } => {
            tracing::info!(added, changed, "users were imported");
            monitor.users_changed().await;
            Ok(axum::Json(ImportDone { added, changed }))
        }
        Imported::CodeTaken(user) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "code_taken",
            format!("the code of `{user}` belongs to another user; nothing was imported"),
        )),
    }
}

type Reader = fn(&[u8]) -> Result<Vec<Line>, ApiError>;

/// What reads a body of the request's content type.
fn reader(headers: &HeaderMap) -> Result<Reader, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next());
    let media_type = media_type.unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "text/csv" => Ok(users_file::csv),
        "application/x-ndjson" | "application/jsonl" | "application/json" => {
            Ok(users_file::json_lines)
        }
        _ => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the users as `Content-Type: text/csv` or `application/x-ndjson`",
        )),
    }
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsersQuery {
    /// `next_cursor` of the page before this one.
    cursor: Option<String>,
    /// At most so many, from 1 to 1000; 100 when left out.
    limit: Option<u32>,
}

/// A page of users.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsersPage {
    /// The users, by id.
    users: Vec<UserView>,
    /// How many there are on all pages.
    total: u64,
    /// What to ask the next page with; null on the last.
    #[schema(value_type = Option<String>)]
    next_cursor: Option<UserId>,
}

/// An imported user. The code is never shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    /// Public id.
    #[schema(value_type = String)]
    user: UserId,
    /// Name, if given.
    name: Option<String>,
    /// When imported.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            user: user.id,
            name: user.name,
            created_at: user.created_at,
        }
    }
}

/// Lists imported users.
#[utoipa::path(get, path = "/monitor/api/users", tag = "monitor", params(UsersQuery),
    responses(
        (status = 200, body = UsersPage),
        (status = 400, body = ErrorBody, description = "`invalid_field`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn list(
    State(monitor): State<Arc<Monitor>>,
    Query(query): Query<UsersQuery>,
) -> Result<axum::Json<UsersPage>, ApiError> {
    let limit = page_limit(query.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let after = query.cursor.as_deref().map(UserId::new).transpose();
    let after = after.map_err(|refusal| ApiError::invalid("cursor", refusal))?;
    // One more than asked for tells whether there is another page.
    let mut users = monitor.ledger.users(after.as_ref(), limit + 1).await?;
    let more = users.len() > limit as usize;
    users.truncate(limit as usize);
    let last = users.last().filter(|_| more);
    Ok(axum::Json(UsersPage {
        next_cursor: last.map(|user| user.id.clone()),
        total: monitor.ledger.users_count().await?,
        users: users.into_iter().map(UserView::from).collect(),
    }))
}

/// Removes an imported user; what they have won stays.
#[utoipa::path(delete, path = "/monitor/api/users/{user}", tag = "monitor",
    params(("user" = String, Path)),
    responses(
        (status = 204),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_user`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn delete(
    State(monitor): State<Arc<Monitor>>,
    params: RawPathParams,
) -> Result<StatusCode, ApiError> {
    let user = params.iter().find(|(name, _)| *name == "user");
    let user = user.and_then(|(_, text)| UserId::new(text).ok());
    let deleted = match &user {
        Some(user) => monitor.ledger.delete_user(user).await?,
        None => false,
    };
    if !deleted {
        let message = "there is no such user";
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "no_such_user",
            message,
        ));
    }
    tracing::info!("a user was removed");
    monitor.users_changed().await;
    Ok(StatusCode::NO_CONTENT)
}
