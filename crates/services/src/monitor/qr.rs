//! `GET /monitor/api/campaigns/{id}/qr.svg`: the link to grab from, for phones to scan.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use http::{StatusCode, header};
use qrcode::{QrCode, render::svg};

use super::Monitor;
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// The least width and height of the picture, in pixels; it scales.
const SIZE_MIN: u32 = 256;

/// Draws the campaign's link as a QR code.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}/qr.svg", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = String, content_type = "image/svg+xml"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn qr(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<impl IntoResponse, ApiError> {
    let campaign = monitor.campaign(id).await?;
    let code = QrCode::new(monitor.link(campaign.id)).map_err(|error| {
        tracing::error!(%error, "the public URL is too long for a QR code");
        let message = "the public URL is too long for a QR code";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    })?;
    let picture = code
        .render::<svg::Color>()
        .min_dimensions(SIZE_MIN, SIZE_MIN)
        .build();
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture))
}
