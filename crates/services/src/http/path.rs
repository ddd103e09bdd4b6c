//! The campaign that a path names.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use rules::CampaignId;

use super::ApiError;

/// The campaign id in the route's `{id}`. What is no id names no campaign: 404
/// `no_such_campaign`, whether or not it looks like one.
#[derive(Clone, Copy, Debug)]
pub struct CampaignPath(pub CampaignId);

impl<S: Send + Sync> FromRequestParts<S> for CampaignPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| ApiError::no_such_campaign())?;
        let id = params.iter().find(|(name, _)| *name == "id");
        id.and_then(|(_, value)| value.parse().ok())
            .map(Self)
            .ok_or_else(ApiError::no_such_campaign)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn only_a_uuid_names_a_campaign() {
        let router = Router::new().route(
            "/{id}/x",
            get(|CampaignPath(id)| async move { id.to_string() }),
        );
        for (path, expected) in [
            ("/018f3c2e-7b5a-7cc0-8000-000000000001/x", 200),
            ("/nonsense/x", 404),
            ("/%00/x", 404),
            ("/%ff/x", 404),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), expected, "{path}");
        }
    }
}
