//! The endpoints over a real ledger in a temporary folder.

use std::time::Instant;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request},
};
use ledger::{NewCampaign, NewUser, SqliteLedger, SystemClock, Wave, WaveState};
use rules::{CampaignId, Fen, Rules, Seed, Split, Timestamp, Tranche, UserId, WinLimit};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{admission::Gate, codes::Code, *};
use crate::http::ClientIp;

const KEY: &str = "a service key of at least thirty-two bytes";
const SECRET: &[u8] = b"a token secret of at least thirty-two bytes";
const CAMPAIGN: CampaignId = CampaignId(uuid::Uuid::from_u128(7));

/// An account service over a ledger of its own.
struct Bench {
    account: Arc<Account>,
    router: Router,
    inner: Router,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

impl Bench {
    async fn new(registered_only: bool, public_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(folder.path(), Arc::new(SystemClock)).await;
        let ledger: Arc<dyn Ledger> = Arc::new(ledger.unwrap());
        let codes = Codes::new(SECRET);
        let li_lei = NewUser {
            id: UserId::new("li-lei").unwrap(),
            code_hash: codes.code_hash(&Code::new("13800000000").unwrap()),
            name: None,
        };
        ledger.import_users(&[li_lei]).await.unwrap();
        ledger.create_campaign(campaign(), None).await.unwrap();
        let (directory, _announcer, mut reader) = Directory::new(ledger.clone());
        reader.read().await.unwrap();
        let registered = Arc::<Registered>::default();
        let account = Account::new(Parts {
            gates: Gates::Own(Arc::new(Gate::new([3; 32], registered.clone()))),
            ledger,
            directory,
            registered,
            tokens: Arc::new(Tokens::new(SECRET, None).unwrap()),
            codes,
            registered_only,
            origins: OriginRules::new(Some(public_url)),
            limiter: None,
            limit_loopback: false,
        });
        Self {
            router: router(account.clone()).split_for_parts().0,
            inner: inner_router(account.clone(), ServiceKey::new(KEY))
                .split_for_parts()
                .0,
            account,
            _folder: folder,
        }
    }

    async fn ask(
        &self,
        method: Method,
        from: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri("/account/sessions");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = ClientIp(from.parse().unwrap());
        let request = request.extension(client).body(Body::from(body.to_owned()));
        answer(&self.router, request.unwrap()).await
    }

    async fn log_in(&self, from: &str, body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        self.ask(Method::POST, from, &json, body).await
    }

    async fn verify(&self, key: &str, body: &str) -> Answer {
        self.call(key, "/account/verify", body).await
    }

    async fn call(&self, key: &str, path: &str, body: &str) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {key}"))
            .body(Body::from(body.to_owned()));
        answer(&self.inner, request.unwrap()).await
    }
}

async fn answer(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

/// A campaign with a window, a blocked user and registered users only.
fn campaign() -> NewCampaign {
    let starts_at = Timestamp::from_micros(1_800_000_000_000_000);
    NewCampaign {
        id: CAMPAIGN,
        title: "Rain".into(),
        currency: "CNY".into(),
        starts_at,
        ends_at: starts_at.plus_seconds(86_400),
        interval_seconds: 2,
        win_limit: WinLimit::ONE,
        rules: Rules {
            attempt_window_seconds: Some(3_600),
            eligible: rules::Eligible::Registered,
            blocked: vec![UserId::trusted("mal")],
            ..Rules::default()
        },
        seed: Seed([5; 32]),
        commitment: [6; 32],
        tranche: Tranche {
            number: 0,
            packets: 1,
            split: Split::Equal {
                amount: Fen::new(1).unwrap(),
            },
        },
        waves: vec![Wave {
            number: 1,
            tranche: 0,
            offset: 0,
            packets: 1,
            due_at: starts_at,
            state: WaveState::Planned,
            bundle_size: 0,
            algorithm: 0,
            digest: None,
            opened_at: None,
            opening: None,
        }],
    }
}

#[tokio::test]
async fn anyone_logs_in_and_is_the_same_person_next_time() {
    let bench = Bench::new(false, "https://rain.example").await;
    let first = bench.log_in("127.0.0.1", r#"{"code":"Zoé"}"#).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.headers["cache-control"], "no-store");
    let token = first.body["token"].as_str().unwrap();
    let cookie = first.headers["set-cookie"].to_str().unwrap();
    assert_eq!(
        cookie,
        format!("hongbao_token={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400; Secure")
    );
    let again = bench.log_in("127.0.0.1", r#"{"code":" Zoé "}"#).await;
    assert_eq!(again.body["user"], first.body["user"]);

    let now = bench.account.ledger.now();
    let user = bench.account.tokens.verify(token, now).unwrap();
    assert_eq!(first.body["user"], user.as_str());
    let expires_at: Timestamp = first.body["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(expires_at.since(now) <= 86_400 * 1_000_000);
}

#[tokio::test]
async fn the_cookie_is_secure_only_where_the_page_is() {
    let bench = Bench::new(false, "http://10.0.0.5:8080").await;
    let answer = bench.log_in("127.0.0.1", r#"{"code":"x"}"#).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(!cookie.contains("Secure"), "{cookie}");
}

#[tokio::test]
async fn every_field_of_a_login_is_refused_by_name() {
    let bench = Bench::new(false, "http://localhost").await;
    let long = format!(r#"{{"code":"{}"}}"#, "x".repeat(65));
    let cases = [
        (r#"{}"#, "missing field `code`"),
        (r#"{"code":13800000000}"#, "`code` must be a text"),
        (r#"{"code":null}"#, "`code` must be a text"),
        (r#"{"code":["13800000000"]}"#, "`code` must be a text"),
        (r#"{"code":"  "}"#, "`code` is empty"),
        (
            r#"{"code":"a\u0007b"}"#,
            "`code` contains a control character",
        ),
        (&long, "`code` is longer than 64 characters"),
        (r#"{"code":"x","cod":"13800000000"}"#, "`cod`"),
        (r#"{"code":"x","code":"y"}"#, "duplicate field `code`"),
    ];
    for (body, expected) in cases {
        let answer = bench.log_in("127.0.0.1", body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_field"),
            "{body}"
        );
        assert!(
            answer.message().contains(expected),
            "{body}: {}",
            answer.message()
        );
        assert!(
            !answer.message().contains("13800000000"),
            "{}",
            answer.message()
        );
    }
    for body in ["", "rubbish", "{", r#"{"code":"x"} more"#, "\u{0}"] {
        let answer = bench.log_in("127.0.0.1", body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_json"),
            "{body}"
        );
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = bench.ask(Method::POST, "127.0.0.1", &form, "code=x").await;
    assert_eq!(answer.status, 415);
}

#[tokio::test]
async fn only_the_registered_log_in_where_only_they_may() {
    let bench = Bench::new(true, "http://localhost").await;
    let known = bench.log_in("192.0.2.1", r#"{"code":"13800000000"}"#).await;
    assert_eq!(known.status, 200);
    assert_eq!(known.body["user"], "li-lei");
    assert!(
        bench
            .account
            .registered
            .contains(&UserId::trusted("li-lei"))
    );
    let unknown = bench.log_in("192.0.2.1", r#"{"code":"13800000001"}"#).await;
    assert_eq!((unknown.status, unknown.code()), (401, "unknown_code"));
    assert!(!unknown.headers.contains_key("set-cookie"));
    insta::assert_snapshot!(unknown.body, @r#"{"error":{"code":"unknown_code","message":"nobody is registered with this code","request_id":""}}"#);
}

#[tokio::test]
async fn failed_codes_make_their_address_wait_and_good_ones_never_do() {
    let bench = Bench::new(true, "http://localhost").await;
    let (good, bad) = (r#"{"code":"13800000000"}"#, r#"{"code":"1"}"#);
    for _ in 0..30 {
        assert_eq!(bench.log_in("192.0.2.1", good).await.status, 200);
        // What cannot be a code is no guess.
        assert_eq!(
            bench.log_in("192.0.2.1", r#"{"code":""}"#).await.status,
            400
        );
        assert_eq!(bench.log_in("127.0.0.1", bad).await.status, 401);
    }
    let backoff = &bench.account.backoff;
    for _ in 0..12 {
        bench.log_in("192.0.2.2", bad).await;
        backoff.failed(ClientIp("192.0.2.2".parse().unwrap()), Instant::now());
    }
    for body in [bad, good] {
        let answer = bench.log_in("192.0.2.2", body).await;
        assert_eq!((answer.status, answer.code()), (429, "too_many_requests"));
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(bench.log_in("192.0.2.1", good).await.status, 200);
}

#[tokio::test]
async fn a_session_is_shown_to_its_owner_only_and_ends_by_cookie() {
    let bench = Bench::new(false, "http://localhost").await;
    let login = bench.log_in("127.0.0.1", r#"{"code":"x"}"#).await;
    let token = login.body["token"].as_str().unwrap();
    let (bearer, cookie) = (format!("Bearer {token}"), format!("hongbao_token={token}"));
    for header in [("authorization", &*bearer), ("cookie", &*cookie)] {
        let shown = bench.ask(Method::GET, "127.0.0.1", &[header], "").await;
        assert_eq!(shown.status, 200);
        assert_eq!(shown.body["user"], login.body["user"]);
        assert_eq!(shown.body["expires_at"], login.body["expires_at"]);
        assert_eq!(shown.body.get("token"), None);
    }
    let nobody = bench.ask(Method::GET, "127.0.0.1", &[], "").await;
    assert_eq!((nobody.status, nobody.code()), (401, "unauthenticated"));

    let by_cookie = ("cookie", &*cookie);
    for (site, expected) in [("cross-site", 403), ("none", 403), ("same-origin", 204)] {
        let headers = [by_cookie, ("sec-fetch-site", site)];
        let ended = bench.ask(Method::DELETE, "127.0.0.1", &headers, "").await;
        assert_eq!(ended.status, expected, "{site}");
        let clears = "hongbao_token=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0";
        let cleared = ended.headers.get("set-cookie");
        assert_eq!(
            cleared.is_some_and(|c| c == clears),
            expected == 204,
            "{site}"
        );
    }
}

#[tokio::test]
async fn verdicts_come_in_the_order_of_the_attempts() {
    let bench = Bench::new(true, "http://localhost").await;
    bench
        .account
        .registered
        .read(&*bench.account.ledger)
        .await
        .unwrap();
    let attempt = |user: &str| json!({"user": user, "ip": "192.0.2.1"});
    let tap = "018f3c2e-7b5a-7cc0-8000-000000000001";
    let named = json!({"user": "li-lei", "ip": "::1", "grab_id": tap});
    let attempts = json!([
        attempt("mal"),
        named,
        attempt("bob"),
        attempt("li-lei"),
        named
    ]);
    let body = json!({"campaign": CAMPAIGN, "attempts": attempts}).to_string();
    let answer = bench.verify(KEY, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    insta::assert_snapshot!(answer.body, @r#"{"verdicts":[{"reason":"blocked","verdict":"rejected"},{"verdict":"admitted"},{"reason":"not_eligible","verdict":"rejected"},{"reason":"too_frequent","verdict":"rejected"},{"verdict":"admitted"}]}"#);
}

#[tokio::test]
async fn verify_opens_only_to_the_service_key() {
    let bench = Bench::new(true, "http://localhost").await;
    for key in ["", "wrong", &KEY[1..], &format!("{KEY}x"), "Bearer"] {
        let answer = bench.verify(key, "not even JSON").await;
        assert_eq!(
            (answer.status, answer.code()),
            (401, "unauthenticated"),
            "{key}"
        );
    }
    let bare = Request::post("/account/verify")
        .body(Body::empty())
        .unwrap();
    assert_eq!(answer(&bench.inner, bare).await.status, 401);
    // It is not on the listener that everybody reaches.
    let outside = Request::post("/account/verify")
        .body(Body::empty())
        .unwrap();
    assert_eq!(answer(&bench.router, outside).await.status, 404);
}

#[tokio::test]
async fn every_field_of_a_call_about_attempts_is_refused_by_name() {
    let bench = Bench::new(true, "http://localhost").await;
    let good = json!({"campaign": CAMPAIGN, "attempts": [{"user": "ann", "ip": "192.0.2.1"}]});
    assert_eq!(bench.verify(KEY, &good.to_string()).await.status, 200);
    let with = |path: &str, value: Value| {
        let mut body = good.clone();
        if value.is_null() {
            let (parent, name) = path.rsplit_once('/').unwrap();
            let parent = body.pointer_mut(parent).unwrap();
            parent.as_object_mut().unwrap().remove(name);
        } else {
            let (parent, name) = path.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[name] = value;
        }
        body.to_string()
    };
    let attempt = good["attempts"][0].clone();
    let cases = [
        (with("/campaign", Value::Null), "missing field `campaign`"),
        (with("/campaign", "7".into()), "`campaign`"),
        (with("/attempts", Value::Null), "missing field `attempts`"),
        (
            with("/attempts", json!([])),
            "`attempts` must hold 1 to 1024",
        ),
        (
            with("/attempts", json!(vec![attempt; 1025])),
            "`attempts` must hold 1 to 1024",
        ),
        (
            with("/attempts/0/user", Value::Null),
            "missing field `user`",
        ),
        (with("/attempts/0/user", "".into()), "`attempts[0].user`"),
        (
            with("/attempts/0/user", "x".repeat(65).into()),
            "`attempts[0].user`",
        ),
        (with("/attempts/0/user", 5.into()), "`attempts[0].user`"),
        (with("/attempts/0/ip", Value::Null), "missing field `ip`"),
        (with("/attempts/0/ip", "home".into()), "`attempts[0].ip`"),
        (
            with("/attempts/0/grab_id", "tap".into()),
            "`attempts[0].grab_id`",
        ),
        (with("/attempts/0/more", 1.into()), "`attempts[0].more`"),
        (
            with("/attempts", json!([["ann", "192.0.2.1", null]])),
            "`attempts[0]`",
        ),
        (with("/attempts", json!({})), "`attempts`"),
        (with("/more", 1.into()), "`more`"),
    ];
    for path in ["/account/verify", "/account/withdraw"] {
        for (body, expected) in &cases {
            let answer = bench.call(KEY, path, body).await;
            let what = format!("{path} {expected}: {}", answer.body);
            assert_eq!(
                (answer.status, answer.code()),
                (400, "invalid_field"),
                "{what}"
            );
            assert!(answer.message().contains(expected), "{what}");
        }
        let list = json!([CAMPAIGN, []]).to_string();
        let answer = bench.call(KEY, path, &list).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_field"));
    }
    let other = with("/campaign", json!(CampaignId(uuid::Uuid::from_u128(8))));
    let answer = bench.verify(KEY, &other).await;
    assert_eq!((answer.status, answer.code()), (404, "no_such_campaign"));
}

#[tokio::test]
async fn the_endpoints_are_described() {
    let bench = Bench::new(false, "http://localhost").await;
    let public = router(bench.account.clone()).into_openapi();
    let inner = inner_router(bench.account.clone(), ServiceKey::new(KEY)).into_openapi();
    let document = serde_json::to_value(crate::http::openapi::document([public, inner])).unwrap();
    for (path, method) in [
        ("/account/sessions", "post"),
        ("/account/sessions", "get"),
        ("/account/sessions", "delete"),
        ("/account/verify", "post"),
        ("/account/withdraw", "post"),
    ] {
        let operation = &document["paths"][path][method];
        assert_eq!(operation["tags"], json!(["account"]), "{method} {path}");
    }
    assert!(document["components"]["schemas"]["NewSession"].is_object());
}

#[tokio::test]
async fn an_attempt_that_was_withdrawn_is_not_used_up() {
    let bench = Bench::new(false, "http://localhost").await;
    let id = CampaignId(uuid::Uuid::from_u128(9));
    let windowed = NewCampaign {
        id,
        rules: Rules {
            attempt_window_seconds: Some(3_600),
            ..Rules::default()
        },
        ..campaign()
    };
    // Made just now: the service has not read yet that it is there, and looks.
    let made = bench.account.ledger.create_campaign(windowed, None).await;
    made.unwrap();
    let tap = uuid::Uuid::from_u128(1);
    let body = json!({"campaign": id, "attempts": [
        {"user": "ann", "ip": "10.0.0.1", "grab_id": tap}]})
    .to_string();
    let other = body.replace(&tap.to_string(), &uuid::Uuid::from_u128(2).to_string());
    let verdict = async |body: &str| {
        let answer = bench.verify(KEY, body).await;
        answer.body["verdicts"][0]["verdict"].clone()
    };
    assert_eq!(verdict(&body).await, "admitted");
    assert_eq!(verdict(&other).await, "rejected");
    let withdraw =
        async |key: &str, body: &str| bench.call(key, "/account/withdraw", body).await.status;
    assert_eq!(withdraw("no key", &body).await, 401);
    assert_eq!(withdraw(KEY, &other).await, 204);
    assert_eq!(
        verdict(&other).await,
        "rejected",
        "another tap gives nothing back"
    );
    assert_eq!(withdraw(KEY, &body).await, 204);
    assert_eq!(withdraw(KEY, &body).await, 204, "safe to repeat");
    assert_eq!(verdict(&other).await, "admitted");
}
