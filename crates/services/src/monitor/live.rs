//! `GET /monitor/api/campaigns/{id}/live`: where the packets are and what grabs were answered,
//! now.
//!
//! Packets are exact and of one instant; grabs are the counters that nodes save every second.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::extract::State;
use ledger::{Campaign, CampaignNo, Totals};
use moka::sync::Cache;
use rules::{Fen, Missed, Outcome, Rejected, Tally, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::Monitor;
use crate::http::{
    ApiError, CampaignPath, campaign_json::State as CampaignState, openapi::ErrorBody,
};

/// How often the reading is repeated when the campaign changes in between.
const READS_MAX: u32 = 4;
/// Counters older than this are read once and then kept for a while; nodes save theirs within
/// seconds, and what comes later is seen when the kept sum is read anew.
const SETTLED_SECONDS: i64 = 30;
/// How long the sum of settled counters is kept.
const SETTLED_KEPT: Duration = Duration::from_secs(60);
/// How many campaigns' sums are kept.
const SETTLED_CAMPAIGNS_MAX: u64 = 1_000;
/// Over how many full seconds the rate is taken, and how many seconds ago they end: the latest
/// ones are not saved yet.
const RATE_SECONDS: i64 = 3;
const RATE_ENDS_SECONDS_AGO: i64 = 1;
/// A step so long that counters come in few rows.
pub(crate) const DAY_SECONDS: u32 = 86_400;

/// Sums of counters that will hardly change any more.
pub(crate) struct Counted(Cache<CampaignNo, (Timestamp, Tally)>);

impl Counted {
    pub(crate) fn new() -> Self {
        let sums = Cache::builder()
            .max_capacity(SETTLED_CAMPAIGNS_MAX)
            .time_to_live(SETTLED_KEPT);
        Self(sums.build())
    }
}

/// Where the packets are, and what grabs were answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct Live {
    /// Where the campaign is in its life.
    state: CampaignState,
    /// The server's time.
    #[schema(value_type = String, format = DateTime)]
    server_time: Timestamp,
    /// Packets in opened waves.
    issued: u64,
    /// Of them, those in the queue: neither claimed nor leased.
    queued: u64,
    /// Of them, those in a grab node's hands.
    leased: u64,
    /// Packets won.
    claimed: u64,
    /// Packets that can still be won, those of waves to come included.
    remaining: u64,
    /// Packets given back at the close.
    refunded: u64,
    /// What the claimed packets hold, in minor units.
    #[schema(value_type = u64)]
    claimed_amount: Fen,
    /// What the refunded packets held, in minor units.
    #[schema(value_type = u64)]
    refunded_amount: Fen,
    /// Grabs by what they were answered.
    by_outcome: ByOutcome,
    /// Grabs answered per second, over the last full seconds.
    grabs_per_second: f64,
}

/// Packets on their way to the grab nodes, or there.
pub(crate) struct Travelling {
    /// Neither claimed nor leased.
    pub(crate) queued: u64,
    /// In a grab node's hands.
    pub(crate) leased: u64,
}

/// Grabs by what they were answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct ByOutcome {
    /// New wins.
    pub(crate) won: u64,
    /// The same win again.
    pub(crate) repeated: u64,
    /// 503.
    pub(crate) unavailable: u64,
    /// Time or stock, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) missed: BTreeMap<&'static str, u64>,
    /// A rule, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) rejected: BTreeMap<&'static str, u64>,
}

impl ByOutcome {
    /// What `tally` counted; every reason is there, counted or not.
    pub(crate) fn new(tally: &Tally) -> Self {
        let count = |outcome: Outcome| tally.outcomes[outcome.slot()];
        let missed = |reason: Missed| (reason.as_str(), count(Outcome::Missed(reason)));
        let rejected = |reason: Rejected| (reason.as_str(), count(Outcome::Rejected(reason)));
        Self {
            won: count(Outcome::Won),
            repeated: count(Outcome::Repeated),
            unavailable: count(Outcome::Unavailable),
            missed: Missed::ALL.map(missed).into(),
            rejected: Rejected::ALL.map(rejected).into(),
        }
    }
}

/// Shows where the packets are, and what grabs were answered.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}/live", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = Live),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn live(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<Live>, ApiError> {
    monitor.save_counts().await;
    let mut campaign = monitor.campaign(id).await?;
    let mut totals = monitor.ledger.totals(campaign.no).await?;
    // A wave opened or a close committed between two readings would make them contradict.
    for _ in 1..READS_MAX {
        let again = monitor.campaign(id).await?;
        if again.version == campaign.version {
            break;
        }
        campaign = again;
        totals = monitor.ledger.totals(campaign.no).await?;
    }
    let now = monitor.ledger.now();
    let tally = counted(&monitor, &campaign, now).await?;
    let rate = rate(&monitor, campaign.no, now).await?;
    Ok(axum::Json(Live::new(&campaign, &totals, &tally, rate, now)))
}

impl Live {
    fn new(
        campaign: &Campaign,
        totals: &Totals,
        tally: &Tally,
        grabs_per_second: f64,
        now: Timestamp,
    ) -> Self {
        let Travelling { queued, leased } = Self::travelling(campaign, totals);
        let given = totals.claims + totals.refunded_packets;
        let mut by_outcome = ByOutcome::new(tally);
        by_outcome.won = totals.claims;
        Self {
            state: CampaignState::of(campaign),
            server_time: now,
            issued: campaign.packets_issued(),
            queued,
            leased,
            claimed: totals.claims,
            remaining: campaign.packets_total().saturating_sub(given),
            refunded: totals.refunded_packets,
            claimed_amount: totals.claimed,
            refunded_amount: totals.refunded,
            by_outcome,
            grabs_per_second,
        }
    }

    /// Where the packets are that were issued and not claimed.
    pub(crate) fn travelling(campaign: &Campaign, totals: &Totals) -> Travelling {
        // Nothing of a closed campaign is on its way to anybody.
        let travelling = if campaign.closed_at.is_none() {
            campaign.packets_issued().saturating_sub(totals.claims)
        } else {
            0
        };
        let leased = totals.leased_packets.min(travelling);
        Travelling {
            queued: travelling - leased,
            leased,
        }
    }
}

/// All grabs of the campaign that were counted so far.
async fn counted(
    monitor: &Monitor,
    campaign: &Campaign,
    now: Timestamp,
) -> Result<Tally, ApiError> {
    let ledger = monitor.ledger.as_ref();
    let sum = async |from, to| {
        let counts = ledger.counts(campaign.no, from, to, DAY_SECONDS).await?;
        let mut sum = Tally::default();
        counts.iter().for_each(|counts| sum.add(&counts.tally));
        Ok::<_, ApiError>(sum)
    };
    let kept = monitor.live.0.get(&campaign.no);
    let (settled_at, mut tally) = match kept {
        Some(kept) => kept,
        None => {
            // On a whole second, so that no second is counted twice or left out.
            let settled_at = whole_second(now.plus_seconds(-SETTLED_SECONDS));
            let from = whole_second(campaign.created_at);
            let settled = (settled_at, sum(from, settled_at.max(from)).await?);
            monitor.live.0.insert(campaign.no, settled.clone());
            settled
        }
    };
    let from = settled_at.max(whole_second(campaign.created_at));
    tally.add(&sum(from, now.plus_seconds(1)).await?);
    Ok(tally)
}

async fn rate(monitor: &Monitor, no: CampaignNo, now: Timestamp) -> Result<f64, ApiError> {
    let to = whole_second(now.plus_seconds(-RATE_ENDS_SECONDS_AGO));
    let from = to.plus_seconds(-RATE_SECONDS);
    let counts = monitor.ledger.counts(no, from, to, 1).await?;
    let grabs = counts.iter().flat_map(|counts| counts.tally.outcomes);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown rounded; no rate comes near 2⁵³"
    )]
    Ok(grabs.sum::<u64>() as f64 / RATE_SECONDS as f64)
}

/// The start of the second that `at` lies in.
pub(crate) fn whole_second(at: Timestamp) -> Timestamp {
    at.plus_micros(-at.micros().rem_euclid(1_000_000))
}
