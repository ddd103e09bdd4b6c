//! Every route of `/openapi.json` × every role: who gets in, and who does not.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    client::{Client, send, serve},
    sample::{plain, text, token, token_with},
    server::{ORGANISER_KEY, SERVICE_KEY},
};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Everybody.
    Public,
    /// Participants: a token.
    Participant,
    /// The organiser.
    Organiser,
    /// Other services, on the inner listener only.
    Service,
}

/// Who may call `path` by the contract.
fn access(method: &Method, path: &str) -> Access {
    match path {
        "/account/verify" | "/account/withdraw" => Access::Service,
        "/monitor/api/sessions" if *method == Method::POST => Access::Public,
        "/account/sessions" if *method == Method::GET => Access::Participant,
        // The setup token is in the body; whoever has none gets 403 from there.
        "/monitor/api/setup" => Access::Public,
        path if path.starts_with("/monitor/api") => Access::Organiser,
        path if path.ends_with("/grab") || path.ends_with("/wins") => Access::Participant,
        _ => Access::Public,
    }
}

/// The contract's routes: the document must hold at least these.
const CONTRACT: [(&str, &str); 27] = [
    ("post", "/account/sessions"),
    ("get", "/redpacket/campaigns/{id}"),
    ("post", "/redpacket/campaigns/{id}/grab"),
    ("get", "/redpacket/campaigns/{id}/wins"),
    ("get", "/redpacket/campaigns/{id}/events"),
    ("post", "/monitor/api/sessions"),
    ("post", "/monitor/api/campaigns"),
    ("get", "/monitor/api/campaigns"),
    ("get", "/monitor/api/campaigns/{id}"),
    ("patch", "/monitor/api/campaigns/{id}"),
    ("post", "/monitor/api/campaigns/{id}/pause"),
    ("post", "/monitor/api/campaigns/{id}/resume"),
    ("post", "/monitor/api/campaigns/{id}/close"),
    ("post", "/monitor/api/campaigns/{id}/top-up"),
    ("get", "/monitor/api/campaigns/{id}/live"),
    ("get", "/monitor/api/campaigns/{id}/winners"),
    (
        "post",
        "/monitor/api/campaigns/{id}/winners/{packet}/redeem",
    ),
    ("get", "/monitor/api/campaigns/{id}/stats"),
    ("get", "/monitor/api/campaigns/{id}/audit"),
    ("get", "/monitor/api/queue"),
    ("put", "/monitor/api/users"),
    ("get", "/monitor/api/users"),
    ("delete", "/monitor/api/users/{user}"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/redpacket/test"),
    ("get", "/test"),
];

async fn routes(client: &Client) -> Vec<(Method, String)> {
    let document = send(client.request(Method::GET, "/openapi.json"))
        .await
        .expect(200);
    assert!(
        text(&document["openapi"]).starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    let paths = document["paths"].as_object().expect("paths").clone();
    let mut routes = Vec::new();
    for (path, item) in paths {
        for method in item.as_object().expect("an item").keys() {
            if let Ok(method) = method.to_uppercase().parse::<Method>()
                && ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str())
            {
                routes.push((method, path.clone()));
            }
        }
    }
    routes
}

/// `path` with real values for its parameters.
fn concrete(path: &str, campaign: &str) -> String {
    let mut out = String::new();
    for part in path.split('/').skip(1) {
        out.push('/');
        match part {
            "{packet}" => out.push_str("1-1"),
            "{user}" => out.push_str("nobody"),
            part if part.starts_with('{') => out.push_str(campaign),
            part => out.push_str(part),
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_holds_the_contract() {
    let (_folder, _server, client) = serve();
    let routes = routes(&client).await;
    for (method, path) in CONTRACT {
        let there = routes.iter().any(|(known_method, known)| {
            known_method.as_str().eq_ignore_ascii_case(method)
                && concrete(known, "id") == concrete(path, "id")
        });
        assert!(there, "{method} {path} is not in /openapi.json");
    }
    let page = client.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_for_every_role() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(50)).await;
    client.grab(&campaign, "somebody").await.win();
    let forged = token_with(
        &json!({"sub": "ming", "aud": "hongbao"}),
        "a-secret-of-32-bytes-that-is-not-the-one",
    );
    let roles = [
        ("nobody", None),
        ("forged", Some(forged)),
        ("participant", Some(token("ming"))),
        ("organiser", Some(ORGANISER_KEY.to_owned())),
        ("service", Some(SERVICE_KEY.to_owned())),
    ];
    for (method, path) in routes(&client).await {
        let access = access(&method, &path);
        for (role, bearer) in &roles {
            let mut request = client.request(method.clone(), &concrete(&path, &campaign));
            if let Some(bearer) = bearer {
                request = request.bearer_auth(bearer);
            }
            if method != Method::GET {
                request = request
                    .json(&Value::Null)
                    .header("Idempotency-Key", format!("{role}-{path}"));
            }
            // Only the status counts: an event stream never ends.
            let status = request.send().await.expect("the server answers").status();
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
            let what = format!("{method} {path} as {role}: {status}");
            match access {
                Access::Service => {
                    assert_eq!(
                        status,
                        StatusCode::NOT_FOUND,
                        "on the public listener: {what}"
                    );
                }
                Access::Public => assert!(!refused || path == "/monitor/api/setup", "{what}"),
                Access::Participant => assert_eq!(refused, *role != "participant", "{what}"),
                Access::Organiser => assert_eq!(refused, *role != "organiser", "{what}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_is_for_services_on_the_inner_listener() {
    let (_folder, server, client) = serve();
    let rules = json!({"rules": {"blocked": ["bad"]}});
    let campaign = client.create(&crate::sample::with(plain(5), rules)).await;
    let body = json!({"campaign": campaign, "attempts": [{"user": "ming", "ip": "10.0.0.1"}, {"user": "bad", "ip": "10.0.0.1"}]});
    send(
        client
            .request(Method::POST, "/account/verify")
            .bearer_auth(SERVICE_KEY)
            .json(&body),
    )
    .await
    .expect(404);

    let inner = reqwest::Client::new();
    let url = format!("http://127.0.0.1:{}/account/verify", server.plan.inner_port);
    let response = inner.post(&url).json(&body).send().await;
    let response = response.expect("the inner listener answers");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    for (bearer, expected) in [(ORGANISER_KEY, 401), (SERVICE_KEY, 200)] {
        let response = inner
            .post(&url)
            .bearer_auth(bearer)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), expected);
        if expected == 200 {
            let verdicts: Value = response.json().await.unwrap();
            assert_eq!(
                verdicts,
                json!({"verdicts": [{"verdict": "admitted"}, {"verdict": "rejected", "reason": "blocked"}]})
            );
        }
    }
}
