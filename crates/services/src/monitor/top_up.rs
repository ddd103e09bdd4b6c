//! `POST /monitor/api/campaigns/{id}/top-up`: more packets under the campaign's own split, as
//! one more wave, at once.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use ledger::{Campaign, Idempotency, Once, TopUpRefused};
use rules::{Fen, Split, Tier, Tranche};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Monitor, campaign_ended,
    create::{key_reused, repeated},
    requests::{IDEMPOTENCY_KEY, TierRequest, fit, idempotency, idempotency_key, refused},
    view::OrganiserCampaign,
};
use crate::http::{ApiError, CampaignPath, Json, json, openapi::ErrorBody};

/// More packets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopUpRequest {
    /// How many packets.
    packets: u32,
    /// For a lucky split: their sum, in minor units.
    #[schema(value_type = Option<u64>)]
    total: Option<Fen>,
    /// For a split in tiers: the prizes.
    #[serde(default, deserialize_with = "json::maybe_objects")]
    tiers: Option<Vec<TierRequest>>,
}

/// Adds packets to a campaign that has not ended.
#[utoipa::path(post, path = "/monitor/api/campaigns/{id}/top-up", tag = "monitor",
    params(
        ("id" = String, Path, format = "uuid"),
        ("Idempotency-Key" = String, Header, description = "makes a retry safe; required")),
    request_body = TopUpRequest,
    responses(
        (status = 200, body = OrganiserCampaign),
        (status = 400, body = ErrorBody, description = "`invalid_field`, `invalid_json`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`"),
        (status = 409, body = ErrorBody,
            description = "`campaign_ended`, `idempotency_key_reused`, `weak_durability`"),
        (status = 503, body = ErrorBody, description = "`unavailable`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn top_up(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
    headers: HeaderMap,
    Json(body): Json<serde_json::Value>,
) -> Result<axum::Json<OrganiserCampaign>, ApiError> {
    let request: TopUpRequest = fit(&body)?;
    let key = idempotency_key(&headers)?;
    let key = key.ok_or_else(|| ApiError::invalid_header(IDEMPOTENCY_KEY, "is required"))?;
    let once = idempotency(&format!("top-up {id}"), key, &body);
    let campaign = monitor.campaign(id).await?;
    // Asked before anything is checked: it is the first call that may have reached a limit.
    if repeated(&monitor, Some(&once)).await?.is_none() {
        add(&monitor, &campaign, request, once).await?;
    }
    monitor.open_first_due_wave(id).await?;
    monitor.announce().await;
    monitor.view(id, None).await.map(axum::Json)
}

async fn add(
    monitor: &Monitor,
    campaign: &Campaign,
    request: TopUpRequest,
    once: Idempotency,
) -> Result<(), ApiError> {
    if campaign.closed_at.is_some() {
        return Err(campaign_ended());
    }
    let packets = request.packets;
    let tranche = Tranche {
        // The ledger numbers it.
        number: 0,
        packets,
        split: request.split(campaign)?,
    };
    monitor.durability.check(&*monitor.ledger).await?;
    match monitor.ledger.top_up(campaign.id, tranche, once).await? {
        Ok(Once::Done(_)) => {
            tracing::info!(campaign.id = %campaign.id, packets, "topped a campaign up");
            Ok(())
        }
        Ok(Once::Repeated(_)) => Ok(()),
        Ok(Once::KeyReused) => Err(key_reused()),
        Err(TopUpRefused::NotFound) => Err(ApiError::no_such_campaign()),
        Err(TopUpRefused::Ended) => Err(campaign_ended()),
        Err(TopUpRefused::Limit(refusal)) => Err(refused(refusal)),
    }
}

impl TopUpRequest {
    /// The campaign's own split over the packets of this top-up.
    fn split(self, campaign: &Campaign) -> Result<Split, ApiError> {
        let first = campaign.tranches.first();
        let first = first.expect("a campaign is created with its first tranche");
        let (mode, total, tiers) = match &first.split {
            Split::Equal { .. } => ("equal", false, false),
            Split::Lucky { .. } => ("lucky", true, false),
            Split::Tiers { .. } => ("tiers", false, true),
        };
        for (field, there, belongs) in [
            ("total", self.total.is_some(), total),
            ("tiers", self.tiers.is_some(), tiers),
        ] {
            if there != belongs {
                let what = if belongs {
                    "is needed for"
                } else {
                    "does not belong to"
                };
                let reason = format!("{what} a campaign split by the mode `{mode}`");
                return Err(ApiError::invalid(field, reason));
            }
        }
        Ok(match &first.split {
            Split::Equal { amount } => Split::Equal { amount: *amount },
            Split::Lucky { min, max, .. } => Split::Lucky {
                total: self.total.unwrap_or_default(),
                min: *min,
                max: *max,
            },
            Split::Tiers { .. } => {
                let tiers = self.tiers.unwrap_or_default();
                Split::Tiers {
                    tiers: tiers.into_iter().map(Tier::from).collect(),
                }
            }
        })
    }
}
