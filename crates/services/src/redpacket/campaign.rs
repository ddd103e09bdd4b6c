//! `GET /redpacket/campaigns/{id}`: a campaign as everybody may see it.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::Redpacket;
use crate::http::{ApiError, CampaignPath, campaign_json::PublicCampaign};

/// Shows campaign `id`.
#[utoipa::path(
    get,
    path = "/redpacket/campaigns/{id}",
    tag = "redpacket",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = PublicCampaign),
        (status = 404, description = "`no_such_campaign`"),
    )
)]
pub(super) async fn campaign(
    State(redpacket): State<Arc<Redpacket>>,
    CampaignPath(id): CampaignPath,
) -> Result<Json<PublicCampaign>, ApiError> {
    let current = redpacket.directory.get(id);
    let campaign = current.ok_or_else(ApiError::no_such_campaign)?.campaign;
    Ok(Json(PublicCampaign::new(&campaign, redpacket.ledger.now())))
}
