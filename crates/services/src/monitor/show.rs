//! `GET /monitor/api/campaigns/{id}`: one campaign with its waves, terms and money.

use std::sync::Arc;

use axum::extract::State;

use super::{Monitor, view::OrganiserCampaign};
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// Shows a campaign.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = OrganiserCampaign),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn show(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<OrganiserCampaign>, ApiError> {
    monitor.view(id, None).await.map(axum::Json)
}
