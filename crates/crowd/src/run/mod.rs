//! A run from the first look at the campaign to the report.
//!
//! In this order: check the options, see that the campaign is there, log every user in, let taps
//! arrive, wait for what is still without an answer, gather the books, judge them.

mod arrivals;
pub(crate) mod login;
pub(crate) mod progress;
pub(crate) mod tally;
pub(crate) mod tapper;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use http::{HeaderValue, Method};

use crate::{
    audit::{self, Evidence},
    http::{
        contract::{PublicCampaign, error_of},
        link::{Link, request},
        target::Target,
    },
    options::{CrowdError, Options},
    report::{Report, RunFacts},
};
use tapper::{Shared, Stop};

/// How often the end of the outstanding taps is looked for.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// Runs a crowd and audits the books afterwards.
///
/// # Errors
/// When the run could not start: options out of range, no server, no such campaign, users that
/// may not log in. What goes wrong later is in the report.
pub async fn run(options: Options) -> Result<Report, CrowdError> {
    options.check()?;
    let target = Arc::new(options.target.clone());
    let campaign = look(&options, &target).await?;
    let key = organiser_key(&options)?;
    let users = login::log_in(&options, &target).await?;

    let options = Arc::new(options);
    let shared = Arc::new(Shared::new(options.clone(), target.clone(), users));
    let began = Instant::now();
    tap(&shared).await;
    let ran = began.elapsed();

    let facts = RunFacts::new(&options, &campaign.title, ran, shared.stop());
    let taps = shared.tally.counts();
    let latency = shared.tally.latency();
    let told = shared.tally.take_told();
    let gatherer = audit::gather::Gatherer::new(&options, target, key, campaign.terms);
    let books = gatherer.gather(&shared.users, &told.wins).await;
    let evidence = Evidence {
        users: shared.users.iter().map(|user| user.id.clone()).collect(),
        told: told.wins,
        changed: told.changed,
        marks: told.marks,
        without_answer: taps.unanswered + taps.refused_total(),
        run_began: campaign.server_time,
        books,
    };
    let checks = audit::checks::all(&evidence);
    Ok(Report::new(facts, taps, latency, checks, &evidence.books))
}

/// Sees that the server answers and that the campaign is there.
async fn look(options: &Options, target: &Arc<Target>) -> Result<PublicCampaign, CrowdError> {
    let doing = || format!("reading campaign {}", options.campaign);
    let path = target.path(&format!("/redpacket/campaigns/{}", options.campaign));
    let ask = request(target, Method::GET, path, None, None);
    let reply = Link::new(target.clone())
        .call(ask, options.attempt_timeout)
        .await
        .map_err(|lost| CrowdError::Unreachable {
            url: target.url.clone(),
            cause: lost.to_string(),
        })?;
    if !reply.status.is_success() {
        let error = error_of(&reply.body);
        return Err(CrowdError::Refused {
            doing: doing(),
            status: reply.status.as_u16(),
            code: error.code,
            message: error.message,
        });
    }
    serde_json::from_slice(&reply.body).map_err(|cause| CrowdError::Unreadable {
        doing: doing(),
        cause: cause.to_string(),
    })
}

/// The organiser key as an Authorization header.
fn organiser_key(options: &Options) -> Result<Option<HeaderValue>, CrowdError> {
    let Some(key) = &options.organiser_key else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
        CrowdError::Options("the organiser key has characters that no header can carry".into())
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Lets taps arrive and returns when each has its answer or was given up.
async fn tap(shared: &Arc<Shared>) {
    let display = progress::start(shared);
    let workers: Vec<_> = (0..shared.options.connections)
        .map(|_| {
            tokio::spawn(tapper::work(
                shared.clone(),
                Link::new(shared.target.clone()),
            ))
        })
        .collect();
    let arrivals = {
        let shared = shared.clone();
        // Arrivals need a steadier clock than a timer of 1 ms that shares its threads with the
        // answers, so they have a thread of their own.
        tokio::task::spawn_blocking(move || arrivals::run(&shared))
    };
    if let Err(panic) = arrivals.await {
        std::panic::resume_unwind(panic.into_panic());
    }
    while shared.in_flight.load(Ordering::Acquire) > 0 {
        tokio::time::sleep(DRAIN_POLL).await;
    }
    shared.queue.close();
    for worker in workers {
        if let Err(panic) = worker.await {
            std::panic::resume_unwind(panic.into_panic());
        }
    }
    display.finish().await;
}

impl Stop {
    /// Why the run stopped before its time, for a person.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::SoldOut => Some("sold out"),
            Self::Ended => Some("the campaign has ended"),
        }
    }
}
