//! `/monitor/api/setup`: the first organiser, made with the one-time token that the server
//! prints at its first start.
//!
//! Never "the first visitor becomes the organiser": without the token nothing is made, and with
//! an organiser there the token is worth nothing.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time;
use axum::extract::State;
use http::StatusCode;
use ledger::{Ledger, LedgerError, Organiser};
use rules::ids::normal_name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Monitor,
    passwords::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN},
};
use crate::http::{ApiError, Json, credentials::sha256, openapi::ErrorBody};
use crate::random::{Random, draw};

/// The hash of the token that the first organiser is made with, while there is none.
#[derive(Default)]
pub(crate) struct Setup {
    token_sha256: Mutex<Option<[u8; 32]>>,
}

impl Setup {
    /// The token, `told` or a new one in hex, when there is no organiser yet.
    pub(crate) async fn begin(
        &self,
        ledger: &dyn Ledger,
        told: Option<String>,
        random: &dyn Random,
    ) -> Result<Option<String>, LedgerError> {
        if ledger.has_organiser().await? {
            return Ok(None);
        }
        let token = told.unwrap_or_else(|| hex::encode(draw::<32>(random)));
        *self.lock() = Some(sha256(token.as_bytes()));
        Ok(Some(token))
    }

    fn accepts(&self, token: &str) -> bool {
        let sent = sha256(token.as_bytes());
        self.lock()
            .is_some_and(|kept| constant_time::verify_slices_are_equal(&kept, &sent).is_ok())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<[u8; 32]>> {
        // Each change is one assignment, so a panic cannot leave it half done.
        self.token_sha256
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the first organiser is still to be made.
#[derive(Serialize, ToSchema)]
pub(crate) struct SetupState {
    /// True while there is no organiser.
    needed: bool,
}

/// The first organiser.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetupRequest {
    /// The one-time token that the server printed.
    token: String,
    /// Login name, 1 to 64 characters.
    username: String,
    /// Password, at least 8 characters.
    password: String,
}

/// The organiser that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct SetupDone {
    /// Login name, as it is kept.
    username: String,
}

/// Whether the first organiser is still to be made.
#[utoipa::path(get, path = "/monitor/api/setup", tag = "monitor",
    responses((status = 200, body = SetupState)))]
pub(crate) async fn state(
    State(monitor): State<Arc<Monitor>>,
) -> Result<axum::Json<SetupState>, ApiError> {
    let needed = !monitor.ledger.has_organiser().await?;
    Ok(axum::Json(SetupState { needed }))
}

/// Makes the first organiser.
#[utoipa::path(post, path = "/monitor/api/setup", tag = "monitor", request_body = SetupRequest,
    responses(
        (status = 201, body = SetupDone),
        (status = 400, body = ErrorBody, description = "`invalid_field`"),
        (status = 403, body = ErrorBody, description = "`wrong_setup_token`"),
        (status = 409, body = ErrorBody, description = "`already_set_up`")))]
pub(crate) async fn make(
    State(monitor): State<Arc<Monitor>>,
    Json(request): Json<SetupRequest>,
) -> Result<(StatusCode, axum::Json<SetupDone>), ApiError> {
    let username =
        normal_name(&request.username).map_err(|refusal| ApiError::invalid("username", refusal))?;
    check_new_password(&request.password)?;
    if monitor.ledger.has_organiser().await? {
        return Err(already_set_up());
    }
    if !monitor.setup.accepts(&request.token) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "wrong_setup_token",
            "`token` is not the one that the server printed at its latest start",
        ));
    }
    let salt = draw(monitor.random.as_ref());
    let password_hash = monitor.passwords.hash(request.password, salt).await?;
    let organiser = Organiser {
        username: username.clone(),
        password_hash,
    };
    if !monitor.ledger.add_first_organiser(&organiser).await? {
        return Err(already_set_up());
    }
    *monitor.setup.lock() = None;
    tracing::info!(username, "the first organiser was made");
    Ok((StatusCode::CREATED, axum::Json(SetupDone { username })))
}

fn check_new_password(password: &str) -> Result<(), ApiError> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        let reason = format!("must have at least {PASSWORD_CHARS_MIN} characters");
        return Err(ApiError::invalid("password", reason));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        let reason = format!("must have at most {PASSWORD_BYTES_MAX} bytes");
        return Err(ApiError::invalid("password", reason));
    }
    Ok(())
}

fn already_set_up() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "already_set_up",
        "there is an organiser already",
    )
}
