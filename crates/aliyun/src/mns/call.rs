//! One signed call of MNS: bounded in time, sent again where that can help.
//!
//! What is sent again: calls that got no answer, that the service failed at, or that it
//! throttled, each after a longer pause; and once, at once, a call whose date the service found
//! too far from its own, by the service's date. So any call may be done twice: MNS delivers at
//! least once anyway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Url;
use rules::{Clock, Timestamp};

use super::{
    Code,
    model::{PartError, ServiceError},
    wire::{Strange, service_error},
};
use crate::{
    no_answer,
    reply_body::{self, REPLY_BYTES_MAX},
    sign::{self, Credentials, HeaderError},
};

/// How long a call may take, beside the time for which it polls.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept: less than any load balancer does.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Throttled calls wait longer than failed ones, by this factor.
const THROTTLED_FACTOR: u32 = 4;

/// Why a client cannot be made. It never repeats the URL: that may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is of another form.
    #[error("an MNS endpoint is `https://<account>.mns.<region>.aliyuncs.com`, without a path")]
    Form,
    /// TLS cannot be set up.
    #[error("no HTTP client can be made: {0}")]
    Http(String),
}

/// A call to MNS failed. What it should have done may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum MnsError {
    /// The service refused it, or failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// There was no answer.
    #[error("MNS did not answer: {0}")]
    NoAnswer(String),
    /// The answer is not of the protocol.
    #[error("MNS gave {0}")]
    Strange(#[from] Strange),
    /// It cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It is outside the protocol's limits and was not sent.
    #[error("not sent to MNS: {0}")]
    NotSent(String),
}

impl From<PartError> for MnsError {
    fn from(error: PartError) -> Self {
        Self::NotSent(error.to_string())
    }
}

impl MnsError {
    /// Whether the service answered with this code.
    #[must_use]
    pub fn is(&self, code: &Code) -> bool {
        matches!(self, Self::Service(error) if error.code == *code)
    }

    /// Whether the service asks for fewer calls.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        let of = |error: &ServiceError| {
            error.code == Code::QpsLimitExceeded || matches!(error.status, 429 | 503)
        };
        matches!(self, Self::Service(error) if of(error))
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Service(error) => error.status >= 500 || self.is_throttled(),
            Self::NoAnswer(_) => true,
            Self::Strange(_) | Self::Header(_) | Self::NotSent(_) => false,
        }
    }
}

/// How long to go on trying.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often a call is sent at most.
    pub sends_max: u32,
    /// The pause before it is sent the second time; doubled each time.
    pub first_pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            sends_max: 4,
            first_pause: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
        }
    }
}

impl Patience {
    /// The pause after the call was sent `sends` times; half of it is chance, so that callers
    /// who failed together do not return together.
    #[must_use]
    pub fn pause(&self, sends: u32, throttled: bool) -> Duration {
        let doubled = self.first_pause * 2_u32.saturating_pow(sends.saturating_sub(1).min(16));
        let factor = if throttled { THROTTLED_FACTOR } else { 1 };
        let whole = (doubled * factor).min(self.pause_max);
        let chance = uuid::Uuid::new_v4().as_u64_pair().0 >> 32;
        whole / 2 + (whole / 2).mul_f64(chance as f64 / f64::from(u32::MAX))
    }
}

/// What is asked.
pub(super) struct Call<'a> {
    /// Names the call in the metric.
    pub(super) name: &'static str,
    pub(super) method: Method,
    /// The path and the query.
    pub(super) target: String,
    /// Headers of this operation.
    pub(super) headers: Vec<(&'static str, &'a str)>,
    pub(super) body: String,
    /// How long the service may take because it waits for a message.
    pub(super) waits: Duration,
}

impl Call<'_> {
    pub(super) fn new(name: &'static str, method: Method, target: String) -> Self {
        Self {
            name,
            method,
            target,
            headers: Vec::new(),
            body: String::new(),
            waits: Duration::ZERO,
        }
    }
}

/// What was answered, unless it is a refusal as a whole.
pub(super) struct Reply {
    /// The HTTP status; 400 and above only where a batch failed in part.
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// Where and as whom to call.
pub(super) struct Caller {
    http: reqwest::Client,
    endpoint: Url,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    /// Microseconds that the service's clock is ahead of ours, as far as it has complained.
    ahead: AtomicI64,
    patience: Patience,
}

impl Caller {
    pub(super) fn new(
        endpoint: &str,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let endpoint = Url::parse(endpoint.trim_end_matches('/')).map_err(|_| OpenError::Form)?;
        let plain = matches!(endpoint.scheme(), "http" | "https")
            && endpoint.path() == "/"
            && endpoint.query().is_none()
            && endpoint.username().is_empty();
        let host = endpoint
            .host_str()
            .filter(|_| plain)
            .ok_or(OpenError::Form)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
            // No proxy leads to this very machine.
            builder = builder.no_proxy();
        }
        let http = builder.build();
        Ok(Self {
            http: http.map_err(|error| OpenError::Http(error.to_string()))?,
            endpoint,
            credentials,
            clock,
            ahead: AtomicI64::new(0),
            patience,
        })
    }

    /// Makes `call`, again and again where that can help.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Reply, MnsError> {
        let mut sends = 0;
        let mut set_right = false;
        loop {
            metrics::counter!("hongbao_mns_calls_total", "call" => call.name).increment(1);
            sends += 1;
            let error = match self.send(&call).await {
                Ok(reply) => return Ok(reply),
                Err((error, date)) => {
                    if error.is(&Code::TimeExpired) && !set_right && self.follow(date) {
                        set_right = true;
                        continue;
                    }
                    error
                }
            };
            if !error.may_pass() || sends >= self.patience.sends_max {
                return Err(error);
            }
            let pause = self.patience.pause(sends, error.is_throttled());
            tracing::debug!(call = call.name, %error, ?pause, "a call of MNS is sent again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Dates requests by the service's clock from now on.
    fn follow(&self, date: Option<Timestamp>) -> bool {
        let Some(date) = date else { return false };
        let ahead = date.since(self.clock.now());
        self.ahead.store(ahead, Ordering::Relaxed);
        tracing::warn!(
            ahead_ms = ahead / 1_000,
            "the clocks of MNS and of this machine differ: requests are dated by that of MNS"
        );
        true
    }

    /// Sends `call` once; with an error, the date that the service gave.
    async fn send(&self, call: &Call<'_>) -> Result<Reply, (MnsError, Option<Timestamp>)> {
        let request = self.request(call).map_err(|error| (error, None))?;
        let no_answer = |error| (MnsError::NoAnswer(no_answer::why(error)), None);
        let response = self.http.execute(request).await.map_err(no_answer)?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let date = header("date").and_then(sign::parse_http_date);
        let request_id = header("x-mns-request-id").unwrap_or("").to_owned();
        let body = reply_body::read(response).await.map_err(no_answer)?;
        let too_long = || Strange(format!("above {REPLY_BYTES_MAX} bytes"));
        let body = body.ok_or_else(|| (too_long().into(), date))?;
        // A batch that failed in part has a status of failure and a body of its own.
        let is_partial = || {
            let text = String::from_utf8_lossy(&body);
            text.contains("<Messages") || text.contains("<Errors")
        };
        if status < 400 || is_partial() {
            return Ok(Reply { status, body });
        }
        let error = service_error(status, &request_id, &body);
        Err((error.into(), date))
    }

    fn request(&self, call: &Call<'_>) -> Result<reqwest::Request, MnsError> {
        let not_sent = |_| MnsError::NotSent("the target is no URL".into());
        let url = self.endpoint.join(&call.target).map_err(not_sent)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            let value = HeaderValue::from_str(value).map_err(|_| HeaderError(name))?;
            headers.insert(*name, value);
        }
        let now = self.clock.now();
        let now = now.plus_micros(self.ahead.load(Ordering::Relaxed));
        // As it travels: the URL may have escaped what it must.
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let body = call.body.as_bytes();
        let method = call.method.as_str();
        sign::mns::sign(method, &target, &mut headers, body, &self.credentials, now)?;
        let mut request = reqwest::Request::new(call.method.clone(), url);
        *request.headers_mut() = headers;
        *request.timeout_mut() = Some(CALL_TIMEOUT + call.waits);
        if !body.is_empty() {
            *request.body_mut() = Some(call.body.clone().into());
        }
        Ok(request)
    }
}
