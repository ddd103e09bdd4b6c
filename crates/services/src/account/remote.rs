//! The account service in other processes, behind one URL: its calls over a few connections
//! that are kept.
//!
//! Each new connection goes to the next of the addresses that the name stands for, and lives a
//! few seconds, so that replicas that come are found and those that are gone forgotten. A call
//! never repeats what may have been decided without a Grab-Id to know it again by.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rules::{CampaignId, admission::Verdict};
use tokio::{net::TcpStream, task::JoinHandle};

use super::{
    asking::{Attempt, Unreached, Verifier},
    verify::{AttemptToVerify, VerdictAnswer, VerifyAnswer, VerifyRequest},
};

/// How long a call waits for its answer, connecting included. A replica that has stalled is
/// taken for dead then, and the next is asked.
const CALL_WITHIN: Duration = Duration::from_millis(500);
/// How long one address may take to connect.
const CONNECT_WITHIN: Duration = Duration::from_millis(200);
/// How long a connection is used.
const CONNECTION_LASTS: Duration = Duration::from_secs(10);
/// How many connections are kept while they are idle.
const IDLE_MAX: usize = 8;
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Where the account service listens when its URL names no port.
const PORT_OF_URLS: u16 = 80;
/// Where it may listen when a bare host is named: on its own, or behind a load balancer.
const PORTS_OF_HOSTS: [u16; 2] = [8081, 80];

/// The account service behind one URL.
pub struct RemoteAccount {
    host: String,
    /// Where it may be.
    ports: Vec<u16>,
    /// Where it has answered; from then on it is nowhere else. 0: nowhere yet.
    answered_at: AtomicU16,
    host_header: HeaderValue,
    key: HeaderValue,
    idle: Mutex<Vec<Connection>>,
    /// Which of the addresses comes next.
    next: AtomicUsize,
}

/// A live connection; dropping it closes the socket, answered or not.
struct Connection {
    port: u16,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    since: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why a URL is none of an account service.
#[derive(Debug, thiserror::Error)]
#[error("must be http://HOST:PORT, and is `{0}`")]
pub struct NotAnAccountUrl(String);

/// Why a call has no answer.
enum Lost {
    /// The service has certainly not seen it.
    NotSent(String),
    /// It may have.
    Unknown(String),
}

impl From<Lost> for Unreached {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotSent(cause) | Lost::Unknown(cause) => Self(cause),
        }
    }
}

impl RemoteAccount {
    /// The service at `url`, shown the key `service_key`. Of `http://HOST:PORT` the scheme and port
    /// 80 may be left out; a bare host is asked at the account service's own port 8081 first, and
    /// at 80 when nobody is there. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL is none, or the key cannot stand in a header.
    pub fn new(url: &str, service_key: &str) -> Result<Self, NotAnAccountUrl> {
        let wrong = || NotAnAccountUrl(url.to_owned());
        let with_scheme = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        if !plain || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host();
        let mut key = HeaderValue::try_from(format!("Bearer {service_key}"))
            .map_err(|_| NotAnAccountUrl("a service key with control characters".into()))?;
        key.set_sensitive(true);
        let ports = match authority.port_u16() {
            Some(port) => vec![port],
            None if url.contains("://") => vec![PORT_OF_URLS],
            None => PORTS_OF_HOSTS.to_vec(),
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            ports,
            answered_at: AtomicU16::new(0),
            host_header: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            key,
            idle: Mutex::default(),
            next: AtomicUsize::new(0),
        })
    }

    async fn post(
        &self,
        path: &'static str,
        campaign: CampaignId,
        attempts: &[Attempt],
    ) -> Result<(StatusCode, Bytes), Lost> {
        let request = VerifyRequest {
            campaign,
            attempts: attempts.iter().map(AttemptToVerify::from).collect(),
        };
        let body = serde_json::to_vec(&request)
            .map_err(|error| Lost::NotSent(format!("the attempts are no JSON: {error}")))?;
        let request = self.request(Method::POST, path, body.into());
        self.send(request).await
    }

    fn request(&self, method: Method, path: &'static str, body: Bytes) -> Request<Full<Bytes>> {
        let has_body = !body.is_empty();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static(path);
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host_header.clone());
        headers.insert(header::AUTHORIZATION, self.key.clone());
        if has_body {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        request
    }

    /// Sends, and waits for the answer no longer than [`CALL_WITHIN`].
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Lost> {
        let late = |_| Lost::Unknown(format!("no answer within {CALL_WITHIN:?}"));
        let sent = tokio::time::timeout(CALL_WITHIN, self.send_and_wait(request)).await;
        sent.map_err(late)?
    }

    /// Sends over a kept connection, or a new one when those have gone away unused. Given up, it
    /// closes its connection.
    async fn send_and_wait(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Lost> {
        let mut request = request;
        loop {
            let (mut connection, kept) = match self.kept() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            let answer = match connection.sender.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut refused) => {
                    let cause = refused.error().to_string();
                    match refused.take_message() {
                        Some(unsent) if kept => request = unsent,
                        Some(_) => return Err(Lost::NotSent(cause)),
                        None => return Err(Lost::Unknown(cause)),
                    }
                    continue;
                }
            };
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|cause| Lost::Unknown(cause.to_string()))?;
            if head.status.is_success() {
                self.answered_at.store(connection.port, Ordering::Relaxed);
            }
            // A replica that cannot decide now is not asked again over the same connection: the next
            // one may lead to another.
            if head.status != StatusCode::SERVICE_UNAVAILABLE {
                self.keep(connection);
            }
            return Ok((head.status, body.to_bytes()));
        }
    }

    /// A connection that is idle and young enough.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|one| !one.sender.is_closed() && one.since.elapsed() < CONNECTION_LASTS);
        let ready = idle.iter().rposition(|one| one.sender.is_ready())?;
        Some(idle.swap_remove(ready))
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    /// A new connection, to the first port and address that take it.
    async fn connect(&self) -> Result<Connection, Lost> {
        let known = self.answered_at.load(Ordering::Relaxed);
        let ports = match known {
            0 => &self.ports[..],
            _ => std::slice::from_ref(&known),
        };
        let mut failed = None;
        for &port in ports {
            match self.connect_to(port).await {
                Ok(connection) => return Ok(connection),
                // The first says where the service should have been.
                Err(lost) => failed = failed.or(Some(lost)),
            }
        }
        Err(failed.unwrap_or_else(|| Lost::NotSent("it is nowhere".into())))
    }

    async fn connect_to(&self, port: u16) -> Result<Connection, Lost> {
        let not_sent = |cause: &dyn std::fmt::Display| Lost::NotSent(cause.to_string());
        let found = tokio::net::lookup_host((self.host.as_str(), port)).await;
        let addresses: Vec<SocketAddr> = found.map_err(|cause| not_sent(&cause))?.collect();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut failed = Lost::NotSent(format!("`{}` stands for no address", self.host));
        for place in 0..addresses.len() {
            let address = addresses[first.wrapping_add(place) % addresses.len()];
            match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let connection = handshake(stream, port).await;
                    return connection.map_err(|cause| not_sent(&cause));
                }
                Ok(Err(cause)) => failed = Lost::NotSent(format!("{address}: {cause}")),
                Err(_late) => failed = Lost::NotSent(format!("{address} does not take it")),
            }
        }
        Err(failed)
    }
}

async fn handshake(stream: TcpStream, port: u16) -> Result<Connection, Box<dyn std::error::Error>> {
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // The call under way gets the error; there is nobody else to tell.
        let _told_to_the_call = connection.await.is_err();
    });
    Ok(Connection {
        port,
        sender,
        driver,
        since: Instant::now(),
    })
}

impl From<&Attempt> for AttemptToVerify {
    fn from(attempt: &Attempt) -> Self {
        Self {
            user: attempt.user.clone(),
            ip: attempt.ip,
            grab_id: attempt.grab_id,
        }
    }
}

/// The verdicts in an answer to `asked` attempts.
fn verdicts(status: StatusCode, body: &[u8], asked: usize) -> Result<Vec<Option<Verdict>>, Lost> {
    match status {
        StatusCode::OK => {}
        // It has seen them, and what came of them it does not know itself.
        StatusCode::SERVICE_UNAVAILABLE => {
            return Err(Lost::Unknown(format!("it answered {status}")));
        }
        _ => return Err(Lost::NotSent(format!("it answered {status}"))),
    }
    let answer: VerifyAnswer = serde_json::from_slice(body)
        .map_err(|error| Lost::Unknown(format!("its answer makes no sense: {error}")))?;
    if answer.verdicts.len() != asked {
        return Err(Lost::Unknown("it decided about another number".into()));
    }
    let verdict = |answer| match answer {
        VerdictAnswer::Admitted => Some(Verdict::Admitted),
        VerdictAnswer::Rejected { reason } => Some(Verdict::Rejected(reason)),
        VerdictAnswer::Undecided => None,
    };
    Ok(answer.verdicts.into_iter().map(verdict).collect())
}

#[async_trait]
impl Verifier for RemoteAccount {
    async fn admit(
        &self,
        campaign: CampaignId,
        attempts: &[Attempt],
    ) -> Result<Vec<Option<Verdict>>, Unreached> {
        let ask = async |attempts: &[Attempt]| {
            let (status, body) = self.post("/account/verify", campaign, attempts).await?;
            verdicts(status, &body, attempts.len())
        };
        let cause = match ask(attempts).await {
            Ok(verdicts) => return Ok(verdicts),
            Err(Lost::NotSent(cause)) => return Err(Unreached(cause)),
            Err(Lost::Unknown(cause)) => cause,
        };
        // The replica may have died or stalled in mid-call. Another knows a tap again by its Grab-Id.
        let named: Vec<Attempt> = attempts
            .iter()
            .filter(|attempt| attempt.grab_id.is_some())
            .cloned()
            .collect();
        if named.is_empty() {
            return Err(Unreached(cause));
        }
        let mut again = ask(&named).await?.into_iter();
        let verdict = |attempt: &Attempt| attempt.grab_id.and_then(|_| again.next().flatten());
        Ok(attempts.iter().map(verdict).collect())
    }

    async fn withdraw(&self, campaign: CampaignId, attempts: &[Attempt]) -> Result<(), Unreached> {
        // Safe to repeat: nothing is given back twice.
        let mut answered = self.post("/account/withdraw", campaign, attempts).await;
        if let Err(Lost::Unknown(_)) = answered {
            answered = self.post("/account/withdraw", campaign, attempts).await;
        }
        match answered? {
            (StatusCode::NO_CONTENT, _) => Ok(()),
            (status, _) => Err(Unreached(format!("it answered {status}"))),
        }
    }

    async fn ping(&self) -> Result<(), Unreached> {
        let request = self.request(Method::GET, "/readyz", Bytes::new());
        match self.send(request).await? {
            (StatusCode::OK, _) => Ok(()),
            (StatusCode::UNAUTHORIZED, _) => {
                let cause = "it has another service key than this service (HONGBAO_SERVICE_KEY)";
                Err(Unreached(cause.into()))
            }
            (status, _) => Err(Unreached(format!("it answered {status}"))),
        }
    }
}

#[cfg(test)]
mod tests;
