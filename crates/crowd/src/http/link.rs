//! One connection: it carries one request at a time and is made anew when it was lost.
//!
//! It never repeats a request by itself: whether a repeat is safe is for the caller to know.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::target::{Connector, Target};

/// The largest reply that is read, in bytes; a page of winners is far below it.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A reply, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no reply. Whether the server saw the request is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("could not connect: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("nothing was answered within {0:?}")]
    TimedOut(Duration),
}

/// A connection slot to one server.
pub(crate) struct Link {
    target: Arc<Target>,
    open: Option<Open>,
}

/// A live connection; dropping it closes the socket, answered or not.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// A slot that connects when it is first used.
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, open: None }
    }

    /// Sends `request` and reads its reply, all of it within `within`. After an error the
    /// connection is closed, and the next call makes a new one.
    pub(crate) async fn call(
        &mut self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Reply, Lost> {
        let result = tokio::time::timeout(within, self.exchange(request)).await;
        let result = result.unwrap_or(Err(Lost::TimedOut(within)));
        if result.is_err() {
            self.close();
        }
        result
    }

    /// Closes the connection, whatever is under way on it.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Lost> {
        let broken = |cause: hyper::Error| Lost::Broken(chain(&cause));
        let open = match &mut self.open {
            Some(open) if !open.sender.is_closed() => open,
            slot => slot.insert(connect(&self.target).await?),
        };
        open.sender.ready().await.map_err(broken)?;
        let reply = open.sender.send_request(request).await.map_err(broken)?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX)
            .collect()
            .await
            .map_err(|cause| Lost::Broken(cause.to_string()))?
            .to_bytes();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

async fn connect(target: &Target) -> Result<Open, Lost> {
    let refused = |cause: &dyn std::error::Error| Lost::Connect(chain(cause));
    let origin = target.origin.clone();
    match &target.connector {
        Connector::Plain(plain) => match plain.clone().oneshot(origin).await {
            Ok(io) => handshake(io).await,
            Err(cause) => Err(refused(&cause)),
        },
        Connector::Tls(tls) => match tls.clone().oneshot(origin).await {
            Ok(io) => handshake(io).await,
            Err(cause) => Err(refused(&*cause)),
        },
    }
}

async fn handshake<T>(io: T) -> Result<Open, Lost>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(io)
        .await
        .map_err(|cause| Lost::Connect(chain(&cause)))?;
    let driver = tokio::spawn(async move {
        // The request that was under way gets the error; there is nobody else to tell.
        let _told_to_the_request = connection.await.is_err();
    });
    Ok(Open { sender, driver })
}

/// `cause` with the causes below it, which hold what a person needs to know.
fn chain(cause: &dyn std::error::Error) -> String {
    let mut text = cause.to_string();
    let mut below = cause.source();
    while let Some(cause) = below {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = cause.source();
    }
    text
}

/// A request to `target`; `bearer` is the whole value of the Authorization header.
pub(crate) fn request(
    target: &Target,
    method: Method,
    path: http::Uri,
    bearer: Option<&HeaderValue>,
    json: Option<Bytes>,
) -> Request<Full<Bytes>> {
    let has_body = json.is_some();
    let mut request = Request::new(Full::new(json.unwrap_or_default()));
    *request.method_mut() = method;
    *request.uri_mut() = path;
    let headers = request.headers_mut();
    headers.insert(header::HOST, target.host.clone());
    if has_body {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
    }
    if let Some(bearer) = bearer {
        headers.insert(header::AUTHORIZATION, bearer.clone());
    }
    request
}
