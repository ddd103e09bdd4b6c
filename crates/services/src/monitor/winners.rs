//! `GET /monitor/api/campaigns/{id}/winners`: who won what, in pages of JSON or all as CSV.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use ledger::{Campaign, Winner, WinnersQuery};
use rules::{Fen, PacketId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Monitor, list::page_limit, winners_csv};
use crate::{
    account::codes::Code,
    http::{ApiError, CampaignPath, Query, openapi::ErrorBody},
};

/// The most winners on a page.
const LIMIT_MAX: u32 = 1_000;
/// How many there are on a page when nothing is said.
const LIMIT_DEFAULT: u32 = 100;
/// The longest text to search for, in characters.
const SEARCH_CHARS_MAX: usize = 64;

/// Which winners, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WinnersParams {
    /// `next_cursor` of the page before this one.
    cursor: Option<String>,
    /// Only users whose id contains this, or the packet of exactly this id.
    q: Option<String>,
    /// Only who presents this identification code.
    code: Option<String>,
    /// `json`, in pages, or `csv`, all at once.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// At most so many on a page, from 1 to 1000; 100 when left out.
    limit: Option<u32>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// A page of winners.
#[derive(Serialize, ToSchema)]
pub(crate) struct WinnersPage {
    /// The winners, by packet.
    winners: Vec<WinnerView>,
    /// What to ask the next page with; null on the last.
    #[schema(value_type = Option<String>)]
    next_cursor: Option<PacketId>,
}

/// A packet won.
#[derive(Serialize, ToSchema)]
pub(crate) struct WinnerView {
    /// The packet's id, `wave-index`.
    #[schema(value_type = String, example = "2-17")]
    packet: PacketId,
    /// Its wave.
    wave: u32,
    /// Who won it.
    #[schema(value_type = String)]
    user: UserId,
    /// What it holds, in minor units.
    #[schema(value_type = u64)]
    amount: Fen,
    /// Its prize's label, where the split has prizes.
    label: Option<String>,
    /// When it was won.
    #[schema(value_type = String, format = DateTime)]
    claimed_at: Timestamp,
    /// When it was redeemed.
    #[schema(value_type = Option<String>, format = DateTime)]
    redeemed_at: Option<Timestamp>,
}

impl WinnerView {
    /// `winner` of `campaign`.
    pub(crate) fn new(campaign: &Campaign, winner: Winner) -> Self {
        let packet = winner.win.packet;
        Self {
            packet,
            wave: packet.wave,
            user: winner.user,
            amount: winner.win.amount,
            label: campaign
                .label(packet.wave, winner.win.tier)
                .map(str::to_owned),
            claimed_at: winner.win.claimed_at,
            redeemed_at: winner.redeemed_at,
        }
    }
}

/// Lists who won what.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}/winners", tag = "monitor",
    params(("id" = String, Path, format = "uuid"), WinnersParams),
    responses(
        (status = 200, content((WinnersPage = "application/json"), (String = "text/csv"))),
        (status = 400, body = ErrorBody, description = "`invalid_field`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn winners(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
    Query(params): Query<WinnersParams>,
) -> Result<Response, ApiError> {
    let limit = page_limit(params.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let query = params.query(&monitor, limit).await?;
    let campaign = monitor.campaign(id).await?;
    let Some(query) = query else {
        // Nobody has this code, so nobody with it has won.
        return match params.format {
            Format::Json => Ok(page(&campaign, Vec::new(), limit)),
            Format::Csv => Ok(winners_csv::none(id)),
        };
    };
    if params.format == Format::Csv {
        return Ok(winners_csv::all(monitor, campaign, query));
    }
    let ask = WinnersQuery {
        limit: limit + 1,
        ..query
    };
    let winners = monitor.ledger.winners(campaign.no, &ask).await?;
    Ok(page(&campaign, winners, limit))
}

/// `winners`, of which one more than `limit` tells whether there is another page.
fn page(campaign: &Campaign, mut winners: Vec<Winner>, limit: u32) -> Response {
    let limit = limit as usize;
    let more = winners.len() > limit;
    winners.truncate(limit);
    let last = winners.last().filter(|_| more);
    axum::Json(WinnersPage {
        next_cursor: last.map(|winner| winner.win.packet),
        winners: winners
            .into_iter()
            .map(|winner| WinnerView::new(campaign, winner))
            .collect(),
    })
    .into_response()
}

impl WinnersParams {
    /// What to ask the ledger; `None` when nobody has the code.
    async fn query(&self, monitor: &Monitor, limit: u32) -> Result<Option<WinnersQuery>, ApiError> {
        let cursor = self.cursor.as_deref().map(str::parse::<PacketId>);
        let after = cursor
            .transpose()
            .map_err(|form| ApiError::invalid("cursor", format!("is no `next_cursor`: {form}")))?;
        let search = self.q.as_deref().map(str::trim);
        let search = search.filter(|text| !text.is_empty());
        if search.is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX) {
            let reason = format!("must have at most {SEARCH_CHARS_MAX} characters");
            return Err(ApiError::invalid("q", reason));
        }
        if search.is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(ApiError::invalid("q", "contains a control character"));
        }
        let user = match &self.code {
            None => None,
            Some(code) => match user_of_code(monitor, code).await? {
                None => return Ok(None),
                user => user,
            },
        };
        Ok(Some(WinnersQuery {
            after,
            search: search.map(str::to_owned),
            user,
            limit,
        }))
    }
}

/// The user that an identification code stands for.
async fn user_of_code(monitor: &Monitor, code: &str) -> Result<Option<UserId>, ApiError> {
    let code = Code::new(code).map_err(|refusal| ApiError::invalid("code", refusal))?;
    let codes = &monitor.settings.codes;
    if !monitor.settings.registered_only {
        return Ok(Some(codes.anonymous_user(&code)));
    }
    let user = monitor.ledger.user_by_code(&codes.code_hash(&code)).await?;
    Ok(user.map(|user| user.id))
}
