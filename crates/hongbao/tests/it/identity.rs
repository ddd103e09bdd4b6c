//! Who asks: forged tokens, cookies, sessions, and requests that another site's page sent.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    client::{Client, Reply, send, serve},
    sample::{plain, text, token, token_with, unix_seconds},
    server::{Plan, Server, TOKEN_SECRET},
};

fn grab_path(campaign: &str) -> String {
    format!("/redpacket/campaigns/{campaign}/grab")
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_refused() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let valid = token("ming");
    let (head, rest) = valid.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let (_, other_claims, _) = {
        let other = token("hong");
        let mut parts = other.split('.').map(str::to_owned);
        (parts.next(), parts.next().unwrap(), parts.next())
    };
    let now = unix_seconds();
    let own = |claims: serde_json::Value| token_with(&claims, TOKEN_SECRET);
    let forged = [
        (
            "another's claims",
            format!("{head}.{other_claims}.{signature}"),
        ),
        ("no signature", format!("{head}.{claims}.")),
        // {"alg":"none","typ":"JWT"}
        (
            "alg none",
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}."),
        ),
        (
            "another secret",
            token_with(
                &json!({"sub": "ming", "aud": "hongbao"}),
                "a-secret-of-32-bytes-that-is-not-the-one",
            ),
        ),
        (
            "expired",
            own(json!({"sub": "ming", "aud": "hongbao", "iat": now - 7_200, "exp": now - 3_600})),
        ),
        (
            "too long",
            own(json!({"sub": "ming", "aud": "hongbao", "iat": now, "exp": now + 40 * 86_400})),
        ),
        (
            "another audience",
            own(json!({"sub": "ming", "aud": "other"})),
        ),
        ("no audience", own(json!({"sub": "ming"}))),
        ("no subject", own(json!({"aud": "hongbao"}))),
        (
            "an empty subject",
            own(json!({"sub": "", "aud": "hongbao"})),
        ),
        ("rubbish", "rubbish".into()),
        ("nothing", String::new()),
    ];
    for (what, token) in forged {
        for (method, path) in [
            (Method::POST, grab_path(&campaign)),
            (Method::GET, format!("/redpacket/campaigns/{campaign}/wins")),
        ] {
            let request = client.request(method, &path).bearer_auth(&token);
            let reply = send(request).await;
            assert_eq!(
                reply.status,
                StatusCode::UNAUTHORIZED,
                "{what}: {}",
                reply.body
            );
            reply.expect_error(401, "unauthenticated");
        }
    }
    client.grab(&campaign, "ming").await.win();
}

async fn login(client: &Client) -> (String, String) {
    let request = client
        .request(Method::POST, "/account/sessions")
        .json(&json!({"code": "my code"}));
    let reply = send(request).await;
    let cookie = reply.headers["set-cookie"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    (text(&reply.expect(200)["token"]), cookie)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_needs_proof_of_origin() {
    let (_folder, server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let (_, cookie) = login(&client).await;
    for part in ["HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(part), "{part} is missing: {cookie}");
    }
    assert!(
        !cookie.contains("Secure"),
        "over plain HTTP the browser would drop it: {cookie}"
    );
    let pair = cookie.split(';').next().unwrap().to_owned();
    let own = format!("http://{}", server.address);
    let ask = |header: Option<(&'static str, String)>| {
        let mut request = client
            .request(Method::POST, &grab_path(&campaign))
            .header("Cookie", &pair);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        send(request)
    };
    for forged in [
        None,
        Some(("Origin", "https://evil.example".to_owned())),
        Some(("Origin", "null".to_owned())),
        Some(("Sec-Fetch-Site", "cross-site".to_owned())),
        Some(("Sec-Fetch-Site", "same-site".to_owned())),
    ] {
        let reply = ask(forged.clone()).await;
        assert_eq!(
            reply.status,
            StatusCode::FORBIDDEN,
            "{forged:?}: {}",
            reply.body
        );
    }
    assert_eq!(
        ask(Some(("Origin", own))).await.expect(200)["outcome"],
        "won"
    );
    assert_eq!(
        ask(Some(("Sec-Fetch-Site", "same-origin".into())))
            .await
            .expect(200)["outcome"],
        "won"
    );
    let wins = client.request(
        Method::GET,
        &format!("/redpacket/campaigns/{campaign}/wins"),
    );
    send(wins.header("Cookie", &pair)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_bearer_never_falls_back_to_the_cookie() {
    let (_folder, _server, client) = serve();
    let campaign = client.create(&plain(5)).await;
    let (_, cookie) = login(&client).await;
    let pair = cookie.split(';').next().unwrap();
    let request = client.request(Method::POST, &grab_path(&campaign));
    let request = request
        .header("Cookie", pair)
        .header("Sec-Fetch-Site", "same-origin");
    send(request.bearer_auth("rubbish"))
        .await
        .expect_error(401, "unauthenticated");
}

/// The one-time token in the link that the server prints.
fn setup_token(server: &Server) -> String {
    let log = server.log();
    let mut words = log.split(|c: char| !c.is_ascii_hexdigit());
    let token = words.find(|word| word.len() == 64);
    token
        .expect("the first start prints a setup link with a token of 64 hex digits")
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_organiser_needs_the_setup_link() {
    let (_folder, server, client) = serve();
    let setup_token = setup_token(&server);
    let make = |token: String, username: &str| {
        let body = json!({"token": token, "username": username, "password": "long enough 1"});
        send(
            client
                .request(Method::POST, "/monitor/api/setup")
                .json(&body),
        )
    };
    let guessed = make("0".repeat(64), "boss").await;
    assert_eq!(guessed.status, StatusCode::FORBIDDEN, "{}", guessed.body);
    make(setup_token.clone(), "boss").await.expect(201);
    let again = make(setup_token, "second").await;
    assert_eq!(
        again.status,
        StatusCode::CONFLICT,
        "the link works once: {}",
        again.body
    );

    let sessions = |body: serde_json::Value| {
        send(
            client
                .request(Method::POST, "/monitor/api/sessions")
                .json(&body),
        )
    };
    let wrong = sessions(json!({"username": "boss", "password": "wrong"})).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{}", wrong.body);
    let session = sessions(json!({"username": "boss", "password": "long enough 1"})).await;
    let cookie = session.headers["set-cookie"].to_str().unwrap().to_owned();
    session.expect(200);
    for part in ["HttpOnly", "SameSite="] {
        assert!(cookie.contains(part), "{part} is missing: {cookie}");
    }
    let pair = cookie.split(';').next().unwrap().to_owned();

    let create = |site: Option<&'static str>| {
        let mut request = client
            .request(Method::POST, "/monitor/api/campaigns")
            .header("Cookie", &pair);
        if let Some(site) = site {
            request = request.header("Sec-Fetch-Site", site);
        }
        send(request.json(&plain(1)))
    };
    let check = |reply: Reply| assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
    check(create(None).await);
    check(create(Some("cross-site")).await);
    create(Some("same-origin")).await.expect(201);
    let list = client
        .request(Method::GET, "/monitor/api/campaigns")
        .header("Cookie", &pair);
    send(list).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_slowed_down() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path()).with("HONGBAO_LIMIT_LOOPBACK", "true");
    let server = plan.start();
    let client = Client::new(&server);
    let body = json!({"username": "boss", "password": "wrong"});
    let mut refused = false;
    for _ in 0..30 {
        let reply = send(
            client
                .request(Method::POST, "/monitor/api/sessions")
                .json(&body),
        )
        .await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(reply.headers.contains_key("retry-after"));
            refused = true;
            break;
        }
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{}", reply.body);
    }
    assert!(refused, "thirty guesses in a row were all taken");
}
