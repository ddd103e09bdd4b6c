//! `GET /redpacket/campaigns/{id}/wins`: the caller's own wins, and only those.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, header};
use ledger::Winner;
use rules::Timestamp;
use serde::Serialize;

use super::{Redpacket, answer::WonPacket};
use crate::{
    account::identity,
    http::{ApiError, CampaignPath},
};

/// The caller's wins, by packet.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Wins<'a> {
    wins: Vec<OwnWin<'a>>,
}

/// One win.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct OwnWin<'a> {
    packet: WonPacket<'a>,
    #[schema(value_type = String, format = DateTime)]
    claimed_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    redeemed_at: Option<Timestamp>,
}

/// Lists the caller's wins of campaign `id`.
#[utoipa::path(
    get,
    path = "/redpacket/campaigns/{id}/wins",
    tag = "redpacket",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Wins),
        (status = 401, description = "`unauthenticated`"),
        (status = 404, description = "`no_such_campaign`"),
        (status = 503, description = "`unavailable`"),
    ),
    security(("participant" = []))
)]
pub(super) async fn wins(
    State(redpacket): State<Arc<Redpacket>>,
    id: Result<CampaignPath, ApiError>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let now = redpacket.ledger.now();
    let origins = &redpacket.origins;
    let user = identity::participant(&headers, &Method::GET, &redpacket.tokens, origins, now)?;
    let CampaignPath(id) = id?;
    let current = redpacket.directory.get(id);
    let campaign = current.ok_or_else(ApiError::no_such_campaign)?.campaign;
    let winners = redpacket.ledger.wins(campaign.no, &user).await?;
    let own = |winner: &Winner| OwnWin {
        packet: WonPacket::new(&campaign, &winner.win),
        claimed_at: winner.win.claimed_at,
        redeemed_at: winner.redeemed_at,
    };
    let wins = winners.iter().map(own).collect();
    // One user's own: no cache between may give it to the next.
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((no_store, Json(Wins { wins })).into_response())
}
