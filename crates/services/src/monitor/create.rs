//! `POST /monitor/api/campaigns`: a new campaign; one that starts now is answered only after its
//! first wave is open.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use http::StatusCode;
use ledger::{Idempotency, NewCampaign, Once, Wave, WaveState};
use rules::{CampaignId, Rules, Seed, Timestamp, Tranche, WinLimit, check, check::Refusal};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Monitor,
    requests::{
        RulesRequest, SplitRequest, WinLimitRequest, fit, idempotency, idempotency_key, refused,
    },
    view::OrganiserCampaign,
};
use crate::http::{ApiError, Json, json, openapi::ErrorBody};
use crate::random::draw;

/// How far in the past a start may lie and still mean now, in seconds: clocks differ.
const LATE_START_SECONDS_MAX: i64 = 60;
/// The end that is meant when none is given, in seconds after the last wave.
const END_AFTER_LAST_WAVE_SECONDS: i64 = 24 * 3_600;

/// A new campaign.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRequest {
    /// Title, 1 to 120 characters.
    title: String,
    /// How many packets in all.
    packets: u32,
    /// In how many waves.
    batches: u32,
    /// Seconds between two waves.
    interval_seconds: u32,
    /// When the first wave is due; now when left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// When it is closed; 24 h after the last wave when left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// ISO 4217 code.
    currency: String,
    /// How the budget becomes packets.
    #[serde(deserialize_with = "json::object")]
    split: SplitRequest,
    /// How often one user may win; one per campaign when left out.
    #[serde(default, deserialize_with = "json::maybe_object")]
    win_limit: Option<WinLimitRequest>,
    /// Who may try; everybody, always, when left out.
    #[serde(default, deserialize_with = "json::maybe_object")]
    rules: Option<RulesRequest>,
}

/// Makes a campaign.
#[utoipa::path(post, path = "/monitor/api/campaigns", tag = "monitor",
    request_body = CreateRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "makes a retry safe")),
    responses(
        (status = 201, body = OrganiserCampaign),
        (status = 400, body = ErrorBody, description = "`invalid_field`, `invalid_json`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 409, body = ErrorBody,
            description = "`idempotency_key_reused`, `weak_durability`"),
        (status = 503, body = ErrorBody, description = "`unavailable`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn create(
    State(monitor): State<Arc<Monitor>>,
    headers: HeaderMap,
    Json(body): Json<serde_json::Value>,
) -> Result<(StatusCode, axum::Json<OrganiserCampaign>), ApiError> {
    let request: CreateRequest = fit(&body)?;
    let key = idempotency_key(&headers)?;
    let once = key.map(|key| idempotency("create", key, &body));
    let id = match repeated(&monitor, once.as_ref()).await? {
        Some(id) => id,
        None => {
            let now = monitor.ledger.now();
            let random = monitor.random.as_ref();
            let id = CampaignId::new(now, draw(random));
            let new = request.campaign(id, Seed(draw(random)), now)?;
            monitor.durability.check(&*monitor.ledger).await?;
            make(&monitor, new, once).await?
        }
    };
    monitor.open_first_due_wave(id).await?;
    monitor.announce().await;
    let campaign = monitor.view(id, None).await?;
    Ok((StatusCode::CREATED, axum::Json(campaign)))
}

/// The campaign that an earlier call with the same key was about. Asked before anything is
/// checked: a start that lay ahead then may lie behind now.
///
/// # Errors
/// 409 `idempotency_key_reused`.
pub(crate) async fn repeated(
    monitor: &Monitor,
    once: Option<&Idempotency>,
) -> Result<Option<CampaignId>, ApiError> {
    let Some(once) = once else { return Ok(None) };
    match monitor.ledger.done_before(once).await? {
        Some(Once::Done(id) | Once::Repeated(id)) => Ok(Some(id)),
        Some(Once::KeyReused) => Err(key_reused()),
        None => Ok(None),
    }
}

async fn make(
    monitor: &Monitor,
    new: NewCampaign,
    once: Option<Idempotency>,
) -> Result<CampaignId, ApiError> {
    match monitor.ledger.create_campaign(new, once).await? {
        Once::Done(id) => {
            tracing::info!(campaign.id = %id, "made a campaign");
            Ok(id)
        }
        Once::Repeated(id) => Ok(id),
        Once::KeyReused => Err(key_reused()),
    }
}

/// 409 `idempotency_key_reused`.
pub(crate) fn key_reused() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "idempotency_key_reused",
        "this `Idempotency-Key` was sent before with another body",
    )
}

impl CreateRequest {
    /// The campaign that is meant, checked.
    fn campaign(self, id: CampaignId, seed: Seed, now: Timestamp) -> Result<NewCampaign, ApiError> {
        let title = check::title(&self.title).map_err(refused)?;
        let currency = check::currency(&self.currency).map_err(refused)?;
        let sizes = check::waves(self.packets, self.batches, self.interval_seconds);
        let sizes = sizes.map_err(refused)?;
        let tranche = Tranche {
            number: 0,
            packets: self.packets,
            split: self.split.split()?,
        };
        check::tranche(&tranche).map_err(refused)?;
        let win_limit = self.win_limit.map(WinLimitRequest::win_limit);
        let win_limit = check::win_limit(win_limit.unwrap_or(WinLimit::ONE)).map_err(refused)?;
        let rules = self.rules.unwrap_or_default().rules(Rules::default());
        check::rules(&rules).map_err(refused)?;

        let starts_at = start(self.starts_at, now)?;
        let waves = waves(&sizes, starts_at, self.interval_seconds);
        let last_wave_at = waves.last().map_or(starts_at, |wave| wave.due_at);
        let ends_at = self
            .ends_at
            .unwrap_or_else(|| last_wave_at.plus_seconds(END_AFTER_LAST_WAVE_SECONDS));
        check::times(starts_at, last_wave_at, ends_at, now).map_err(refused)?;
        after_last_wave(ends_at, last_wave_at).map_err(refused)?;

        let canonical =
            rules::canonical_parameters(self.packets, self.batches, &currency, &tranche.split);
        Ok(NewCampaign {
            id,
            title,
            starts_at,
            ends_at,
            interval_seconds: self.interval_seconds,
            win_limit,
            rules,
            seed,
            commitment: rules::commitment(&seed, &canonical),
            currency,
            tranche,
            waves,
        })
    }
}

/// When a campaign starts that is to start at `asked`: never before `now`.
fn start(asked: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, ApiError> {
    let starts_at = asked.unwrap_or(now);
    if starts_at < now.plus_seconds(-LATE_START_SECONDS_MAX) {
        let reason = format!("must not be in the past; it is {now} now");
        return Err(ApiError::invalid("starts_at", reason));
    }
    Ok(starts_at.max(now))
}

/// Refuses an end that the last wave would not see.
pub(crate) fn after_last_wave(ends_at: Timestamp, last_wave_at: Timestamp) -> Result<(), Refusal> {
    if ends_at > last_wave_at {
        return Ok(());
    }
    let reason = format!("must be later than the last wave ({last_wave_at})");
    Err(Refusal::new("ends_at", reason))
}

fn waves(sizes: &[u32], starts_at: Timestamp, interval_seconds: u32) -> Vec<Wave> {
    let mut offset = 0;
    let numbered = (0_u32..).zip(sizes);
    let wave = |(before, &packets): (u32, &u32)| {
        let wave = Wave {
            number: before + 1,
            tranche: 0,
            offset,
            packets,
            due_at: starts_at.plus_seconds(i64::from(before) * i64::from(interval_seconds)),
            state: WaveState::Planned,
            bundle_size: 0,
            algorithm: 0,
            digest: None,
            opened_at: None,
            opening: None,
        };
        offset += packets;
        wave
    };
    numbered.map(wave).collect()
}
