//! `GET /monitor/api/campaigns/{id}/stats/log`: the grabs of a campaign as the log service counts
//! them, beside the ledger's counters.
//!
//! Two ways lead from a grab to a sum: the counters that nodes save each second, and the lines of
//! the access log. Neither is made from the other, so that they agree says something. Wins are the
//! ledger's claims, whatever either says.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use eventlog::sls::statistics::{Grabs, Reader};
use ledger::Campaign;
use rules::{Tally, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Monitor,
    live::{ByOutcome, DAY_SECONDS, whole_second},
};
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// How long the log service may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// Lines are dated by the clocks of the nodes; these are at most so far from the ledger's.
const CLOCKS_APART_SECONDS: i64 = 86_400;
/// One part, however long the campaign.
const ALL_IN_ONE: u32 = u32::MAX;

/// The grabs as the log service and as the ledger count them.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogStats {
    /// Which log service: `sls`; null where the access log is not shipped, and then everything
    /// else is null, too.
    service: Option<&'static str>,
    /// Its project and log store.
    store: Option<String>,
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    asked_at: Timestamp,
    /// Grabs by what they were answered, as the log service counts them. It is some seconds
    /// behind.
    log: Option<ByOutcome>,
    /// The same by the ledger's counters, which are up to a second behind.
    ledger: Option<ByOutcome>,
    /// By how many grabs the two differ, all outcomes together.
    difference: Option<u64>,
    /// Whether they do not differ.
    agrees: Option<bool>,
}

/// Shows the grabs as the log service and as the ledger count them.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}/stats/log", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = LogStats),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`"),
        (status = 503, body = ErrorBody, description = "`unavailable`: the log service does not answer")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn log_stats(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<LogStats>, ApiError> {
    let campaign = monitor.campaign(id).await?;
    let asked_at = monitor.ledger.now();
    let Some(reader) = monitor.log_statistics.get() else {
        return Ok(axum::Json(LogStats::of_none(asked_at)));
    };
    let (log, elsewhere) = by_the_log(reader, &campaign, asked_at).await?;
    monitor.save_counts().await;
    let from = whole_second(campaign.created_at);
    let to = monitor.ledger.now().plus_seconds(1);
    let counts = monitor.ledger.counts(campaign.no, from, to, DAY_SECONDS);
    let mut ledger = Tally::default();
    counts.await?.iter().for_each(|one| ledger.add(&one.tally));
    let difference = difference(&log, &ledger) + elsewhere;
    Ok(axum::Json(LogStats {
        service: Some("sls"),
        store: Some(reader.place().to_owned()),
        asked_at,
        log: Some(ByOutcome::new(&log)),
        ledger: Some(ByOutcome::new(&ledger)),
        difference: Some(difference),
        agrees: Some(difference == 0),
    }))
}

impl LogStats {
    const fn of_none(asked_at: Timestamp) -> Self {
        Self {
            service: None,
            store: None,
            asked_at,
            log: None,
            ledger: None,
            difference: None,
            agrees: None,
        }
    }
}

/// The grabs as the log service counts them, and those whose outcome this version does not know.
async fn by_the_log(
    reader: &Reader,
    campaign: &Campaign,
    now: Timestamp,
) -> Result<(Tally, u64), ApiError> {
    let second = |at: Timestamp| at.micros().div_euclid(1_000_000);
    let from = second(campaign.created_at) - CLOCKS_APART_SECONDS;
    let to = second(now) + CLOCKS_APART_SECONDS;
    let read = reader.grabs(campaign.id, (from, to), ALL_IN_ONE);
    let read = tokio::time::timeout(ANSWER_WITHIN, read).await;
    let read = read.map_err(|late| late.to_string());
    let read = read.and_then(|read| read.map_err(|error| error.to_string()));
    let grabs = read.map_err(|error| {
        tracing::warn!(error, "the log service did not answer");
        ApiError::unavailable("the log service did not answer; ask again")
    })?;
    Ok(tally(&grabs))
}

fn tally(grabs: &[Grabs]) -> (Tally, u64) {
    let (mut tally, mut elsewhere) = (Tally::default(), 0);
    for one in grabs {
        match one.kind() {
            Some(outcome) => tally.outcomes[outcome.slot()] += one.grabs,
            None => elsewhere += one.grabs,
        }
    }
    (tally, elsewhere)
}

fn difference(one: &Tally, other: &Tally) -> u64 {
    let pairs = one.outcomes.iter().zip(&other.outcomes);
    pairs.map(|(one, other)| one.abs_diff(*other)).sum()
}

#[cfg(test)]
mod tests {
    use rules::{Missed, Outcome};

    use super::*;

    fn grabs(outcome: &str, reason: &str, grabs: u64) -> Grabs {
        Grabs {
            from: 0,
            outcome: outcome.into(),
            reason: reason.into(),
            grabs,
        }
    }

    #[test]
    fn what_differs_is_summed_over_the_outcomes() {
        let (log, elsewhere) = tally(&[
            grabs("won", "", 5),
            grabs("missed", "sold_out", 70),
            grabs("missed", "sold_out", 1),
            grabs("vanished", "", 3),
            grabs("missed", "", 4),
        ]);
        assert_eq!(elsewhere, 7);
        let mut counted = Tally::default();
        counted.outcomes[Outcome::Won.slot()] = 6;
        counted.outcomes[Outcome::Missed(Missed::SoldOut).slot()] = 69;
        assert_eq!(difference(&log, &counted), 3);
        assert_eq!(difference(&log, &log), 0);
    }
}
