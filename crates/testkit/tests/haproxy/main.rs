//! HAProxy with the product's configuration, in front of fakes that say what reached them.

mod fake;

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use testkit::haproxy::{HaProxy, Replicas};

use fake::{Fake, Mood, Seen};

const GRAB: &str = "/redpacket/campaigns/x/grab";

/// A fake for each role, two for redpacket, and HAProxy in front.
struct Front {
    redpacket: [Fake; 2],
    others: Vec<Fake>,
    proxy: HaProxy,
    http: Client,
}

impl Front {
    async fn start() -> Self {
        Self::told(&[]).await
    }

    /// With more of its settings.
    async fn told(more: &[(&str, &str)]) -> Self {
        let redpacket = [
            Fake::start("redpacket").await,
            Fake::start("redpacket").await,
        ];
        let mut others = Vec::new();
        for name in ["account", "inner", "monitor", "webpage"] {
            others.push(Fake::start(name).await);
        }
        let at = |fake: &Fake| vec![fake.address.to_string()];
        let replicas = Replicas {
            redpacket: redpacket.iter().flat_map(at).collect(),
            account: at(&others[0]),
            account_inner: at(&others[1]),
            monitor: at(&others[2]),
            webpage: at(&others[3]),
        };
        Self {
            redpacket,
            others,
            proxy: HaProxy::start(&replicas, more),
            http: Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(Duration::from_secs(30))
                .build()
                .expect("a plain client can be built"),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.proxy.address());
        self.http.request(method, url)
    }

    fn grab(&self, user: usize) -> RequestBuilder {
        self.request(Method::POST, GRAB)
            .bearer_auth(format!("user-{user}"))
    }

    /// What reached the two redpacket fakes since the last call.
    fn seen(&self) -> [Vec<Seen>; 2] {
        [self.redpacket[0].take_seen(), self.redpacket[1].take_seen()]
    }

    /// A user that HAProxy sends to the first redpacket fake.
    async fn user_of_the_first(&self) -> usize {
        for user in 0..1_000 {
            text(self.grab(user)).await;
            if !self.seen()[0].is_empty() {
                return user;
            }
        }
        panic!("a thousand users, and none of them goes to the first replica");
    }
}

async fn text(request: RequestBuilder) -> String {
    let reply = request.send().await.expect("HAProxy answers");
    reply.text().await.expect("the reply is whole")
}

/// The reply is the contract's own "ask again".
async fn assert_unavailable(request: RequestBuilder) {
    let reply = request.send().await.expect("HAProxy answers");
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers()["retry-after"], "1");
    let body: Value = reply.json().await.expect("the contract's body");
    assert_eq!(body["error"]["code"], "unavailable", "{body}");
    assert!(body["error"]["request_id"].is_string(), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_host_reaches_its_service() {
    let front = Front::start().await;
    let by_path = [
        ("/redpacket/campaigns/x", "redpacket"),
        ("/redpacket/test", "redpacket"),
        ("/account/sessions", "account"),
        ("/test", "account"),
        ("/monitor", "monitor"),
        ("/monitor/api/campaigns?q=a", "monitor"),
        ("/openapi.json", "monitor"),
        ("/docs", "monitor"),
        ("/", "webpage"),
        ("/webpage", "webpage"),
        ("/webpage/static/x.js", "webpage"),
        ("/nowhere", "webpage"),
    ];
    for (path, service) in by_path {
        assert_eq!(
            text(front.request(Method::GET, path)).await,
            service,
            "{path}"
        );
    }
    let by_host = [
        ("monitor.example.com", "/nowhere", "monitor"),
        ("monitor.example.com", "/redpacket/test", "redpacket"),
        ("redpacket.example.com", "/test", "account"),
        ("redpacket.example.com", "/readier", "redpacket"),
        ("account.example.com", "/readier", "account"),
        ("webpage.example.com", "/", "webpage"),
    ];
    for (host, path, service) in by_host {
        let request = front.request(Method::GET, path).header("host", host);
        assert_eq!(text(request).await, service, "{host}{path}");
    }
    let home = front
        .request(Method::GET, "/")
        .header("host", "monitor.example.com");
    let home = home.send().await.unwrap();
    assert_eq!(home.headers()["location"], "/monitor");
    for (path, answer) in [("/healthz", "alive"), ("/readyz", "ready")] {
        assert!(
            text(front.request(Method::GET, path))
                .await
                .contains(answer)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inner_door_leads_to_account_alone() {
    let front = Front::start().await;
    let url = format!("http://{}", front.proxy.inner_address());
    let verify = front.http.post(format!("{url}/account/verify"));
    assert_eq!(text(verify).await, "inner");
    let other = front.http.get(format!("{url}/monitor/api/campaigns"));
    assert_eq!(other.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    // From outside the same path reaches the public listener, which has no such route.
    let outside = front.request(Method::POST, "/account/verify");
    assert_eq!(text(outside).await, "account");
    let metrics = front
        .http
        .get(format!("http://{}/metrics", front.proxy.admin_address()));
    assert!(
        text(metrics)
            .await
            .contains("haproxy_backend_http_responses_total")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_choose_its_address() {
    let front = Front::start().await;
    let request = front
        .request(Method::GET, "/webpage")
        .header("x-forwarded-for", "198.51.100.1")
        .header("X-FORWARDED-FOR", "198.51.100.2")
        .header("forwarded", "for=198.51.100.3")
        .header("x-real-ip", "198.51.100.4");
    text(request).await;
    let seen = front.others[3].take_seen();
    assert_eq!(seen[0].header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen[0].header("x-forwarded-proto"), ["http"]);
    assert!(!seen[0].head.contains("198.51.100"), "{}", seen[0].head);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_balancer_that_is_trusted_says_who_the_client_is() {
    let ask = async |front: &Front| {
        let request = front
            .request(Method::GET, "/webpage")
            .header("x-forwarded-for", "198.51.100.1, 198.51.100.2")
            .header("x-forwarded-proto", "https");
        text(request).await;
        text(front.request(Method::GET, "/webpage")).await;
        let seen = front.others[3].take_seen();
        let said = |name| {
            seen.iter()
                .flat_map(|one| one.header(name))
                .collect::<Vec<_>>()
        };
        (said("x-forwarded-for"), said("x-forwarded-proto"))
    };
    let trusting = Front::told(&[("HAPROXY_TRUSTED", "10.0.0.0/8 127.0.0.1")]).await;
    let told = (
        vec![
            "198.51.100.1, 198.51.100.2".to_owned(),
            "127.0.0.1".to_owned(),
        ],
        vec!["https".to_owned(), "http".to_owned()],
    );
    assert_eq!(ask(&trusting).await, told);
    let wary = Front::told(&[("HAPROXY_TRUSTED", "10.0.0.0/8"), ("HAPROXY_THREADS", "1")]).await;
    let own = (vec!["127.0.0.1".to_owned(); 2], vec!["http".to_owned(); 2]);
    assert_eq!(ask(&wary).await, own);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_stays_on_a_replica_and_users_spread() {
    let front = Front::start().await;
    let mut users_of = [0, 0];
    for user in 0..40 {
        for _ in 0..3 {
            text(front.grab(user)).await;
        }
        let seen = front.seen().map(|seen| seen.len());
        assert!(seen == [3, 0] || seen == [0, 3], "user {user}: {seen:?}");
        users_of[usize::from(seen[1] > 0)] += 1;
    }
    assert!(users_of.iter().all(|users| *users >= 5), "{users_of:?}");
    for _ in 0..3 {
        let by_cookie = front
            .request(Method::POST, GRAB)
            .header("cookie", "hongbao_token=abc");
        text(by_cookie).await;
    }
    let seen = front.seen().map(|seen| seen.len());
    assert!(seen == [3, 0] || seen == [0, 3], "by cookie: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_safe_is_sent_again_and_nothing_else() {
    let front = Front::start().await;
    let user = front.user_of_the_first().await;
    front.redpacket[0].mood(Mood::Dies);

    // Whatever became of it there, another replica gives the true answer.
    assert_eq!(text(front.grab(user)).await, "redpacket");
    let [first, second] = front.seen();
    assert_eq!((first.len(), second.len()), (1, 1));

    let read = front.request(Method::GET, "/redpacket/campaigns/x");
    assert_eq!(
        text(read.bearer_auth(format!("user-{user}"))).await,
        "redpacket"
    );

    // A new campaign is sent again only when it can be told from another.
    let monitor = &front.others[2];
    monitor.mood(Mood::Dies);
    for (key, sent_times) in [(None, 1), (Some("key"), 4)] {
        // On a connection of its own: on one that has served before, HAProxy only closes.
        let url = format!("http://{}/monitor/api/campaigns", front.proxy.address());
        let mut request = Client::new().post(url);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        assert_unavailable(request.body("{}")).await;
        assert_eq!(
            monitor.take_seen().len(),
            sent_times,
            "with the key {key:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_not_ready_gets_nothing_while_another_is() {
    let front = Front::start().await;
    let user = front.user_of_the_first().await;
    front.redpacket[0].ready(false);
    let moved = async {
        loop {
            assert_eq!(text(front.grab(user)).await, "redpacket");
            if !front.seen()[1].is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), moved)
        .await
        .expect("the user never moved to the replica that is ready");

    // None is ready, as when the database is away: a "no" needs none, so they are asked anyway.
    front.redpacket[1].ready(false);
    for _ in 0..40 {
        assert_eq!(text(front.grab(user)).await, "redpacket");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_through_at_once() {
    let front = Front::start().await;
    for fake in &front.redpacket {
        fake.mood(Mood::Streams);
    }
    let request = front.request(Method::GET, "/redpacket/campaigns/x/events");
    let mut reply = request.send().await.unwrap();
    // The stream goes on for ever; what it has said so far is here all the same.
    let first = reply.chunk().await.unwrap().expect("an event");
    assert_eq!(&first[..], b"data: hello\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_with_the_contract_s_body() {
    let front = Front::start().await;
    let large = vec![b'x'; 65 * 1024];
    let refused = front.grab(1).body(large.clone()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["code"], "too_large");
    let list = front.request(Method::PUT, "/monitor/api/users").body(large);
    assert_eq!(text(list).await, "monitor");
    let head = front.grab(1).header("x-much", "x".repeat(32 * 1024));
    let refused = head.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}
