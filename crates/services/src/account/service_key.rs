//! The key that services show each other on the inner listener.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header};

use crate::http::{
    ApiError,
    credentials::{bearer, sha256},
};

/// The services' common key. Only its digest is kept, which also makes the time of a comparison
/// say nothing about the key or its length.
#[derive(Clone)]
pub struct ServiceKey {
    sha256: [u8; 32],
}

impl ServiceKey {
    /// The key as configured.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self {
            sha256: sha256(key.as_bytes()),
        }
    }

    fn opens(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|key| {
            constant_time::verify_slices_are_equal(&sha256(key.as_bytes()), &self.sha256).is_ok()
        })
    }
}

/// `router`, which needs no key; but who shows a wrong one is told. A service asks thus whether
/// its key is the right one, before the first grab depends on it.
pub fn refusing_wrong_ones(router: Router, key: ServiceKey) -> Router {
    router.layer(from_fn_with_state(Arc::new(key), refuse_wrong_one))
}

async fn refuse_wrong_one(
    State(key): State<Arc<ServiceKey>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if key.opens(headers) || !headers.contains_key(header::AUTHORIZATION) {
        return next.run(request).await;
    }
    refused()
}

fn refused() -> Response {
    ApiError::unauthenticated("send `Authorization: Bearer` with the service key").into_response()
}

/// Middleware: lets a request through that shows the key, before its body is read.
pub(super) async fn guard(
    State(key): State<Arc<ServiceKey>>,
    request: Request,
    next: Next,
) -> Response {
    if key.opens(request.headers()) {
        return next.run(request).await;
    }
    refused()
}
