//! The pages, built into the binary: the participants' and the organiser's.
//!
//! Nothing here knows a campaign or a user; the pages ask the other services. Paths are served
//! out of a fixed table, so no request can reach a file outside it.
//!
//! # Layout
//! - [`pages`]: the built files, ready to be sent.
//! - this file: which path shows what.

pub mod pages;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};

use self::pages::Pages;
use crate::http::{ApiError, CampaignPath, health::Readiness};

/// The participants' page:
/// - `/` leads to it;
/// - `/webpage` and `/webpage/{id}` show it;
/// - `/webpage/static/…` are its files;
/// - `/webpage/test` is the probe.
pub fn router(pages: Arc<Pages>, readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/", get(async || Redirect::temporary("/webpage")))
        .route("/webpage", get(page))
        .route("/webpage/", get(page))
        .route("/webpage/{id}", get(page_of_campaign))
        .route("/webpage/static/{*file}", get(file))
        .with_state(pages.clone())
        .route("/webpage/test", get(test))
        .with_state((pages, readiness))
}

/// The organiser's page: `/monitor`, with its files under `/monitor/static/…`.
pub fn monitor_pages(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/monitor", get(page))
        .route("/monitor/", get(page))
        .route("/monitor/static/{*file}", get(file))
        .with_state(pages)
}

async fn page(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    pages.page(&headers)
}

/// The same page whatever it is asked for; what cannot be a campaign's id is a 404 all the same.
async fn page_of_campaign(
    State(pages): State<Arc<Pages>>,
    campaign: Result<CampaignPath, ApiError>,
    headers: HeaderMap,
) -> Response {
    let mut response = pages.page(&headers);
    if response.status().is_success() && campaign.is_err() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

async fn file(
    State(pages): State<Arc<Pages>>,
    file: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let file = file.ok().and_then(|Path(file)| pages.file(&file, &headers));
    file.unwrap_or_else(|| {
        let message = "there is no such file; the page may have been renewed";
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message).into_response()
    })
}

async fn test(
    State((pages, readiness)): State<(Arc<Pages>, Arc<Readiness>)>,
) -> Result<&'static str, ApiError> {
    readiness.check()?;
    if pages.are_built() {
        return Ok("ready");
    }
    let reason = "not ready: this binary was built without the pages";
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_ready",
        reason,
    ))
}

#[cfg(test)]
mod tests;
