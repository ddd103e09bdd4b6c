//! Errors of the caller and of the server, never of luck, in the one body the contract gives.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use ledger::LedgerError;
use serde::Serialize;

tokio::task_local! {
    /// The id of the request that this task answers.
    pub static REQUEST_ID: String;
}

/// An error as the client sees it. `code` is stable and listed in docs/api.md.
#[derive(Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// What is wrong and where, for a person.
    pub message: String,
    /// Seconds after which asking again makes sense.
    pub retry_after_seconds: Option<u32>,
}

impl ApiError {
    /// An error with this status, code and message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after_seconds: None,
        }
    }

    /// 400 `invalid_field`: what is wrong with one field; the message names it.
    pub fn invalid(field: &str, reason: impl std::fmt::Display) -> Self {
        let reason = reason.to_string();
        // Serde names an unknown field itself; once is enough.
        let name = field.rsplit('.').next().unwrap_or(field);
        let expected = reason.strip_prefix(&*format!("unknown field `{name}`, "));
        let message = match expected {
            Some(expected) => format!("`{field}` is unknown: {expected}"),
            None => format!("`{field}` {reason}"),
        };
        Self::new(StatusCode::BAD_REQUEST, "invalid_field", message)
    }

    /// 400 `invalid_header`: the header `name` is wrong or missing.
    #[must_use]
    pub fn invalid_header(name: &str, reason: &str) -> Self {
        let message = format!("the header `{name}` {reason}");
        Self::new(StatusCode::BAD_REQUEST, "invalid_header", message)
    }

    /// 404 `no_such_campaign`.
    #[must_use]
    pub fn no_such_campaign() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_campaign",
            "there is no such campaign",
        )
    }

    /// 401 `unauthenticated`.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    /// 503 `unavailable` with Retry-After: asking again is safe and will give the true answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

impl ApiError {
    /// The body that tells this error of request `request_id`.
    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        let error = BodyError {
            code: self.code,
            message: &self.message,
            request_id,
        };
        serde_json::to_vec(&Body { error }).expect("texts always serialise")
    }
}

impl From<LedgerError> for ApiError {
    fn from(cause: LedgerError) -> Self {
        // The client gets a stable code; the cause is logged here, once.
        match &cause {
            // What was committed stands; the monitor that leads goes on with it.
            LedgerError::Unavailable(_) | LedgerError::Deposed => {
                tracing::warn!(error = %cause, "the ledger did not answer a request");
                Self::unavailable("the ledger did not answer; ask again")
            }
            LedgerError::Corrupt(_) => {
                tracing::error!(error = %cause, "the ledger holds what it must not");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the ledger holds what it must not; see the server's log",
                )
            }
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: BodyError<'a>,
}

#[derive(Serialize)]
struct BodyError<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let request_id = REQUEST_ID.try_with(Clone::clone).unwrap_or_default();
        let mut response = (self.status, self.body(&request_id)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
