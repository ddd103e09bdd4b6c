//! Each request's id, and the one structured log line that each request leaves.
//!
//! Ids are made here and never taken from outside: a caller must not be able to write into the
//! log or to make two requests look like one. The line names the route's pattern, never the path
//! or the query as sent, because these may hold a secret.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderValue;

use super::error::REQUEST_ID;

/// The response header that tells the caller the request's id.
pub const X_REQUEST_ID: &str = "x-request-id";

/// Makes request ids that are unique among processes: a part drawn once per process, and a count.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids that begin with `process`, drawn at random once per process.
    #[must_use]
    pub fn new(process: u64) -> Arc<Self> {
        Arc::new(Self {
            process,
            next: AtomicU64::new(1),
        })
    }

    /// The next id: hexadecimal digits and a hyphen.
    pub fn next(&self) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{count:x}", self.process)
    }
}

/// Middleware: gives the request its id, for error bodies and the response header, and logs it.
pub async fn with_request_id(
    State(ids): State<Arc<RequestIds>>,
    request: Request,
    next: Next,
) -> Response {
    let id = ids.next();
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = REQUEST_ID.scope(id.clone(), next.run(request)).await;

    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    let status = response.status().as_u16();
    let duration_us = started.elapsed().as_micros();
    if response.status().is_server_error() {
        tracing::info!(%method, route, status, duration_us, request_id = %id, "answered a request with an error of the server");
    } else {
        tracing::debug!(%method, route, status, duration_us, request_id = %id, "answered a request");
    }
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware, routing::get};
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::ApiError;

    #[test]
    fn ids_differ() {
        let ids = RequestIds::new(7);
        assert_eq!(ids.next(), "0000000000000007-1");
        assert_eq!(ids.next(), "0000000000000007-2");
    }

    #[tokio::test]
    async fn the_id_is_ours_and_stands_in_header_and_body() {
        let router = Router::new()
            .route(
                "/",
                get(|| async { ApiError::unauthenticated("who are you") }),
            )
            .layer(middleware::from_fn_with_state(
                RequestIds::new(255),
                with_request_id,
            ));
        let request = Request::get("/").header(X_REQUEST_ID, "forged\u{e9}");
        let answer = router
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.headers()[X_REQUEST_ID], "00000000000000ff-1");
        let body = axum::body::to_bytes(answer.into_body(), 1024)
            .await
            .unwrap();
        insta::assert_snapshot!(
            String::from_utf8_lossy(&body),
            @r#"{"error":{"code":"unauthenticated","message":"who are you","request_id":"00000000000000ff-1"}}"#
        );
    }
}
