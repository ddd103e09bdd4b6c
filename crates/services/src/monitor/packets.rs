//! `GET /monitor/api/packets`: where the packets of all open campaigns are by the ledger, to be
//! read beside the queue's own counts.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Monitor, live::Live};
use crate::http::{ApiError, openapi::ErrorBody};

/// The most campaigns that are summed.
const CAMPAIGNS_MAX: usize = 1_000;

/// Packets of all open campaigns together, exact: by the ledger.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Packets {
    /// How many campaigns are open.
    campaigns: u64,
    /// Packets in opened waves.
    issued: u64,
    /// Of them, those neither claimed nor in a grab node's hands: in the queue, or on their way
    /// into it.
    queued: u64,
    /// Of them, those in a grab node's hands.
    leased: u64,
    /// Of them, those won.
    claimed: u64,
}

/// Shows where the packets of all open campaigns are.
#[utoipa::path(get, path = "/monitor/api/packets", tag = "monitor",
    responses(
        (status = 200, body = Packets),
        (status = 401, body = ErrorBody, description = "`unauthenticated`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn packets(
    State(monitor): State<Arc<Monitor>>,
) -> Result<axum::Json<Packets>, ApiError> {
    let mut sum = Packets::default();
    for campaign in monitor.open_campaigns.all().iter().take(CAMPAIGNS_MAX) {
        // As the campaign is now: a wave may have opened since this process read it.
        let Some(campaign) = monitor.ledger.campaign(campaign.id).await? else {
            continue;
        };
        if campaign.closed_at.is_some() {
            continue;
        }
        let totals = monitor.ledger.totals(campaign.no).await?;
        let travelling = Live::travelling(&campaign, &totals);
        sum.campaigns += 1;
        sum.issued += campaign.packets_issued();
        sum.queued += travelling.queued;
        sum.leased += travelling.leased;
        sum.claimed += totals.claims;
    }
    Ok(axum::Json(sum))
}
