//! The offline servers: a tool for development and tests, never for production.
//!
//! # Layout
//! - [`serve`]: a listener for any of them.
//! - [`Offline`]: what an offline server is: it answers whole requests.
//! - [`mns`]: the offline MNS.

pub mod mns;

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a connection may be idle, and a client may take to send the head of a request: hyper
/// has one time for both. The vendor's Python client of MNS fails where an idle connection was
/// closed, so it is longer than a client sleeps between two calls.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may take to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest body of any request to either service, with room to spare: a group of logs is at
/// most 3 MB, 64 KB of messages.
const BODY_BYTES_MAX: usize = 16 << 20;
/// How long to wait before accepting again after an accept failed for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An offline server.
#[async_trait]
pub trait Offline: Send + Sync + 'static {
    /// Answers a request. Its target is as the client sent it: in absolute form where the client
    /// takes the server for its proxy.
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes>;
}

/// Serves `offline` until `shutdown` is cancelled; then ends its connections.
pub async fn serve(listener: TcpListener, offline: Arc<dyn Offline>, shutdown: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (offline, shutdown) = (offline.clone(), shutdown.clone());
                tokio::spawn(async move {
                    // An answer is one short write: better sent now than gathered.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection answers slower than it could");
                    }
                    tokio::select! {
                        () = connection(TokioIo::new(stream), offline) => {}
                        () = shutdown.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the offline server cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TokioIo<tokio::net::TcpStream>, offline: Arc<dyn Offline>) {
    let service = service_fn(move |request| {
        let offline = offline.clone();
        async move { Ok::<_, Infallible>(whole(request, offline).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(stream, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the offline server ended badly");
    }
}

/// Reads the body, then answers.
async fn whole(request: Request<Incoming>, offline: Arc<dyn Offline>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect();
    let status = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => {
            let request = Request::from_parts(head, body.to_bytes());
            return offline.answer(request).await.map(Full::new);
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => StatusCode::PAYLOAD_TOO_LARGE,
        Ok(Err(_)) => StatusCode::BAD_REQUEST,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    let mut refusal = Response::new(Full::new(Bytes::new()));
    *refusal.status_mut() = status;
    refusal
}
