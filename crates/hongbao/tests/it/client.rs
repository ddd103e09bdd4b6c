//! A small client of the contract.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    sample::{number, text, token},
    server::{ORGANISER_KEY, Plan, Server},
    until::Wait,
};

/// How long a call may take before it counts as undecided.
const CALL_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// What a grab was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Won, or the same win again.
    Won {
        /// `wave-index`.
        packet: String,
        /// Minor units.
        amount: u64,
        /// The same win again.
        repeated: bool,
    },
    /// Time or stock, with the reason.
    Missed(String),
    /// A rule, with the reason.
    Rejected(String),
}

impl Answer {
    /// Whether it missed for this reason.
    pub(crate) fn missed(&self, reason: &str) -> bool {
        *self == Self::Missed(reason.into())
    }

    /// Whether it was rejected for this reason.
    pub(crate) fn rejected(&self, reason: &str) -> bool {
        *self == Self::Rejected(reason.into())
    }

    /// The packet and its amount; the test fails when it is no win.
    pub(crate) fn win(&self) -> (String, u64) {
        match self {
            Self::Won { packet, amount, .. } => (packet.clone(), *amount),
            other => panic!("expected a win, was answered {other:?}"),
        }
    }

    /// Whether this is a win repeated.
    pub(crate) fn is_repeated(&self) -> bool {
        matches!(self, Self::Won { repeated: true, .. })
    }

    fn parse(body: &Value) -> Self {
        match text(&body["outcome"]).as_str() {
            "won" => Self::Won {
                packet: text(&body["packet"]["id"]),
                amount: number(&body["packet"]["amount"]),
                repeated: body["repeated"].as_bool().expect("`repeated` is a boolean"),
            },
            "missed" => Self::Missed(text(&body["reason"])),
            "rejected" => Self::Rejected(text(&body["reason"])),
            other => panic!("unknown outcome `{other}` in {body}"),
        }
    }
}

/// Status and JSON body of a reply.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: reqwest::header::HeaderMap,
    /// The body; null when it is no JSON.
    pub(crate) body: Value,
}

impl Reply {
    /// The body, of a reply that must have this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(
            self.status.as_u16(),
            status,
            "unexpected status: {}",
            self.body
        );
        self.body
    }

    /// Checks the status and the code of an error, and its body's shape; gives the message.
    pub(crate) fn expect_error(self, status: u16, code: &str) -> String {
        let error = self.expect(status)["error"].clone();
        assert_eq!(error["code"], code, "another code: {error}");
        assert!(
            !text(&error["request_id"]).is_empty(),
            "no request id: {error}"
        );
        text(&error["message"])
    }
}

/// Talks to one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    admin: String,
}

impl Client {
    /// A client of `server` that stays right across its restarts on the same ports.
    pub(crate) fn new(server: &Server) -> Self {
        let admin = format!("127.0.0.1:{}", server.plan.admin_port);
        Self::at(&server.address, &admin)
    }

    /// A client of what answers at `address`, whose metrics are at `admin`.
    pub(crate) fn at(address: &str, admin: &str) -> Self {
        let http = reqwest::Client::builder()
            .timeout(CALL_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a plain client can be built");
        Self {
            http,
            base: format!("http://{address}"),
            admin: format!("http://{admin}"),
        }
    }

    /// A request without any identity.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A request with the organiser's API key.
    pub(crate) fn organiser(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(ORGANISER_KEY)
    }

    /// GET as the organiser; must be 200.
    pub(crate) async fn read(&self, path: &str) -> Value {
        send(self.organiser(Method::GET, path)).await.expect(200)
    }

    /// POST as the organiser.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        send(self.organiser(Method::POST, path).json(body)).await
    }

    /// Creates a campaign, which must succeed, and gives its id.
    pub(crate) async fn create(&self, body: &Value) -> String {
        let campaign = self.post("/monitor/api/campaigns", body).await.expect(201);
        text(&campaign["id"])
    }

    /// One ask. `None` when it stays undecided: no reply, or 503.
    pub(crate) async fn ask(
        &self,
        campaign: &str,
        token: &str,
        tap: Option<(Uuid, u32)>,
    ) -> Option<Answer> {
        self.ask_once(campaign, token, tap).await.ok()
    }

    /// As [`Self::ask`].
    ///
    /// # Errors
    /// Why it stays undecided.
    pub(crate) async fn ask_once(
        &self,
        campaign: &str,
        token: &str,
        tap: Option<(Uuid, u32)>,
    ) -> Result<Answer, String> {
        let path = format!("/redpacket/campaigns/{campaign}/grab");
        let mut request = self.request(Method::POST, &path).bearer_auth(token);
        if let Some((grab_id, attempt)) = tap {
            request = request.header("Grab-Id", grab_id.to_string());
            if attempt > 1 {
                request = request.header("Grab-Attempt", attempt);
            }
        }
        let reply = request.send().await;
        let reply = reply.map_err(|error| format!("no reply: {error:?}"))?;
        let status = reply.status();
        let body = reply.bytes().await;
        let body = body.map_err(|error| format!("half a reply of {status}: {error:?}"))?;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(String::from_utf8_lossy(&body).into_owned());
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        assert_eq!(status.as_u16(), 200, "a grab was answered {body}");
        Ok(Answer::parse(&body))
    }

    /// A plain grab by `user`. One that finds the packets elsewhere for a moment, as on a machine
    /// that has just stood still, is asked again.
    pub(crate) async fn grab(&self, campaign: &str, user: &str) -> Answer {
        let (token, wait) = (token(user), Wait::begin("a grab finds the packets"));
        loop {
            let answer = self.ask(campaign, &token, None).await;
            let answer = answer.expect("the server decides a grab when nothing is broken");
            if !answer.missed("not_this_time") {
                return answer;
            }
            wait.again().await;
        }
    }

    /// A grab of this tap by `user`; asked again as [`Self::grab`] is.
    pub(crate) async fn tap(
        &self,
        campaign: &str,
        user: &str,
        grab_id: Uuid,
        first_attempt: u32,
    ) -> Answer {
        let (token, wait) = (token(user), Wait::begin("a tap finds the packets"));
        for attempt in first_attempt.. {
            let answer = self.ask(campaign, &token, Some((grab_id, attempt))).await;
            let answer = answer.expect("the server decides a grab when nothing is broken");
            if !answer.missed("not_this_time") {
                return answer;
            }
            wait.again().await;
        }
        unreachable!("four billion attempts")
    }

    /// Every winner of a campaign, page by page.
    pub(crate) async fn winners(&self, campaign: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/monitor/api/campaigns/{campaign}/winners?cursor={cursor}");
            let page = self.read(path.trim_end_matches("?cursor=")).await;
            all.extend(page["winners"].as_array().expect("a list").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.into(),
                None => return all,
            }
        }
    }

    /// The audit, which must find the books balanced.
    pub(crate) async fn audit(&self, campaign: &str) -> Value {
        let audit = self
            .read(&format!("/monitor/api/campaigns/{campaign}/audit"))
            .await;
        assert_eq!(audit["balanced"], true, "the books do not balance: {audit}");
        for count in ["double_claims", "over_limit", "wrong_amounts"] {
            assert_eq!(audit[count], 0, "{count}: {audit}");
        }
        let parts = ["claimed", "unclaimed", "refunded"];
        let sum: u64 = parts.iter().map(|part| number(&audit[part])).sum();
        assert_eq!(sum, number(&audit["budget"]), "money is missing: {audit}");
        let packets = &audit["packets"];
        let sum: u64 = parts.iter().map(|part| number(&packets[part])).sum();
        assert_eq!(
            sum,
            number(&packets["total"]),
            "packets are missing: {audit}"
        );
        audit
    }

    /// What the admin port says at /metrics.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.admin);
        let reply = self
            .http
            .get(url)
            .send()
            .await
            .expect("the admin port answers");
        reply.text().await.expect("metrics are text")
    }

    /// The sum of a counter over all its labels; 0 when it never counted.
    pub(crate) async fn counter(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        let of_name = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        of_name
            .map(|line| {
                let value = line.rsplit(' ').next().expect("a line has a value");
                value.parse::<u64>().expect("a counter is a whole number")
            })
            .sum()
    }
}

/// Sends, and reads the reply.
pub(crate) async fn send(request: RequestBuilder) -> Reply {
    let reply = request.send().await.expect("the server answers");
    let (status, headers) = (reply.status(), reply.headers().clone());
    let body = reply.bytes().await.expect("the reply is whole");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Reply {
        status,
        headers,
        body,
    }
}

/// A server of its own for one test, in a folder that goes with it.
pub(crate) fn serve() -> (tempfile::TempDir, Server, Client) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Plan::new(folder.path()).start();
    let client = Client::new(&server);
    (folder, server, client)
}
