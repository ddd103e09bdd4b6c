//! `GET /redpacket/campaigns`: what a participant can take part in now.

use std::{cmp::Reverse, sync::Arc};

use axum::{Json, extract::State};
use ledger::Campaign;
use rules::{CampaignId, Timestamp};
use serde::Serialize;

use super::Redpacket;
use crate::http::campaign_json;

/// For how long an ended campaign is still listed, in seconds.
const LISTED_AFTER_END_SECONDS: i64 = 3_600;
/// The most campaigns listed.
const LISTED_MAX: usize = 100;

/// The campaigns that are scheduled, running, paused or have just ended.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Campaigns {
    campaigns: Vec<Listed>,
}

/// A campaign in the list.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Listed {
    #[schema(value_type = String, format = "uuid")]
    id: CampaignId,
    title: String,
    state: campaign_json::State,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_wave_at: Option<Timestamp>,
    /// When it ended, before its end perhaps.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
}

/// Lists campaigns, the live ones first, then by start, the latest first.
#[utoipa::path(
    get,
    path = "/redpacket/campaigns",
    tag = "redpacket",
    responses((status = 200, body = Campaigns))
)]
pub(super) async fn campaigns(State(redpacket): State<Arc<Redpacket>>) -> Json<Campaigns> {
    let now = redpacket.ledger.now();
    let recent = |campaign: &Campaign| {
        campaign
            .closed_at
            .is_none_or(|at| at.plus_seconds(LISTED_AFTER_END_SECONDS) > now)
    };
    let mut all = redpacket.directory.all();
    all.retain(|campaign| recent(campaign));
    all.sort_by_key(|campaign| (campaign.closed_at.is_some(), Reverse(campaign.starts_at)));
    all.truncate(LISTED_MAX);
    let campaigns = all.iter().map(|campaign| Listed::new(campaign)).collect();
    Json(Campaigns { campaigns })
}

impl Listed {
    fn new(campaign: &Campaign) -> Self {
        let state = campaign_json::State::of(campaign);
        let waits = matches!(
            state,
            campaign_json::State::Scheduled | campaign_json::State::Running
        );
        Self {
            id: campaign.id,
            title: campaign.title.clone(),
            state,
            starts_at: campaign.starts_at,
            ends_at: campaign.ends_at,
            next_wave_at: campaign.next_wave_at().filter(|_| waits),
            closed_at: campaign.closed_at,
        }
    }
}
