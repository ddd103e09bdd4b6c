//! `PATCH /monitor/api/campaigns/{id}`: another title, end, or rules, in force within a second.

use std::sync::Arc;

use axum::extract::State;
use ledger::{Campaign, CampaignPatch, Change, WaveState};
use rules::{Rules, Timestamp, check};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Monitor, campaign_ended,
    create::after_last_wave,
    requests::{RulesRequest, refused},
    view::OrganiserCampaign,
};
use crate::http::{ApiError, CampaignPath, Json, json, openapi::ErrorBody};

/// How often a change is decided anew because another came between.
const DECISIONS_MAX: usize = 16;

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
    #[serde(default, deserialize_with = "json::maybe_object")]
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
    for _ in 0..DECISIONS_MAX {
        let campaign = monitor.campaign(id).await?;
        if campaign.closed_at.is_some() {
            return Err(campaign_ended());
        }
        let rules = match &request.rules {
            Some(rules) => Some(
                rules
                    .clone()
                    .rules(monitor.ledger.rules(campaign.no).await?),
            ),
            None => None,
        };
        let patch = request.patch(&campaign, rules, monitor.ledger.now())?;
        match monitor.ledger.patch_campaign(id, patch).await? {
            Change::Done => {
                tracing::info!(campaign.id = %id, "changed a campaign");
                monitor.announce().await;
            }
            Change::Unchanged => {}
            // Another change, of another rule perhaps, must not be undone by this one.
            Change::Overtaken => continue,
            Change::Ended => return Err(campaign_ended()),
            Change::NotFound => return Err(ApiError::no_such_campaign()),
        }
        return monitor.view(id, None).await.map(axum::Json);
    }
    Err(ApiError::unavailable(
        "others keep changing the campaign; ask again",
    ))
}

impl PatchRequest {
    /// The changes that are meant, `rules` among them, checked against `campaign`.
    fn patch(
        &self,
        campaign: &Campaign,
        rules: Option<Rules>,
        now: Timestamp,
    ) -> Result<CampaignPatch, ApiError> {
        let title = self.title.as_deref().map(check::title).transpose();
        let title = title.map_err(refused)?;
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
        let depends = rules.is_some() || self.ends_at.is_some();
        Ok(CampaignPatch {
            title,
            ends_at: self.ends_at,
            rules,
            version: depends.then_some(campaign.version),
        })
    }
}
