//! What is refused, with which status and code, and with the field's name in the message.

use reqwest::Method;
use serde_json::json;

use crate::{
    client::{send, serve},
    sample::{plain, token},
};

const CAMPAIGNS: &str = "/monitor/api/campaigns";

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_none() {
    let (_folder, _server, client) = serve();
    let post = |kind: &'static str, body: String| {
        send(
            client
                .organiser(Method::POST, CAMPAIGNS)
                .header("Content-Type", kind)
                .body(body),
        )
    };
    let json_kind = "application/json";
    for rubbish in [
        "",
        "{",
        "nonsense",
        "{\"title\":\"x\"} trailing",
        "\u{0}",
        "[[[[[[",
    ] {
        let reply = post(json_kind, rubbish.into()).await;
        assert_eq!(reply.status.as_u16(), 400, "`{rubbish}`: {}", reply.body);
    }
    for other in ["[]", "5", "null", "\"text\""] {
        let reply = post(json_kind, other.into()).await;
        assert_eq!(reply.status.as_u16(), 400, "`{other}`: {}", reply.body);
    }
    let deep = "[".repeat(50_000);
    let reply = post(json_kind, format!("{{\"title\":{deep}")).await;
    assert!(reply.status.is_client_error(), "{}", reply.status);
    let plain_text = post("text/plain", plain(5).to_string()).await;
    plain_text.expect_error(415, "unsupported_media_type");
    let form = post("application/x-www-form-urlencoded", "title=x".into()).await;
    form.expect_error(415, "unsupported_media_type");
    let huge = json!({"title": "x".repeat(20 * 1024 * 1024)}).to_string();
    // The server may answer and hang up before it has read all of it.
    let request = client
        .organiser(Method::POST, CAMPAIGNS)
        .header("Content-Type", json_kind);
    if let Ok(response) = request.body(huge).send().await {
        assert_eq!(response.status().as_u16(), 413);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_headers() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    for (path, body, field) in [
        ("/account/sessions", json!({}), "code"),
        ("/account/sessions", json!({"code": 5}), "code"),
        ("/account/sessions", json!({"code": "x", "more": 1}), "more"),
        (
            "/monitor/api/sessions",
            json!({"username": "x"}),
            "password",
        ),
        (
            "/monitor/api/sessions",
            json!({"password": "x"}),
            "username",
        ),
        (
            "/monitor/api/sessions",
            json!({"username": "x", "password": "y", "more": 1}),
            "more",
        ),
    ] {
        let reply = send(client.request(Method::POST, path).json(&body)).await;
        let message = reply.expect_error(400, "invalid_field");
        let named = message.contains(&format!("`{field}`"));
        assert!(named, "{path} {body}: {message}");
    }
    let grab = format!("/redpacket/campaigns/{campaign}/grab");
    let twice = client
        .request(Method::POST, &grab)
        .bearer_auth(token("ming"))
        .header("Grab-Id", uuid::Uuid::new_v4().to_string())
        .header("Grab-Id", uuid::Uuid::new_v4().to_string());
    let reply = send(twice).await;
    let message = reply.expect_error(400, "invalid_header");
    assert!(message.contains("`Grab-Id`"), "{message}");
    for (name, value) in [
        ("Grab-Id", "no-uuid"),
        ("Grab-Attempt", "0"),
        ("Grab-Attempt", "x"),
        ("Grab-Attempt", "-1"),
    ] {
        let request = client
            .request(Method::POST, &grab)
            .bearer_auth(token("ming"));
        let reply = send(request.header(name, value)).await;
        let message = reply.expect_error(400, "invalid_header");
        let named = message.contains(&format!("`{name}`"));
        assert!(named, "{name}: {value}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    for id in [
        uuid::Uuid::new_v4().to_string(),
        "no-uuid".into(),
        "%00".into(),
        "..%2f..".into(),
    ] {
        for (method, path) in [
            (Method::GET, format!("/redpacket/campaigns/{id}")),
            (Method::POST, format!("/redpacket/campaigns/{id}/grab")),
            (Method::GET, format!("/redpacket/campaigns/{id}/wins")),
        ] {
            let reply = send(client.request(method, &path).bearer_auth(token("ming"))).await;
            reply.expect_error(404, "no_such_campaign");
        }
        for verb in ["", "/live", "/winners", "/stats", "/audit"] {
            let path = format!("{CAMPAIGNS}/{id}{verb}");
            send(client.organiser(Method::GET, &path))
                .await
                .expect_error(404, "no_such_campaign");
        }
    }
    for path in [
        "/nowhere",
        "/redpacket",
        "/monitor/api/nowhere",
        "/../../etc/passwd",
    ] {
        let reply = send(client.organiser(Method::GET, path)).await;
        assert_eq!(reply.status.as_u16(), 404, "{path}: {}", reply.body);
    }
    let wrong_method = client.organiser(Method::DELETE, &format!("{CAMPAIGNS}/{campaign}/live"));
    send(wrong_method)
        .await
        .expect_error(405, "method_not_allowed");
    for query in ["cursor=rubbish", "format=xml", "unknown=1"] {
        let path = format!("{CAMPAIGNS}/{campaign}/winners?{query}");
        let reply = send(client.organiser(Method::GET, &path)).await;
        assert_eq!(reply.status.as_u16(), 400, "{query}: {}", reply.body);
    }
    for query in [
        "from=rubbish",
        "step=0",
        "step=-1",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
    ] {
        let path = format!("{CAMPAIGNS}/{campaign}/stats?{query}");
        let reply = send(client.organiser(Method::GET, &path)).await;
        assert_eq!(reply.status.as_u16(), 400, "{query}: {}", reply.body);
    }
}
