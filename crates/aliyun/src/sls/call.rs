//! One signed call of SLS: bounded in time, sent again where that can help.
//!
//! What is sent again: calls that got no answer, that the service failed at, or that it
//! throttled, each after a longer pause; and once, at once, a call whose date the service found
//! too far from its own, by the service's date. So logs may be put twice: whoever counts them
//! must be able to tell.

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
use serde::Deserialize;

use super::{
    endpoint::address,
    model::{ServiceError, Signature},
    proto::{Compression, decompress},
};
use crate::{
    mns::Patience,
    no_answer,
    reply_body::{self, REPLY_BYTES_MAX},
    sign::{self, Credentials, HeaderError},
};

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept: less than any load balancer does.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The codes by which the service asks for fewer calls.
const THROTTLED: [&str; 6] = [
    "WriteQuotaExceed",
    "ReadQuotaExceed",
    "ShardWriteQuotaExceed",
    "ShardReadQuotaExceed",
    "ExceedQuota",
    "ServerBusy",
];
/// The codes by which it finds a request's date wrong.
const MISDATED: [&str; 2] = ["RequestTimeTooSkewed", "RequestTimeExpired"];

/// Why a client cannot be made. It never repeats the URL: that may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is of another form.
    #[error("an SLS endpoint is `https://<region>.log.aliyuncs.com`, without project and path")]
    Form,
    /// TLS cannot be set up.
    #[error("no HTTP client can be made: {0}")]
    Http(String),
}

/// A call to SLS failed. What it should have done may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum SlsError {
    /// The service refused it, or failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// There was no answer.
    #[error("SLS did not answer: {0}")]
    NoAnswer(String),
    /// The answer is not of the protocol.
    #[error("SLS gave an answer that cannot be read: {0}")]
    Strange(String),
    /// It cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It is outside the protocol's limits and was not sent.
    #[error("not sent to SLS: {0}")]
    NotSent(String),
}

impl SlsError {
    /// Whether the service answered with this code.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Service(error) if error.code == code)
    }

    /// The HTTP status that the service answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Service(error) => Some(error.status),
            _ => None,
        }
    }

    /// Whether the service asks for fewer calls.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        matches!(self, Self::Service(error)
            if THROTTLED.contains(&error.code.as_str()) || matches!(error.status, 429 | 503))
    }

    /// Whether the same call may succeed later, with nothing else changed.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Service(error) => error.status >= 500 || self.is_throttled(),
            Self::NoAnswer(_) => true,
            Self::Strange(_) | Self::Header(_) | Self::NotSent(_) => false,
        }
    }
}

/// What is asked.
pub(super) struct Call {
    /// Names the call in the metric.
    pub(super) name: &'static str,
    pub(super) method: Method,
    /// The path and the query.
    pub(super) target: String,
    /// Headers of this operation.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) const fn new(name: &'static str, method: Method, target: String) -> Self {
        Self {
            name,
            method,
            target,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// With a JSON body.
    pub(super) fn json(mut self, body: &impl serde::Serialize) -> Self {
        let json = serde_json::to_vec(body).expect("what we ask has text for keys");
        self.body = json.into();
        let kind = ("content-type", "application/json".to_owned());
        self.headers.push(kind);
        self
    }
}

/// What was answered.
pub(super) struct Reply {
    pub(super) headers: HeaderMap,
    /// Uncompressed.
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json<T: for<'a> Deserialize<'a>>(&self) -> Result<T, SlsError> {
        let read = serde_json::from_slice(&self.body);
        read.map_err(|error| SlsError::Strange(error.to_string()))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Where and as whom to call.
pub(super) struct Caller {
    http: reqwest::Client,
    /// Where to connect to.
    url: Url,
    /// The Host header: the project, then the endpoint.
    host: HeaderValue,
    credentials: Credentials,
    signature: Signature,
    clock: Arc<dyn Clock>,
    /// Microseconds that the service's clock is ahead of ours, as far as it has complained.
    ahead: AtomicI64,
    patience: Patience,
}

impl Caller {
    pub(super) fn new(
        endpoint: &str,
        project: &str,
        (credentials, signature): (Credentials, Signature),
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let (url, host, is_local) = address(endpoint, project).ok_or(OpenError::Form)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if is_local {
            // No proxy leads to this very machine.
            builder = builder.no_proxy();
        }
        let http = builder.build();
        Ok(Self {
            http: http.map_err(|error| OpenError::Http(error.to_string()))?,
            url,
            host,
            credentials,
            signature,
            clock,
            ahead: AtomicI64::new(0),
            patience,
        })
    }

    /// Makes `call`, again and again where that can help.
    pub(super) async fn call(&self, call: Call) -> Result<Reply, SlsError> {
        let mut sends = 0;
        let mut set_right = false;
        loop {
            metrics::counter!("hongbao_sls_calls_total", "call" => call.name).increment(1);
            sends += 1;
            let error = match self.send(&call).await {
                Ok(reply) => return Ok(reply),
                Err((error, date)) => {
                    let misdated = MISDATED.iter().any(|code| error.is(code));
                    if misdated && !set_right && self.follow(date) {
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
            tracing::debug!(call = call.name, %error, ?pause, "a call of SLS is sent again");
            tokio::time::sleep(pause).await;
        }
    }

    /// See [`super::Client::ahead_micros`].
    pub(super) fn ahead_micros(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Dates requests by the service's clock from now on.
    fn follow(&self, date: Option<Timestamp>) -> bool {
        let Some(date) = date else { return false };
        let ahead = date.since(self.clock.now());
        self.ahead.store(ahead, Ordering::Relaxed);
        tracing::warn!(
            ahead_ms = ahead / 1_000,
            "the clocks of SLS and of this machine differ: requests are dated by that of SLS"
        );
        true
    }

    /// Sends `call` once; with an error, the date that the service gave.
    async fn send(&self, call: &Call) -> Result<Reply, (SlsError, Option<Timestamp>)> {
        let request = self.request(call).map_err(|error| (error, None))?;
        let no_answer = |error| (SlsError::NoAnswer(no_answer::why(error)), None);
        let response = self.http.execute(request).await.map_err(no_answer)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = reply_body::read(response).await.map_err(no_answer)?;
        let too_long = || SlsError::Strange(format!("it is above {REPLY_BYTES_MAX} bytes"));
        let body = body.ok_or_else(|| (too_long(), None))?;
        let reply = Reply { headers, body };
        let date = reply.header("date").and_then(sign::parse_http_date);
        if status == 200 {
            return uncompressed(reply).map_err(|error| (error, date));
        }
        Err((service_error(status, &reply).into(), date))
    }

    fn request(&self, call: &Call) -> Result<reqwest::Request, SlsError> {
        let not_sent = |_| SlsError::NotSent("the target is no URL".into());
        let url = self.url.join(&call.target).map_err(not_sent)?;
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, self.host.clone());
        for (name, value) in &call.headers {
            let value = HeaderValue::from_str(value).map_err(|_| HeaderError(name))?;
            headers.insert(*name, value);
        }
        let now = self.clock.now();
        let now = now.plus_micros(self.ahead_micros());
        // As it travels: the URL may have escaped what it must.
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let (method, body, who) = (call.method.as_str(), &call.body, &self.credentials);
        match &self.signature {
            Signature::V1 => {
                sign::sls_v1::sign(method, &target, &mut headers, body, who, now)?;
            }
            Signature::V4 { region } => {
                let asked = (method, target.as_str());
                sign::sls_v4::sign(asked, &mut headers, body, who, region, now)?;
            }
        }
        let mut request = reqwest::Request::new(call.method.clone(), url);
        *request.headers_mut() = headers;
        *request.timeout_mut() = Some(CALL_TIMEOUT);
        if !body.is_empty() {
            *request.body_mut() = Some(call.body.clone().into());
        }
        Ok(request)
    }
}

fn uncompressed(mut reply: Reply) -> Result<Reply, SlsError> {
    let strange = |what: &str| SlsError::Strange(what.to_owned());
    if let Some(name) = reply.header("x-log-compresstype").filter(|n| !n.is_empty()) {
        let compression = Compression::parse(name);
        let compression = compression.ok_or_else(|| strange("its compression is not known"))?;
        let raw_bytes = reply.header("x-log-bodyrawsize");
        let raw_bytes = raw_bytes.and_then(|text| text.parse().ok());
        let raw_bytes = raw_bytes.ok_or_else(|| strange("its length is missing"))?;
        let raw = decompress(&reply.body, compression, raw_bytes);
        reply.body = raw.map_err(|error| strange(&error.to_string()))?.into();
    }
    Ok(reply)
}

fn service_error(status: u16, reply: &Reply) -> ServiceError {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Body {
        error_code: String,
        error_message: String,
    }
    let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
    ServiceError {
        status,
        code: body.error_code,
        message: body.error_message,
        request_id: reply.header("x-log-requestid").unwrap_or("").to_owned(),
    }
}
