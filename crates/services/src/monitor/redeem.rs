//! `POST /monitor/api/campaigns/{id}/winners/{packet}/redeem`: a packet won is redeemed, once; a
//! repeat gets the first time again.

use std::sync::Arc;

use axum::extract::{RawPathParams, State};
use http::StatusCode;
use ledger::Redeemed;
use rules::PacketId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Monitor, winners::WinnerView};
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// A packet that is redeemed.
#[derive(Serialize, ToSchema)]
pub(crate) struct RedeemedView {
    #[serde(flatten)]
    winner: WinnerView,
    /// Whether somebody had redeemed it before this call: then it is not to be paid out again.
    repeated: bool,
}

/// Redeems a packet won.
#[utoipa::path(post, path = "/monitor/api/campaigns/{id}/winners/{packet}/redeem", tag = "monitor",
    params(("id" = String, Path, format = "uuid"), ("packet" = String, Path, example = "2-17")),
    responses(
        (status = 200, body = RedeemedView),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`, `no_such_win`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn redeem(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
    params: RawPathParams,
) -> Result<axum::Json<RedeemedView>, ApiError> {
    let no_such_win = || {
        let message = "nobody has won this packet";
        ApiError::new(StatusCode::NOT_FOUND, "no_such_win", message)
    };
    let campaign = monitor.campaign(id).await?;
    let packet = params.iter().find(|(name, _)| *name == "packet");
    let packet: PacketId = packet
        .and_then(|(_, text)| text.parse().ok())
        .ok_or_else(no_such_win)?;
    let redeemed = monitor.ledger.redeem(campaign.no, packet).await?;
    let Redeemed { winner, repeated } = redeemed.ok_or_else(no_such_win)?;
    if !repeated {
        tracing::info!(campaign.id = %id, %packet, "a packet is redeemed");
    }
    Ok(axum::Json(RedeemedView {
        winner: WinnerView::new(&campaign, winner),
        repeated,
    }))
}
