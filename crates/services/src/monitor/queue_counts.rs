//! `GET /monitor/api/queue`: which queue carries the packets, and how many bundles
//! it says to hold.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Monitor;
use crate::http::{ApiError, openapi::ErrorBody};

/// How long the queue may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The queue, of all campaigns together.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// The backend's name, such as `memory`.
    backend: &'static str,
    /// Bundles ready to be received.
    visible: u64,
    /// Bundles in a grab node's hands.
    invisible: u64,
    /// Whether the backend's counts are exact. Where they are not, they may lag, be a lower bound,
    /// or read 0 although there is something; `/monitor/api/packets` is exact in any case.
    exact: bool,
}

/// Shows the queue's counts.
#[utoipa::path(get, path = "/monitor/api/queue", tag = "monitor",
    responses(
        (status = 200, body = QueueView),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 503, body = ErrorBody, description = "`unavailable`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn queue(
    State(monitor): State<Arc<Monitor>>,
) -> Result<axum::Json<QueueView>, ApiError> {
    let counts = tokio::time::timeout(ANSWER_WITHIN, monitor.queue.counts_all()).await;
    let counts = counts.map_err(|late| late.to_string());
    let counts = counts.and_then(|counts| counts.map_err(|error| error.to_string()));
    let counts = counts.map_err(|error| {
        tracing::warn!(error, "the queue did not answer");
        ApiError::unavailable("the queue did not answer; ask again")
    })?;
    Ok(axum::Json(QueueView {
        backend: monitor.queue.backend(),
        visible: counts.visible,
        invisible: counts.invisible,
        exact: monitor.queue.counts_exactly(),
    }))
}
