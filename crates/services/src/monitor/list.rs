//! `GET /monitor/api/campaigns`: all campaigns, the newest first, in pages.

use std::sync::Arc;

use axum::extract::State;
use ledger::CampaignNo;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Monitor, view::CampaignSummary};
use crate::http::{ApiError, Query, openapi::ErrorBody};

/// The most campaigns on a page.
const LIMIT_MAX: u32 = 200;
/// How many there are on a page when nothing is said.
const LIMIT_DEFAULT: u32 = 50;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// `next_before` of the page before this one.
    before: Option<i64>,
    /// At most so many, from 1 to 200; 50 when left out.
    limit: Option<u32>,
}

/// A page of campaigns.
#[derive(Serialize, ToSchema)]
pub(crate) struct CampaignsPage {
    /// The campaigns, the newest first.
    campaigns: Vec<CampaignSummary>,
    /// What to ask the next page with; null on the last.
    next_before: Option<i64>,
}

/// A page's length within its bounds.
pub(crate) fn page_limit(asked: Option<u32>, default: u32, most: u32) -> Result<u32, ApiError> {
    let limit = asked.unwrap_or(default);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    let reason = format!("must be from 1 to {most}, not {limit}");
    Err(ApiError::invalid("limit", reason))
}

/// Lists campaigns, the newest first.
#[utoipa::path(get, path = "/monitor/api/campaigns", tag = "monitor", params(ListQuery),
    responses(
        (status = 200, body = CampaignsPage),
        (status = 400, body = ErrorBody, description = "`invalid_field`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn list(
    State(monitor): State<Arc<Monitor>>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<CampaignsPage>, ApiError> {
    let limit = page_limit(query.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let before = query.before.map(CampaignNo);
    // One more than asked for tells whether there is another page.
    let mut campaigns = monitor.ledger.campaigns(before, limit + 1).await?;
    let more = campaigns.len() > limit as usize;
    campaigns.truncate(limit as usize);
    let last = campaigns.last().filter(|_| more);
    Ok(axum::Json(CampaignsPage {
        next_before: last.map(|campaign| campaign.no.0),
        campaigns: campaigns.iter().map(CampaignSummary::new).collect(),
    }))
}
