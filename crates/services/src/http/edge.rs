//! What stands around every route of a listener, from the outside in: request id and log line,
//! the client's address, security headers, panics, time, size. Unknown routes and wrong methods
//! get the contract's error body like everything else.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    ApiError,
    client_ip::{TrustedProxies, with_client_ip},
    paced,
    request_id::{RequestIds, with_request_id},
    security_headers::with_security_headers,
};

/// The largest request body, in bytes, where a route sets no other limit.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The largest request body that any route takes, in bytes.
pub const LARGE_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the edge of a listener needs to know.
#[derive(Clone)]
pub struct Edge {
    /// Where request ids come from.
    pub request_ids: Arc<RequestIds>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// How long a request may take until its response begins, besides what its body may take to
    /// arrive; streams may go on for longer.
    pub answer_within: Duration,
}

impl Edge {
    /// `router` with the edge around it. To be called last, when all routes are there.
    pub fn around(&self, router: Router) -> Router {
        router
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(self.answer_within, with_time_limit))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(from_fn(with_security_headers))
            .layer(from_fn_with_state(
                self.trusted_proxies.clone(),
                with_client_ip,
            ))
            .layer(from_fn_with_state(
                self.request_ids.clone(),
                with_request_id,
            ))
    }
}

async fn not_found() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path; see /docs",
    )
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method; see /docs",
    )
}

/// When a handler panics the client still gets the one body.
fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "something broke while answering; see the server's log",
    )
    .into_response()
}

async fn with_time_limit(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let limit = limit + arrives_within(request.body());
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_late) => ApiError::unavailable("this took too long; ask again").into_response(),
    }
}

/// How long a body of this length may take; one of unknown length is none of the large ones.
fn arrives_within(body: &Body) -> Duration {
    let bytes = body.size_hint().exact().unwrap_or(0);
    Duration::from_secs(bytes.min(LARGE_BODY_BYTES_MAX as u64) / paced::BYTES_A_SECOND)
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, Bytes},
        routing::{get, post},
    };
    use tower::ServiceExt as _;

    use super::*;

    fn router() -> Router {
        let routes = Router::new()
            .route("/here", get(|| async { "here" }))
            .route("/body", post(|body: Bytes| async move { body }))
            .route(
                "/json",
                post(|_: crate::http::Json<serde_json::Value>| async { "read" }),
            )
            .route(
                "/panic",
                get(|| async {
                    assert!(std::hint::black_box(false), "on purpose");
                }),
            )
            .route("/never", get(std::future::pending::<()>));
        Edge {
            request_ids: RequestIds::new(1),
            trusted_proxies: Arc::default(),
            answer_within: Duration::from_secs(30),
        }
        .around(routes)
    }

    #[test]
    fn a_large_body_may_take_its_time() {
        let seconds = |bytes: usize| arrives_within(&Body::from(vec![0; bytes])).as_secs();
        assert_eq!([0, 1_000, 3 * 16 * 1024].map(seconds), [0, 0, 3]);
        assert_eq!(seconds(20 * 1024 * 1024), 1_024);
    }

    async fn answer(request: Request) -> (Response<()>, String) {
        let (parts, body) = router().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (Response::from_parts(parts, ()), text)
    }

    fn get_request(path: &str) -> Request {
        Request::get(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn an_unknown_route_has_the_error_body() {
        let (response, body) = answer(get_request("/nowhere")).await;
        assert_eq!(response.status(), 404);
        assert!(response.headers().contains_key("content-security-policy"));
        insta::assert_snapshot!(body, @r#"{"error":{"code":"not_found","message":"there is nothing at this path; see /docs","request_id":"0000000000000001-1"}}"#);
    }

    #[tokio::test]
    async fn a_wrong_method_has_the_error_body_and_allow() {
        let request = Request::delete("/here").body(Body::empty()).unwrap();
        let (response, body) = answer(request).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET,HEAD");
        insta::assert_snapshot!(body, @r#"{"error":{"code":"method_not_allowed","message":"this path does not take this method; see /docs","request_id":"0000000000000001-1"}}"#);
    }

    #[tokio::test]
    async fn a_panic_is_a_500_and_tells_nothing() {
        let (response, body) = answer(get_request("/panic")).await;
        assert_eq!(response.status(), 500);
        insta::assert_snapshot!(body, @r#"{"error":{"code":"internal","message":"something broke while answering; see the server's log","request_id":"0000000000000001-1"}}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_hangs_is_given_up() {
        let (response, body) = answer(get_request("/never")).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        insta::assert_snapshot!(body, @r#"{"error":{"code":"unavailable","message":"this took too long; ask again","request_id":"0000000000000001-1"}}"#);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let json = Request::post("/json").header("content-type", "application/json");
        let text = format!("\"{}\"", "x".repeat(BODY_BYTES_MAX));
        let (response, body) = answer(json.body(Body::from(text)).unwrap()).await;
        assert_eq!(response.status(), 413);
        assert!(body.contains(r#""code":"too_large""#), "{body}");
        let fits = Request::post("/body").body(Body::from("x".repeat(BODY_BYTES_MAX)));
        assert_eq!(answer(fits.unwrap()).await.0.status(), 200);
    }
}
