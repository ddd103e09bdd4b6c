//! The server: as much of the contract as a crowd touches, and one lie at most.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

pub(crate) const KEY: &str = "an-organiser-key-of-32-characters";
pub(crate) const CAMPAIGN: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001);
pub(crate) const PACKETS: u32 = 40;
const PAGE: usize = 7;
const WHEN: &str = "2030-01-01T00:00:00.000Z";

/// The one way in which a server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    /// Honest, but some replies are 503 and some come too late.
    Unreliable,
    LosesAWin,
    ChangesAnAmount,
    AssignsAPacketTwice,
    ListsAPacketTwice,
    GivesAUserTwo,
    KeepsAWinSecret,
    ShowsForeignWins,
    AuditsWrongly,
    AdmitsImbalance,
    HidesItsBooks,
    AnswersNonsense,
    TakesBackFromRepeats,
    NeverDecides,
}

struct Inner {
    lie: Lie,
    /// Packet index → user; every packet holds its index in fen.
    claims: BTreeMap<u32, String>,
    by_user: HashMap<String, u32>,
    /// The attempts seen, by Grab-Id and number.
    attempts: HashSet<(String, u64)>,
    grabs: u64,
    repeats: u64,
    broken_repeats: u64,
}

type Shared = State<Arc<Mutex<Inner>>>;

/// A server on a port of its own; it stops when dropped.
pub(crate) struct Fake {
    pub(crate) url: String,
    inner: Arc<Mutex<Inner>>,
    accepting: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The URL of a port that nobody listens on.
pub(crate) async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

impl Fake {
    pub(crate) async fn start(lie: Lie) -> Self {
        let inner = Arc::new(Mutex::new(Inner {
            lie,
            claims: BTreeMap::new(),
            by_user: HashMap::new(),
            attempts: HashSet::new(),
            grabs: 0,
            repeats: 0,
            broken_repeats: 0,
        }));
        let app = Router::new()
            .route("/account/sessions", post(log_in))
            .route("/redpacket/campaigns/{id}", get(campaign))
            .route("/redpacket/campaigns/{id}/grab", post(grab))
            .route("/redpacket/campaigns/{id}/wins", get(wins))
            .route("/monitor/api/campaigns/{id}", get(terms))
            .route("/monitor/api/campaigns/{id}/winners", get(winners))
            .route("/monitor/api/campaigns/{id}/audit", get(audit))
            .with_state(inner.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(app.clone());
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // Errors are the clients' broken connections, which are part of the test.
                tokio::spawn(async move { serve.await.is_err() });
            }
        });
        Self {
            url,
            inner,
            accepting,
        }
    }

    pub(crate) fn repeats(&self) -> u64 {
        self.inner.lock().unwrap().repeats
    }

    pub(crate) fn broken_repeats(&self) -> u64 {
        self.inner.lock().unwrap().broken_repeats
    }
}

fn error(status: u16, code: &str) -> Response {
    let body = json!({"error": {"code": code, "message": "as the test wants", "request_id": "r"}});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get("authorization")?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

async fn log_in(Json(body): Json<Value>) -> Response {
    let code = body["code"].as_str().unwrap();
    if code.starts_with("unknown-") {
        return error(401, "unknown_code");
    }
    let user = format!("user of {code}");
    Json(json!({"token": format!("t-{code}"), "user": user, "expires_at": WHEN})).into_response()
}

fn user(headers: &HeaderMap) -> Option<String> {
    let code = bearer(headers)?.strip_prefix("t-")?;
    Some(format!("user of {code}"))
}

async fn campaign(Path(id): Path<Uuid>) -> Response {
    if id != CAMPAIGN {
        return error(404, "no_such_campaign");
    }
    Json(json!({
        "id": id, "title": "Test rain", "state": "running",
        "server_time": "2029-12-31T00:00:00.000Z", "next_wave_at": null, "waves": 1,
        "packets_total": PACKETS, "ends_at": WHEN, "split_commitment": "", "split_seed": null,
    }))
    .into_response()
}

fn packet(index: u32) -> Value {
    json!({"id": format!("1-{index}"), "wave": 1, "amount": index, "currency": "CNY", "label": null})
}

fn won(index: u32, repeated: bool) -> Response {
    Json(json!({
        "outcome": "won", "packet": packet(index), "claimed_at": WHEN, "repeated": repeated,
    }))
    .into_response()
}

fn sold_out() -> Response {
    Json(json!({"outcome": "missed", "reason": "sold_out", "next_wave_at": null})).into_response()
}

async fn grab(State(inner): Shared, headers: HeaderMap) -> Response {
    let Some(user) = user(&headers) else {
        return error(401, "unauthenticated");
    };
    let (late, response) = inner.lock().unwrap().grab(user, &headers);
    if late {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    response
}

impl Inner {
    /// The answer, and whether it is to come too late.
    fn grab(&mut self, user: String, headers: &HeaderMap) -> (bool, Response) {
        self.grabs += 1;
        let attempt = self.note_attempt(headers);
        match self.lie {
            Lie::NeverDecides => return (false, error(503, "unavailable")),
            Lie::Unreliable if self.grabs.is_multiple_of(5) => {
                return (false, error(503, "unavailable"));
            }
            Lie::AnswersNonsense if self.grabs == 30 => {
                return (false, Json(json!({"outcome": "perhaps"})).into_response());
            }
            Lie::TakesBackFromRepeats if attempt > 1 => return (false, sold_out()),
            _ => {}
        }
        let late = self.lie == Lie::Unreliable && self.grabs.is_multiple_of(37);
        (late, self.claim(user))
    }

    fn claim(&mut self, user: String) -> Response {
        if let Some(index) = self.by_user.get(&user) {
            return won(*index, true);
        }
        let next = u32::try_from(self.claims.len()).unwrap() + 1;
        if next > PACKETS {
            return sold_out();
        }
        if self.lie == Lie::AssignsAPacketTwice && self.by_user.len() == 20 {
            // Told to a second user; the books keep the first.
            self.by_user.insert(user, 20);
            return won(20, false);
        }
        self.claims.insert(next, user.clone());
        self.by_user.insert(user, next);
        if self.lie == Lie::KeepsAWinSecret && next == 9 {
            self.by_user.retain(|_, index| *index != 9);
            return sold_out();
        }
        won(next, false)
    }

    fn note_attempt(&mut self, headers: &HeaderMap) -> u64 {
        let text = |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        let id = text("grab-id").expect("the crowd sends a Grab-Id with every tap");
        assert!(Uuid::try_parse(&id).is_ok(), "{id}");
        let attempt = text("grab-attempt").map_or(1, |n| n.parse().unwrap());
        if attempt > 1 {
            self.repeats += 1;
        }
        // An attempt whose connection was closed early may arrive late or never, but none twice.
        if !self.attempts.insert((id, attempt)) {
            self.broken_repeats += 1;
        }
        attempt
    }

    /// The winners' list as this server shows it: packet, user, amount.
    fn rows(&self) -> Vec<(u32, String, u32)> {
        let claims = self.claims.iter();
        let mut rows: Vec<_> = claims.map(|(i, user)| (*i, user.clone(), *i)).collect();
        match self.lie {
            Lie::LosesAWin => {
                rows.remove(3);
            }
            Lie::ChangesAnAmount => rows[3].2 += 1,
            Lie::ListsAPacketTwice => rows.push((3, "somebody else".to_owned(), 3)),
            Lie::GivesAUserTwo => rows[3].1 = rows[4].1.clone(),
            _ => {}
        }
        rows
    }
}

fn may_organise(headers: &HeaderMap) -> bool {
    bearer(headers) == Some(KEY)
}

async fn wins(State(inner): Shared, headers: HeaderMap) -> Response {
    let inner = inner.lock().unwrap();
    let mut user = user(&headers).unwrap();
    if inner.lie == Lie::ShowsForeignWins {
        user = inner.claims[&1].clone();
    }
    let own = inner.claims.iter().filter(|(_, owner)| **owner == user);
    let wins: Vec<_> = own
        .map(|(i, _)| json!({"packet": packet(*i), "claimed_at": WHEN, "redeemed_at": null}))
        .collect();
    Json(json!({ "wins": wins })).into_response()
}

async fn terms(headers: HeaderMap) -> Response {
    if !may_organise(&headers) {
        return error(401, "unauthenticated");
    }
    Json(json!({
        "id": CAMPAIGN, "win_limit": {"count": 1, "per": "campaign"}, "currency": "CNY",
        "starts_at": WHEN, "waves": [{"wave": 1, "opened_at": WHEN}],
    }))
    .into_response()
}

async fn winners(
    State(inner): Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let inner = inner.lock().unwrap();
    if !may_organise(&headers) || inner.lie == Lie::HidesItsBooks {
        return error(401, "unauthenticated");
    }
    let rows = inner.rows();
    // Cursors that must be escaped in a query.
    let from = query.get("cursor").map_or(0, |cursor| {
        cursor.strip_prefix("+&/").unwrap().parse().unwrap()
    });
    let page = rows.iter().skip(from).take(PAGE);
    let page: Vec<_> = page
        .map(|(i, user, amount)| {
            json!({"packet": format!("1-{i}"), "wave": 1, "user": user, "amount": amount,
                   "claimed_at": WHEN, "redeemed_at": null})
        })
        .collect();
    let next = from + PAGE;
    let cursor = (next < rows.len()).then(|| format!("+&/{next}"));
    Json(json!({"winners": page, "next_cursor": cursor})).into_response()
}

async fn audit(State(inner): Shared, headers: HeaderMap) -> Response {
    let inner = inner.lock().unwrap();
    if !may_organise(&headers) {
        return error(401, "unauthenticated");
    }
    let budget: u32 = (1..=PACKETS).sum();
    let mut claimed: u32 = inner.claims.keys().sum();
    if inner.lie == Lie::AuditsWrongly {
        claimed -= 1;
    }
    let count = inner.claims.len();
    Json(json!({
        "balanced": inner.lie != Lie::AdmitsImbalance,
        "budget": budget, "claimed": claimed, "unclaimed": budget - claimed, "refunded": 0,
        "packets": {"total": PACKETS, "claimed": count, "unclaimed": PACKETS as usize - count,
                    "refunded": 0},
        "double_claims": 0, "over_limit": 0, "wrong_amounts": 0,
        "split_commitment": "", "checked_at": WHEN,
    }))
    .into_response()
}
