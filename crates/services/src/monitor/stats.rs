//! `GET /monitor/api/campaigns/{id}/stats`: how the grabs went over time, how long they took, and
//! how the amounts are distributed.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use ledger::{Campaign, Counts};
use rules::{Fen, Tally, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Monitor,
    live::{ByOutcome, whole_second},
};
use crate::http::{ApiError, CampaignPath, Query, openapi::ErrorBody};

/// The most points of a series.
const POINTS_MAX: i64 = 2_000;
/// The most points when no step is given.
const POINTS_DEFAULT_MAX: i64 = 300;
/// The steps that are chosen from when none is given, in seconds.
const STEPS: [u32; 15] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400,
];
/// The longest step, in seconds: a year.
const STEP_SECONDS_MAX: u32 = 365 * 86_400;
/// How long before the start a series begins when nothing is said, in seconds: the rush.
const BEFORE_START_SECONDS: i64 = 60;
/// The most bars of the amounts' histogram.
const BARS_MAX: usize = 20;

/// Which span, how finely.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsQuery {
    /// From when; the campaign's beginning when left out.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Until when; its end or now when left out.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Seconds per point; so that there are at most 300 when left out.
    step: Option<u32>,
}

/// How the grabs went.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stats {
    /// Seconds per point.
    step_seconds: u32,
    /// The first point's time.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Where the last point ends.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Grabs by what they were answered, a point for each step.
    series: Vec<Point>,
    /// How long grabs took, in µs; null when there were none.
    latency_micros: Latency,
    /// How many packets won hold how much.
    amounts: Vec<Bar>,
    /// Spans in which a node died and at most a second's counts were lost.
    gaps: Vec<GapView>,
}

/// Grabs answered within one step.
#[derive(Serialize, ToSchema)]
struct Point {
    /// When the step begins.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(flatten)]
    grabs: ByOutcome,
}

/// Latency percentiles.
#[derive(Serialize, ToSchema)]
struct Latency {
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    p999: Option<u64>,
}

/// A bar of a histogram.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Bar {
    /// The least amount counted, in minor units.
    #[schema(value_type = u64)]
    from: Fen,
    /// The greatest amount counted, in minor units.
    #[schema(value_type = u64)]
    to: Fen,
    /// How many packets won.
    count: u64,
}

/// A span without certainty.
#[derive(Serialize, ToSchema)]
struct GapView {
    /// The last moment known to be counted.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// When counting went on.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
}

/// Shows how the grabs went.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}/stats", tag = "monitor",
    params(("id" = String, Path, format = "uuid"), StatsQuery),
    responses(
        (status = 200, body = Stats),
        (status = 400, body = ErrorBody, description = "`invalid_field`"),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn stats(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
    Query(query): Query<StatsQuery>,
) -> Result<axum::Json<Stats>, ApiError> {
    monitor.save_counts().await;
    let campaign = monitor.campaign(id).await?;
    let span = query.span(&campaign, monitor.ledger.now())?;
    let Span { from, to, step } = span;
    let counts = monitor.ledger.counts(campaign.no, from, to, step).await?;
    let amounts = monitor.ledger.amounts_claimed(campaign.no).await?;
    let gaps = monitor.ledger.gaps(from, to).await?;
    let mut all = Tally::default();
    counts.iter().for_each(|counts| all.add(&counts.tally));
    Ok(axum::Json(Stats {
        step_seconds: step,
        from,
        to,
        series: series(&span, &counts),
        latency_micros: Latency {
            p50: all.latency_micros(0.5),
            p90: all.latency_micros(0.9),
            p99: all.latency_micros(0.99),
            p999: all.latency_micros(0.999),
        },
        amounts: histogram(&amounts),
        gaps: gaps
            .into_iter()
            .map(|gap| GapView {
                from: gap.from,
                to: gap.to,
            })
            .collect(),
    }))
}

/// A span cut into whole steps.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
    step: u32,
}

impl StatsQuery {
    fn span(&self, campaign: &Campaign, now: Timestamp) -> Result<Span, ApiError> {
        let begin = campaign.starts_at.plus_seconds(-BEFORE_START_SECONDS);
        let from = self.from.unwrap_or(begin.max(campaign.created_at).min(now));
        let end = campaign.closed_at.unwrap_or(now).plus_seconds(1);
        let to = self.to.unwrap_or_else(|| end.max(from.plus_seconds(1)));
        if to <= from {
            return Err(ApiError::invalid("to", "must be later than `from`"));
        }
        if self
            .step
            .is_some_and(|step| step == 0 || step > STEP_SECONDS_MAX)
        {
            let reason = format!("must be from 1 to {STEP_SECONDS_MAX} seconds");
            return Err(ApiError::invalid("step", reason));
        }
        let seconds = to.since(from) / 1_000_000 + 1;
        let fits = |step: &&u32| seconds / i64::from(**step) < POINTS_DEFAULT_MAX - 1;
        let chosen = STEPS.iter().find(fits).copied();
        let step = self.step.or(chosen).unwrap_or(STEP_SECONDS_MAX);
        let micros = i64::from(step) * 1_000_000;
        // On multiples of the step, so that a second always falls into the same one.
        let from = whole_second(from.plus_micros(-from.micros().rem_euclid(micros)));
        let points = to
            .since(from)
            .unsigned_abs()
            .div_ceil(micros.unsigned_abs());
        let points = i64::try_from(points).unwrap_or(i64::MAX);
        if points > POINTS_MAX {
            let reason = format!("would give {points} points; at most {POINTS_MAX} are given");
            return Err(ApiError::invalid("step", reason));
        }
        let to = from.plus_micros(points * micros);
        Ok(Span { from, to, step })
    }
}

/// A point for each step, those without any grab included.
fn series(span: &Span, counts: &[Counts]) -> Vec<Point> {
    let step = i64::from(span.step);
    let first = span.from.micros() / 1_000_000;
    let last = span.to.micros() / 1_000_000;
    let mut by_step: BTreeMap<i64, Tally> = BTreeMap::new();
    for counts in counts {
        let place = (counts.second - first).div_euclid(step);
        by_step.entry(place).or_default().add(&counts.tally);
    }
    let none = Tally::default();
    let point = |place: i64| Point {
        at: span.from.plus_seconds(place * step),
        grabs: ByOutcome::new(by_step.get(&place).unwrap_or(&none)),
    };
    (0..(last - first) / step).map(point).collect()
}

/// Amounts (ascending, with how often each was won) in at most [`BARS_MAX`] bars: one for each
/// amount where these are few, else of equal width. Bars without a packet are left out.
fn histogram(amounts: &[(Fen, u64)]) -> Vec<Bar> {
    let (Some((least, _)), Some((most, _))) = (amounts.first(), amounts.last()) else {
        return Vec::new();
    };
    let bars = BARS_MAX as u64;
    let width = if amounts.len() <= BARS_MAX {
        1
    } else {
        (most.units() - least.units() + 1).div_ceil(bars)
    };
    let place = |amount: Fen| (amount.units() - least.units()) / width;
    let chunks = amounts.chunk_by(|one, next| place(one.0) == place(next.0));
    let bar = |chunk: &[(Fen, u64)]| Bar {
        from: chunk[0].0,
        to: chunk[chunk.len() - 1].0,
        count: chunk.iter().map(|(_, count)| count).sum(),
    };
    chunks.map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fen(units: u64) -> Fen {
        Fen::new(units).unwrap()
    }

    #[test]
    fn few_amounts_have_a_bar_each_and_many_share_bars() {
        assert_eq!(histogram(&[]), []);
        let few = [(fen(1), 3), (fen(900), 1)];
        let bars = histogram(&few);
        assert_eq!(bars.len(), 2);
        assert_eq!(
            (bars[1].from, bars[1].to, bars[1].count),
            (fen(900), fen(900), 1)
        );

        let many: Vec<_> = (1..=1_000).map(|units| (fen(units), 2)).collect();
        let bars = histogram(&many);
        assert_eq!(bars.len(), BARS_MAX);
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 2_000);
        assert!(bars.windows(2).all(|two| two[0].to < two[1].from));
        let wide = [(fen(1), 1), (Fen::MAX, 1)];
        assert_eq!(histogram(&wide).len(), 2);
    }
}
