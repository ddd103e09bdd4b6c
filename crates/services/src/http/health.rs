//! Liveness and readiness.
//!
//! `/healthz` never depends on a backend: a process that lives is not to be restarted because a
//! database is away. `/readyz` (in the mission's words `/redpacket/test` and `/test`) does, and
//! says no while the process drains, so that a balancer sends nothing more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;

use super::{ApiError, openapi::ErrorBody};

/// How often a part is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A part that has not answered by then is not ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Whether this process can serve: the parts it waits for, as last heard, and whether it drains.
#[derive(Default)]
pub struct Readiness {
    draining: AtomicBool,
    parts: Mutex<BTreeMap<&'static str, Part>>,
}

/// What was last heard of a part; `Err` holds the reason, for the log.
type Part = Result<(), String>;

impl Readiness {
    /// Ready when each of `parts` has reported that it is; none has yet.
    #[must_use]
    pub fn expecting(parts: &[&'static str]) -> Arc<Self> {
        let unheard = |&part| {
            tell(part, false);
            (part, Err("has not answered yet".to_owned()))
        };
        metrics::gauge!("hongbao_draining").set(0.0);
        Arc::new(Self {
            draining: AtomicBool::new(false),
            parts: Mutex::new(parts.iter().map(unheard).collect()),
        })
    }

    /// Notes whether `part` is ready; a change is logged.
    pub fn report(&self, part: &'static str, heard: Result<(), String>) {
        tell(part, heard.is_ok());
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parts.insert(part, heard.clone());
        match (before, heard) {
            (Some(Ok(())), Ok(())) | (Some(Err(_)), Err(_)) => {}
            (_, Ok(())) => tracing::info!(part, "ready"),
            (_, Err(reason)) => tracing::warn!(part, reason, "not ready"),
        }
    }

    /// From now on not ready, whatever the parts say.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        metrics::gauge!("hongbao_draining").set(1.0);
    }

    /// Whether [`Self::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Asks `check` every second whether `part` is ready, until `stop`.
    pub async fn watch<Check, Answer, Cause>(
        self: Arc<Self>,
        part: &'static str,
        check: Check,
        stop: CancellationToken,
    ) where
        Check: Fn() -> Answer,
        Answer: Future<Output = Result<(), Cause>>,
        Cause: std::fmt::Display,
    {
        self.watch_patiently(part, Duration::ZERO, check, stop)
            .await;
    }

    /// As [`Self::watch`], but once `part` was ready, it is not before each answer of the last
    /// `patience` was a no. For a part of several replicas behind a balancer: the no of one says
    /// nothing about the others, and all who ask would believe it at the same time.
    pub async fn watch_patiently<Check, Answer, Cause>(
        self: Arc<Self>,
        part: &'static str,
        patience: Duration,
        check: Check,
        stop: CancellationToken,
    ) where
        Check: Fn() -> Answer,
        Answer: Future<Output = Result<(), Cause>>,
        Cause: std::fmt::Display,
    {
        let mut last_ready: Option<Instant> = None;
        loop {
            let heard = match tokio::time::timeout(ANSWER_WITHIN, check()).await {
                Ok(answer) => answer.map_err(|cause| cause.to_string()),
                Err(_late) => Err(format!("did not answer within {ANSWER_WITHIN:?}")),
            };
            if heard.is_ok() {
                last_ready = Some(Instant::now());
            }
            match heard {
                Err(cause) if last_ready.is_some_and(|ready| ready.elapsed() < patience) => {
                    tracing::debug!(part, cause, "a no that does not count yet");
                }
                heard => self.report(part, heard),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
        }
    }

    /// Whether this process can serve now.
    ///
    /// # Errors
    /// 503 `not_ready`, which names the parts that are not; why stands in the log.
    pub fn check(&self) -> Result<(), ApiError> {
        let reason = if self.is_draining() {
            "draining: this process is about to stop".to_owned()
        } else {
            let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting: Vec<_> = parts
                .iter()
                .filter(|(_, heard)| heard.is_err())
                .map(|(part, _)| *part)
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            format!("not ready: {}", waiting.join(", "))
        };
        Err(ApiError {
            retry_after_seconds: Some(1),
            ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason)
        })
    }
}

/// Notes for the metrics whether `part` is ready.
fn tell(part: &'static str, ready: bool) {
    metrics::gauge!("hongbao_ready", "part" => part).set(if ready { 1.0 } else { 0.0 });
}

/// The header in which these answers name the services that the process runs.
pub const SERVICES: HeaderName = HeaderName::from_static("hongbao-services");

/// `/healthz`, and readiness under its three names. Each answer names the `services` of this
/// process: where addresses are given out anew, a balancer may still ask one that has become
/// another service's, which would say truly that it is ready.
///
/// # Panics
/// When the names are no text of a header.
pub fn router(readiness: Arc<Readiness>, services: String) -> Router {
    let services = HeaderValue::try_from(services).expect("names are plain");
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/redpacket/test", get(redpacket_test))
        .route("/test", get(test))
        .route_layer(SetResponseHeaderLayer::overriding(SERVICES, services))
        .with_state(readiness)
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It does")))]
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// Whether the process can serve; `/redpacket/test` and `/test` answer the same.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "It can"),
        (status = 503, description = "`not_ready`: a backend does not answer, or the process drains", body = ErrorBody)))]
pub(super) async fn ready(
    State(readiness): State<Arc<Readiness>>,
) -> Result<Json<Value>, ApiError> {
    readiness.check()?;
    Ok(Json(json!({ "status": "ready" })))
}

/// Whether the service can serve: `/readyz` by the mission's name at the red-packet service.
#[utoipa::path(get, path = "/redpacket/test", tag = "health",
    responses(
        (status = 200, description = "It can"),
        (status = 503, description = "`not_ready`", body = ErrorBody)))]
pub(super) async fn redpacket_test(
    readiness: State<Arc<Readiness>>,
) -> Result<Json<Value>, ApiError> {
    ready(readiness).await
}

/// Whether the service can serve: `/readyz` by the mission's name at the account service.
#[utoipa::path(get, path = "/test", tag = "health",
    responses(
        (status = 200, description = "It can"),
        (status = 503, description = "`not_ready`", body = ErrorBody)))]
pub(super) async fn test(readiness: State<Arc<Readiness>>) -> Result<Json<Value>, ApiError> {
    ready(readiness).await
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(readiness: &Arc<Readiness>, path: &str) -> u16 {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router(readiness.clone(), "account, monitor".into())
            .oneshot(request)
            .await
            .unwrap();
        answer.status().as_u16()
    }

    #[tokio::test]
    async fn ready_when_every_part_is_and_not_while_draining() {
        let readiness = Readiness::expecting(&["ledger", "queue"]);
        assert_eq!(status(&readiness, "/readyz").await, 503);
        readiness.report("queue", Ok(()));
        assert_eq!(
            readiness.check().unwrap_err().message,
            "not ready: ledger",
            "only the part that is missing is named"
        );
        readiness.report("ledger", Ok(()));
        for path in ["/readyz", "/redpacket/test", "/test"] {
            assert_eq!(status(&readiness, path).await, 200, "{path}");
        }
        readiness.report("ledger", Err("disk on fire".into()));
        assert_eq!(status(&readiness, "/readyz").await, 503);
        readiness.report("ledger", Ok(()));
        readiness.drain();
        for path in ["/readyz", "/redpacket/test", "/test"] {
            assert_eq!(status(&readiness, path).await, 503, "{path}");
        }
        assert_eq!(status(&readiness, "/healthz").await, 200);
    }

    #[tokio::test]
    async fn the_answers_name_the_services() {
        let router = router(Readiness::expecting(&[]), "account, monitor".into());
        for path in ["/healthz", "/readyz", "/test"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.headers()[SERVICES], "account, monitor", "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_hangs_is_not_ready() {
        let readiness = Readiness::expecting(&["ledger"]);
        let stop = CancellationToken::new();
        let hangs = || std::future::pending::<Result<(), String>>();
        let watch = tokio::spawn(readiness.clone().watch("ledger", hangs, stop.clone()));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(readiness.check().is_err());
        stop.cancel();
        watch.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn patience_outlasts_a_no_and_not_an_absence() {
        let readiness = Readiness::expecting(&["account"]);
        let stop = CancellationToken::new();
        let began = Instant::now();
        // Away at first; then there, with a gap of four seconds; and gone from the twentieth on.
        let check = move || async move {
            match began.elapsed().as_secs() {
                0..3 | 10..14 | 20.. => Err("no"),
                _ => Ok(()),
            }
        };
        let patience = Duration::from_secs(5);
        let watch = readiness
            .clone()
            .watch_patiently("account", patience, check, stop.clone());
        let watch = tokio::spawn(watch);
        let mut ready = Vec::new();
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if readiness.check().is_ok() {
                ready.push(began.elapsed().as_secs());
            }
        }
        assert_eq!((ready.first(), ready.last()), (Some(&4), Some(&24)));
        assert_eq!(ready.len(), 21, "a gap counted: {ready:?}");
        stop.cancel();
        watch.await.unwrap();
    }

    #[tokio::test]
    async fn watching_hears_of_readiness() {
        let readiness = Readiness::expecting(&["ledger"]);
        let stop = CancellationToken::new();
        stop.cancel();
        let answers = || async { Ok::<(), String>(()) };
        readiness.clone().watch("ledger", answers, stop).await;
        assert!(readiness.check().is_ok());
    }
}
