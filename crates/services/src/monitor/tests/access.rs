//! Who is let in: the matrix of routes, sessions, setup, cross-site requests, back-off.

use http::{Method, StatusCode};
use serde_json::json;

use crate::{
    http::ClientIp,
    monitor::{
        router,
        testkit::{Answer, Bench, KEY, PUBLIC_URL},
    },
};

const SESSIONS: &str = "/monitor/api/sessions";
const SETUP: &str = "/monitor/api/setup";
const PASSWORD: &str = "correct horse";

async fn login(bench: &Bench, username: &str, password: &str) -> Answer {
    let call = bench.anonymous(Method::POST, SESSIONS);
    let body = json!({"username": username, "password": password});
    call.json(&body).send().await
}

async fn set_up(bench: &Bench) {
    let token = bench.monitor.begin_setup().await.unwrap().unwrap();
    let body = json!({"token": token, "username": "ann", "password": PASSWORD});
    let answer = bench
        .anonymous(Method::POST, SETUP)
        .json(&body)
        .send()
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

#[tokio::test]
async fn every_route_but_setup_and_login_needs_the_organiser() {
    let bench = Bench::new().await;
    let mut routes = 0;
    let paths = router(bench.monitor.clone()).into_openapi().paths.paths;
    for (path, item) in paths {
        for (method, there) in [
            (Method::GET, item.get.is_some()),
            (Method::POST, item.post.is_some()),
            (Method::PUT, item.put.is_some()),
            (Method::PATCH, item.patch.is_some()),
            (Method::DELETE, item.delete.is_some()),
        ] {
            let open = path == SETUP || (path == SESSIONS && method == Method::POST);
            if !there || open {
                continue;
            }
            routes += 1;
            let url = path
                .replace("{id}", "00000000-0000-7000-8000-000000000000")
                .replace("{packet}", "1-1")
                .replace("{user}", "bob");
            for (name, value) in [
                ("x-nothing", ""),
                ("authorization", "Bearer wrong"),
                ("authorization", "Bearer "),
                ("authorization", "Basic YTpi"),
                ("authorization", KEY),
                ("cookie", "hongbao_organiser=wrong"),
            ] {
                let call = bench.anonymous(method.clone(), &url).header(name, value);
                let refusal = call.send().await.refusal();
                let what = format!("{method} {path} with {name}: {value}");
                assert_eq!(refusal, (401, "unauthenticated".into()), "{what}");
            }
        }
    }
    assert_eq!(routes, 22, "every route is in the document");
}

#[tokio::test]
async fn the_first_organiser_needs_the_printed_token_and_is_made_once() {
    let bench = Bench::new().await;
    let needed = async || bench.anonymous(Method::GET, SETUP).send().await.json();
    assert_eq!(needed().await, json!({"needed": true}));
    let token = bench.monitor.begin_setup().await.unwrap().unwrap();
    let make = async |token: &str| {
        let body = json!({"token": token, "username": " ann ", "password": PASSWORD});
        bench
            .anonymous(Method::POST, SETUP)
            .json(&body)
            .send()
            .await
    };
    assert_eq!(make("").await.refusal(), (403, "wrong_setup_token".into()));
    assert_eq!(
        make(&token[1..]).await.refusal(),
        (403, "wrong_setup_token".into())
    );
    let made = make(&token).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.json(), json!({"username": "ann"}));
    assert_eq!(make(&token).await.refusal(), (409, "already_set_up".into()));
    assert_eq!(needed().await, json!({"needed": false}));
    assert_eq!(bench.monitor.begin_setup().await.unwrap(), None);
}

#[tokio::test]
async fn a_session_lasts_until_logout_and_no_longer_than_twelve_hours() {
    let bench = Bench::new().await;
    set_up(&bench).await;
    let answer = login(&bench, "ann", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let set = answer.headers["set-cookie"].to_str().unwrap();
    for part in [
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
        "Path=/monitor",
        "Max-Age=43200",
    ] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = answer.cookie();
    let who = async |cookie: &str| {
        let call = bench.anonymous(Method::GET, SESSIONS);
        call.header("cookie", &format!("a=b; {cookie}"))
            .send()
            .await
    };
    assert_eq!(who(&cookie).await.json(), json!({"username": "ann"}));
    bench.clock.forward_seconds(12 * 3_600 + 1);
    assert_eq!(
        who(&cookie).await.refusal(),
        (401, "unauthenticated".into())
    );

    let cookie = login(&bench, "ann", PASSWORD).await.cookie();
    let logout = bench
        .anonymous(Method::DELETE, SESSIONS)
        .header("cookie", &cookie);
    let logout = logout.header("origin", PUBLIC_URL).send().await;
    assert_eq!(logout.status, StatusCode::NO_CONTENT, "{}", logout.text());
    assert_eq!(
        who(&cookie).await.refusal(),
        (401, "unauthenticated".into())
    );
}

#[tokio::test]
async fn a_request_by_cookie_must_come_from_our_own_pages() {
    let bench = Bench::new().await;
    set_up(&bench).await;
    let cookie = login(&bench, "ann", PASSWORD).await.cookie();
    let path = "/monitor/api/campaigns/00000000-0000-7000-8000-000000000000/pause";
    for (name, value, expected) in [
        ("x-nothing", "", 403),
        ("origin", "https://evil.example", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 404),
        ("origin", PUBLIC_URL, 404),
    ] {
        let call = bench
            .anonymous(Method::POST, path)
            .header("cookie", &cookie);
        let status = call.header(name, value).send().await.status;
        assert_eq!(status.as_u16(), expected, "{name}: {value}");
    }
    // A key that is wrong is refused, whatever the cookie says.
    let call = bench
        .anonymous(Method::GET, SESSIONS)
        .header("cookie", &cookie);
    let both = call.header("authorization", "Bearer wrong").send().await;
    assert_eq!(both.refusal(), (401, "unauthenticated".into()));
}

#[tokio::test]
async fn wrong_logins_are_alike_and_make_the_next_ones_wait() {
    let bench = Bench::new().await;
    set_up(&bench).await;
    let wrong = login(&bench, "ann", "wrong").await;
    let unknown = login(&bench, "eve", "wrong").await;
    assert_eq!(wrong.refusal(), (401, "wrong_credentials".into()));
    assert_eq!(wrong.text(), unknown.text());
    // Twelve failures a while apart, so that a slow test does not outlive the wait.
    let here = ClientIp(std::net::Ipv4Addr::LOCALHOST.into());
    for n in 0..12 {
        let then = bench.ledger.now().plus_seconds(n * 100);
        let _failed = bench.monitor.tries.begin(here, "ann", then).unwrap();
    }
    let refused = login(&bench, "ann", PASSWORD).await;
    assert_eq!(refused.refusal(), (429, "too_many_requests".into()));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(login(&bench, "eve", "wrong").await.refusal().0, 401);
    bench.clock.forward_seconds(1_200);
    assert_eq!(login(&bench, "ann", PASSWORD).await.status, StatusCode::OK);
    // Forgiven: the next mistake costs nothing again.
    assert_eq!(login(&bench, "ann", "wrong").await.refusal().0, 401);
    assert_eq!(login(&bench, "ann", PASSWORD).await.status, StatusCode::OK);
}
