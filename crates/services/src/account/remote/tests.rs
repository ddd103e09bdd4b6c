//! The client against small servers on sockets of their own.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    http::HeaderMap,
    routing::{get, post},
};
use rules::{GrabId, Rejected, UserId};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;
use crate::account::service_key::{self, ServiceKey};

const KEY: &str = "a service key of at least thirty-two bytes";
const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(1));

fn attempt(user: &str, grab_id: Option<u128>) -> Attempt {
    Attempt {
        user: UserId::trusted(user),
        grab_id: grab_id.map(|number| GrabId(Uuid::from_u128(number))),
        ip: Ipv4Addr::LOCALHOST.into(),
    }
}

/// Listens where nobody else does; the URL.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Answers as an account service does that blocks `mal` and counts connections and calls.
async fn serve(listener: TcpListener, calls: Arc<AtomicU64>) {
    let verify = async move |headers: HeaderMap, Json(body): Json<Value>| {
        calls.fetch_add(1, Ordering::SeqCst);
        assert_eq!(headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(body["campaign"], CAMPAIGN.to_string());
        let attempts = body["attempts"].as_array().unwrap().iter();
        let verdicts = attempts.map(|attempt| match attempt["user"].as_str() {
            Some("mal") => json!({"verdict": "rejected", "reason": "blocked"}),
            Some("nobody") => json!({"verdict": "undecided"}),
            _ => json!({"verdict": "admitted"}),
        });
        Json(json!({"verdicts": verdicts.collect::<Vec<_>>()}))
    };
    let withdraw = async || StatusCode::NO_CONTENT;
    let router = Router::new()
        .route("/account/verify", post(verify))
        .route("/account/withdraw", post(withdraw));
    axum::serve(listener, router).await.unwrap();
}

#[tokio::test]
async fn verdicts_come_in_the_order_of_the_attempts_over_a_connection_that_is_kept() {
    let (listener, url) = listen().await;
    let calls = Arc::<AtomicU64>::default();
    tokio::spawn(serve(listener, calls.clone()));
    let account = RemoteAccount::new(&url, KEY).unwrap();
    let attempts = ["ann", "mal", "nobody", "bob"].map(|user| attempt(user, None));
    for _ in 0..3 {
        let verdicts = account.admit(CAMPAIGN, &attempts).await.unwrap();
        let blocked = Some(Verdict::Rejected(Rejected::Blocked));
        let admitted = Some(Verdict::Admitted);
        assert_eq!(verdicts, [admitted, blocked, None, admitted]);
    }
    assert_eq!(account.idle.lock().unwrap().len(), 1);
    account.withdraw(CAMPAIGN, &attempts).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_service_learns_that_its_key_is_another() {
    let (listener, url) = listen().await;
    let health = Router::new().route("/readyz", get(async || "ready"));
    let router = service_key::refusing_wrong_ones(health, ServiceKey::new(KEY));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let account = |key| RemoteAccount::new(&url, key).unwrap();
    account(KEY).ping().await.unwrap();
    let another = account("another key of at least thirty-two bytes")
        .ping()
        .await;
    assert!(another.unwrap_err().0.contains("HONGBAO_SERVICE_KEY"));
    // A balancer has none.
    let plain = plain_get(&url).await;
    assert!(plain.starts_with("HTTP/1.1 200"), "{plain}");
}

/// The answer to a plain GET of `/readyz`.
async fn plain_get(url: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_replica_that_cannot_decide_is_followed_by_another() {
    let (listener, url) = listen().await;
    let calls = Arc::<AtomicU64>::default();
    let counted = calls.clone();
    let verify = async move |Json(body): Json<Value>| {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(body["attempts"].as_array().unwrap().len(), 1, "the named");
        Ok(Json(json!({"verdicts": [{"verdict": "admitted"}]})))
    };
    let router = Router::new().route("/account/verify", post(verify));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let account = RemoteAccount::new(&url, KEY).unwrap();
    let attempts = [attempt("ann", None), attempt("bob", Some(1))];
    let verdicts = account.admit(CAMPAIGN, &attempts).await.unwrap();
    assert_eq!(verdicts, [None, Some(Verdict::Admitted)]);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nobody_there_is_an_error_and_nothing_is_repeated() {
    let (listener, url) = listen().await;
    drop(listener);
    let account = RemoteAccount::new(&url, KEY).unwrap();
    let refused = account.admit(CAMPAIGN, &[attempt("ann", Some(1))]).await;
    assert!(refused.is_err());
    assert!(account.ping().await.is_err());
}

/// Reads a request on each connection and hangs up, but answers the connection after `deaths`.
async fn dying(listener: TcpListener, deaths: usize, seen: Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for number in 0.. {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let bytes = stream.read(&mut request).await.unwrap();
        seen.fetch_add(1, Ordering::SeqCst);
        if number >= deaths {
            let text = String::from_utf8_lossy(&request[..bytes]);
            let asked = text.matches("\"user\"").count();
            let verdicts = vec![json!({"verdict": "admitted"}); asked];
            let body = json!({ "verdicts": verdicts }).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn after_a_death_in_mid_call_only_taps_with_a_name_are_asked_about_again() {
    let (listener, url) = listen().await;
    let seen = Arc::<AtomicUsize>::default();
    tokio::spawn(dying(listener, 1, seen.clone()));
    let account = RemoteAccount::new(&url, KEY).unwrap();
    let attempts = [
        attempt("ann", Some(1)),
        attempt("bob", None),
        attempt("eve", Some(2)),
    ];
    let verdicts = account.admit(CAMPAIGN, &attempts).await.unwrap();
    let admitted = Some(Verdict::Admitted);
    assert_eq!(verdicts, [admitted, None, admitted]);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_replica_that_stalls_in_mid_call_is_given_up_for_another() {
    let (listener, url) = listen().await;
    let seen = Arc::<AtomicUsize>::default();
    let counted = seen.clone();
    let account = RemoteAccount::new(&url, KEY).unwrap();
    let attempts = [attempt("ann", Some(1)), attempt("bob", None)];
    let stalls_once = async move {
        // Held open, and never answered.
        let _stalled = listener.accept().await.unwrap();
        dying(listener, 0, counted).await;
    };
    let verdicts = tokio::select! {
        verdicts = account.admit(CAMPAIGN, &attempts) => verdicts.unwrap(),
        () = stalls_once => unreachable!("it answers for ever"),
    };
    assert_eq!(verdicts, [Some(Verdict::Admitted), None]);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_decides_nothing() {
    let (listener, url) = listen().await;
    let router = Router::new().route(
        "/account/verify",
        post(async || Json(json!({"verdicts": []}))),
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    let account = RemoteAccount::new(&url, KEY).unwrap();
    assert!(
        account
            .admit(CAMPAIGN, &[attempt("ann", None)])
            .await
            .is_err()
    );
    let withdrawn = account.withdraw(CAMPAIGN, &[attempt("ann", None)]).await;
    assert!(withdrawn.is_err(), "there is no such route");
}

#[tokio::test]
async fn a_connection_to_a_replica_that_cannot_decide_now_is_not_kept() {
    for (status, kept) in [(503, 0), (400, 1)] {
        let (listener, url) = listen().await;
        let status = StatusCode::from_u16(status).unwrap();
        let router = Router::new().route("/account/verify", post(async move || status));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let account = RemoteAccount::new(&url, KEY).unwrap();
        let refused = account.admit(CAMPAIGN, &[attempt("ann", None)]).await;
        assert!(refused.is_err());
        assert_eq!(account.idle.lock().unwrap().len(), kept, "{status}");
    }
}

#[test]
fn urls_are_a_host_and_perhaps_a_port() {
    for good in [
        "http://account.local:8081",
        "http://account.local/",
        "account.local",
        "account.local:81",
        "http://[::1]:81",
    ] {
        assert!(RemoteAccount::new(good, KEY).is_ok(), "{good}");
    }
    for bad in [
        "",
        "https://account.local",
        "http://account.local/account",
        "http://a b",
        "http://user@account.local",
        "redis://account.local",
    ] {
        assert!(RemoteAccount::new(bad, KEY).is_err(), "{bad}");
    }
    let account = RemoteAccount::new("http://[::1]:81", KEY).unwrap();
    assert_eq!(
        (account.host.as_str(), &account.ports[..]),
        ("::1", &[81][..])
    );
    let ports = |url| RemoteAccount::new(url, KEY).unwrap().ports;
    assert_eq!(ports("http://account.local"), [80]);
    assert_eq!(ports("account.local:81"), [81]);
    assert_eq!(ports("account.local"), [8081, 80]);
}

/// Whoever is at one port of a host may not be the account service; the first that answers as it
/// does, is.
#[tokio::test]
async fn a_bare_host_is_asked_where_the_service_has_answered() {
    let (listener, url) = listen().await;
    let (stranger, stranger_url) = listen().await;
    tokio::spawn(async move { axum::serve(stranger, Router::new()).await.unwrap() });
    let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (free, free_url) = listen().await;
    drop(free);
    let mut account = RemoteAccount::new("127.0.0.1", KEY).unwrap();
    account.ports = vec![port(&free_url), port(&stranger_url)];
    let asked = account.admit(CAMPAIGN, &[attempt("ann", None)]).await;
    assert!(asked.is_err(), "404 is no answer");
    assert_eq!(account.answered_at.load(Ordering::Relaxed), 0);
    account.ports[1] = port(&url);
    account.idle = std::sync::Mutex::default();
    tokio::spawn(serve(listener, Arc::default()));
    let asked = account.admit(CAMPAIGN, &[attempt("ann", None)]).await;
    assert_eq!(asked.unwrap(), [Some(Verdict::Admitted)]);
    assert_eq!(account.answered_at.load(Ordering::Relaxed), port(&url));
}
