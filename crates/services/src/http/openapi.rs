//! The API's own description: OpenAPI 3.1 at `/openapi.json`, and a page at `/docs` to browse it.
//!
//! The page is a small one of ours, served by this process like any other: the common viewers
//! load their scripts from elsewhere, which our Content-Security-Policy forbids.

use axum::{Router, response::IntoResponse, routing::get};
use bytes::Bytes;
use http::header;
use utoipa::{
    OpenApi as _, ToSchema,
    openapi::{
        Components, OpenApi,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::health;

/// The body of every answer that is an error, for the documents of endpoints.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used; `ApiError` writes the body"
)]
pub struct ErrorBody {
    /// What went wrong.
    error: ErrorDetail,
}

/// What went wrong.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used; `ApiError` writes the body"
)]
pub struct ErrorDetail {
    /// Stable, `snake_case`; listed in docs/api.md.
    code: String,
    /// What is wrong and where, for a person.
    message: String,
    /// Names the request in the server's log.
    request_id: String,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Hongbao",
        description = "A red-packet rain: packets issued in waves, grabbed by many at once, provably fair. \
            Times are RFC 3339 in UTC with milliseconds, money whole minor units of its currency. \
            Unknown fields are refused by name.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "account", description = "Who a participant is, and who may try."),
        (name = "redpacket", description = "The grab."),
        (name = "monitor", description = "The organiser's control."),
        (name = "health", description = "Whether a service lives and can serve.")
    ),
    paths(health::alive, health::ready, health::redpacket_test, health::test),
    components(schemas(ErrorBody, ErrorDetail)),
    modifiers(&Securities)
)]
struct Base;

/// How callers prove who they are, by the names that endpoints refer to: `participant_token`,
/// `participant_cookie`, `organiser_key`, `organiser_cookie`, `service_key`.
struct Securities;

impl utoipa::Modify for Securities {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_with(Components::new);
        let mut bearer = |name: &str, format: &str, what: &str| {
            let http = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format(format)
                .description(Some(what));
            components.add_security_scheme(name, SecurityScheme::Http(http.build()));
        };
        bearer("participant_token", "JWT", "From POST /account/sessions.");
        bearer("organiser_key", "API key", "HONGBAO_ORGANISER_KEY.");
        bearer(
            "service_key",
            "key",
            "HONGBAO_SERVICE_KEY; inner listener only.",
        );
        let mut cookie = |name: &str, cookie: &str, what: &str| {
            let value = ApiKeyValue::with_description(cookie, what);
            components.add_security_scheme(name, SecurityScheme::ApiKey(ApiKey::Cookie(value)));
        };
        let rule = "A POST by cookie needs a matching Sec-Fetch-Site or Origin.";
        cookie("participant_cookie", "hongbao_token", rule);
        cookie("organiser_cookie", "hongbao_organiser", rule);
    }
}

/// One document out of what the services say of themselves.
#[must_use]
pub fn document(services: impl IntoIterator<Item = OpenApi>) -> OpenApi {
    let mut whole = Base::openapi();
    for service in services {
        whole.merge(service);
    }
    whole
}

/// `/openapi.json` and `/docs`, for `document`.
///
/// # Panics
/// When the document cannot be written as JSON, which every document can.
pub fn router(document: &OpenApi) -> Router {
    let json = document
        .to_json()
        .expect("a document is made of texts, numbers and maps keyed by text");
    let json = Bytes::from(json);
    Router::new()
        .route(
            "/openapi.json",
            get(async move || text("application/json", json.clone())),
        )
        .route("/docs", get(page))
        .route("/docs/", get(page))
        .route(
            "/docs/docs.js",
            get(async || {
                file(
                    "text/javascript; charset=utf-8",
                    include_str!("docs/docs.js"),
                )
            }),
        )
        .route(
            "/docs/docs.css",
            get(async || file("text/css; charset=utf-8", include_str!("docs/docs.css"))),
        )
}

async fn page() -> impl IntoResponse {
    file("text/html; charset=utf-8", include_str!("docs/index.html"))
}

fn file(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    text(content_type, Bytes::from_static(content.as_bytes()))
}

fn text(content_type: &'static str, content: Bytes) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, response::Response};
    use http::Request;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::ApiError;

    /// An endpoint of a service.
    #[utoipa::path(get, path = "/redpacket/x", responses((status = 404, body = ErrorBody)))]
    #[expect(dead_code, reason = "only what is said of it is used")]
    async fn x() {}

    #[derive(utoipa::OpenApi)]
    #[openapi(paths(x))]
    struct Part;

    async fn fetch(path: &str) -> (Response<()>, String) {
        let router = router(&document([Part::openapi()]));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (Response::from_parts(parts, ()), body)
    }

    #[tokio::test]
    async fn the_document_is_3_1_and_holds_every_part() {
        let (response, body) = fetch("/openapi.json").await;
        assert_eq!(response.headers()["content-type"], "application/json");
        let document: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["title"], "Hongbao");
        assert!(document["paths"]["/redpacket/x"]["get"].is_object());
        let schemes = &document["components"]["securitySchemes"];
        assert_eq!(schemes["participant_token"]["scheme"], "bearer");
        assert_eq!(schemes["organiser_cookie"]["in"], "cookie");
    }

    #[tokio::test]
    async fn the_documented_error_is_the_one_that_is_sent() {
        let answer = ApiError::no_such_campaign().into_response();
        let body = axum::body::to_bytes(answer.into_body(), 1024)
            .await
            .unwrap();
        let sent: Value = serde_json::from_slice(&body).unwrap();
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        let document = serde_json::to_value(document([])).unwrap();
        let schemas = &document["components"]["schemas"];
        assert_eq!(keys(&sent), keys(&schemas["ErrorBody"]["properties"]));
        assert_eq!(
            keys(&sent["error"]),
            keys(&schemas["ErrorDetail"]["properties"])
        );
    }

    #[tokio::test]
    async fn the_page_fits_our_content_security_policy() {
        let (_, page) = fetch("/docs").await;
        assert!(page.contains(r#"src="/docs/docs.js""#));
        assert!(!page.contains("//"), "nothing from elsewhere");
        assert!(!page.contains("style=") && !page.contains("<style"));
        assert!(!page.contains("<script>"), "nothing inline");
        let (script, _) = fetch("/docs/docs.js").await;
        assert_eq!(
            script.headers()["content-type"],
            "text/javascript; charset=utf-8"
        );
        assert_eq!(fetch("/docs/docs.css").await.0.status(), 200);
    }
}
