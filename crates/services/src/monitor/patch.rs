//! `PATCH /monitor/api/campaigns/{id}`: another title, end, or rules, in force within a second.

use std::sync::Arc;

use axum::extract::State;
use ledger::{Campaign, CampaignPatch, Change, WaveState};
use rules::{Timestamp, check};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Monitor, campaign_ended,
    create::after_last_wave,
    requests::{RulesRequest, refused},
    view::OrganiserCampaign,
};
use crate::http::{ApiError, CampaignPath, Json, openapi::ErrorBody};

/// Changes; what is left out stays as it is, each rule for itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchRequest {
    /// New title, 1 to 120 characters.
    title: Option<String>,
    /// New end.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// New rules; those left out stay.
    rules: Option<RulesRequest>,
}

/// Changes a campaign that has not ended.
#[utoipa::path(patch, path = "/monitor/api/campaigns/{id}", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    request_body = PatchRequest,
    responses(
        (status = 200, body = OrganiserCampaign),
        (status = 400, body = ErrorBody, description = "`invalid_field`, `invalid_json`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`"),
        (status = 409, body = ErrorBody, description = "`campaign_ended`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn patch(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
    Json(request): Json<PatchRequest>,
) -> Result<axum::Json<OrganiserCampaign>, ApiError> {
    let campaign = monitor.campaign(id).await?;
    // Two changes of single rules at the same time must not undo each other.
    let turn = monitor.locks.lock(campaign.no).await;
    let campaign = monitor.campaign(id).await?;
    if campaign.closed_at.is_some() {
        return Err(campaign_ended());
    }
    let patch = request.patch(&campaign, monitor.ledger.now())?;
    match monitor.ledger.patch_campaign(id, patch).await? {
        Change::Done => {
            tracing::info!(campaign.id = %id, "changed a campaign");
            monitor.announce().await;
        }
        Change::Unchanged => {}
        Change::Ended => return Err(campaign_ended()),
        Change::NotFound => return Err(ApiError::no_such_campaign()),
    }
    drop(turn);
    monitor.view(id, None).await.map(axum::Json)
}

impl PatchRequest {
    /// The changes that are meant, checked against `campaign`.
    fn patch(self, campaign: &Campaign, now: Timestamp) -> Result<CampaignPatch, ApiError> {
        let title = self.title.map(|title| check::title(&title)).transpose();
        let title = title.map_err(refused)?;
        let rules = self.rules.map(|rules| rules.rules(campaign.rules.clone()));
        if let Some(rules) = &rules {
            check::rules(rules).map_err(refused)?;
        }
        if let Some(ends_at) = self.ends_at {
            check::end(campaign.starts_at, ends_at, now).map_err(refused)?;
            let waiting = campaign.waves.iter().filter(|w| w.state != WaveState::Open);
            if let Some(last_wave_at) = waiting.map(|w| w.due_at).max() {
                after_last_wave(ends_at, last_wave_at).map_err(refused)?;
            }
        }
        Ok(CampaignPatch {
            title,
            ends_at: self.ends_at,
            rules,
        })
    }
}
