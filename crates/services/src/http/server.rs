//! Serves one listener: accepts, hands connections to one single-threaded runtime per core,
//! and answers the grab before any router.
//!
//! Everything a connection can hold on to is bounded: how many there are, the size of a head,
//! the time to send one, the time a reader may stall, and the time to drain.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse as _};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONNECTION};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, service::service_fn};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    Place,
    client_ip::{Peer, TrustedProxies, client_ip},
    connection,
    error::REQUEST_ID,
    head::Head,
    lane::{Answer, Answered, Answers, Turn},
    paced::Paced,
    request_id::{RequestIds, X_REQUEST_ID},
    stall::StallGuard,
};
use crate::redpacket::{Redpacket, courier, grab::grab, short_lane};

/// Connections that a core has accepted and not yet begun to serve.
const HANDOVER_MAX: usize = 1_024;

/// What a listener serves.
#[derive(Clone)]
pub struct Routes {
    /// Everything but the grab.
    pub router: Router,
    /// Answers grabs, where this process does.
    pub redpacket: Option<Arc<Redpacket>>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// Where request ids come from.
    pub request_ids: Arc<RequestIds>,
}

/// How a listener serves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many runtimes, each on a thread of its own.
    pub threads: usize,
    /// The most connections at once; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// How long connections may take to end once stopping has begun.
    pub drain_within: Duration,
}

/// A response as hyper sends it: bytes of the grab, or a body of the router.
type Reply = Response<Answer<Either<Full<Bytes>, Body>>>;

/// Serves `listener` until `stopping` is done and connections have drained. Event streams are
/// to be ended by then, or they use up the drain's time.
///
/// # Errors
/// When a thread cannot be started.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    options: Options,
    stopping: CancellationToken,
) -> io::Result<()> {
    let mut cores = Vec::with_capacity(options.threads);
    let mut ended = Vec::with_capacity(options.threads);
    for number in 0..options.threads.max(1) {
        let (hand_over, accepted) = mpsc::channel(HANDOVER_MAX);
        let (end, wait) = oneshot::channel();
        let core = Core {
            routes: routes.clone(),
            options,
            stopping: stopping.clone(),
        };
        thread::Builder::new()
            .name(format!("http-{number}"))
            .spawn(move || {
                core.run(accepted);
                // Nobody waits when the process is already going down.
                let _nobody_waits = end.send(()).is_err();
            })?;
        cores.push(hand_over);
        ended.push(wait);
    }
    stopping
        .run_until_cancelled(accept(&listener, &cores, options.connections_max))
        .await;
    drop((listener, cores));
    for wait in ended {
        // An error means that the thread has panicked: it has ended all the same.
        let _panicked = wait.await.is_err();
    }
    Ok(())
}

/// Accepts connections and deals them out to the cores in turn.
async fn accept(listener: &TcpListener, cores: &[mpsc::Sender<Accepted>], connections_max: usize) {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut next = 0;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, or a peer that went away already; neither lasts.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(stream) = stream.into_std() else {
            continue;
        };
        next = (next + 1) % cores.len();
        if cores[next]
            .send(Accepted {
                stream,
                peer,
                _place: Place::new(place, metrics::gauge!("hongbao_connections")),
            })
            .await
            .is_err()
        {
            return;
        }
    }
}

struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    _place: Place,
}

/// One thread and its runtime.
struct Core {
    routes: Routes,
    options: Options,
    stopping: CancellationToken,
}

impl Core {
    fn run(self, mut accepted: mpsc::Receiver<Accepted>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "could not start a runtime for connections; ending");
                // Half a server that looks whole is worse than none.
                std::process::abort();
            }
        };
        runtime.block_on(async {
            courier::start_here();
            let connections = TaskTracker::new();
            while let Some(accepted) = accepted.recv().await {
                let (routes, stopping) = (self.routes.clone(), self.stopping.clone());
                connections.spawn(serve_one(routes, accepted, stopping));
            }
            connections.close();
            if tokio::time::timeout(self.options.drain_within, connections.wait())
                .await
                .is_err()
            {
                tracing::warn!(
                    connections = connections.len(),
                    "cut connections that did not drain"
                );
            }
        });
    }
}

/// Serves one connection until it ends, or `stopping` is done and it has nothing under way.
async fn serve_one(routes: Routes, accepted: Accepted, stopping: CancellationToken) {
    let Accepted {
        stream,
        peer,
        _place,
    } = accepted;
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let grabs = Grabs {
        routes: &routes,
        peer,
    };
    let service = |turn| {
        let routes = &routes;
        service_fn(move |request| answer_on(Arc::clone(&turn), routes, peer, request))
    };
    let stream = StallGuard::new(stream);
    if let Err(error) = connection::serve(stream, grabs, service, stopping).await {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

/// The grabs of one connection that are answered before hyper sees them.
struct Grabs<'a> {
    routes: &'a Routes,
    peer: SocketAddr,
}

impl<'a> Answers for Grabs<'a> {
    /// `None` where this process answers no grabs.
    type Arrival = Option<short_lane::Arrival>;
    type Wait = short_lane::Wait<'a>;

    fn arrival(&self) -> Self::Arrival {
        self.routes.redpacket.as_deref().map(short_lane::arrival)
    }

    fn answer(
        &self,
        head: &Head<'_, '_>,
        arrival: &Self::Arrival,
        answers: &mut Vec<u8>,
    ) -> Answered<Self::Wait> {
        let routes: &'a Routes = self.routes;
        let path = head.target.split('?').next().unwrap_or_default();
        let (Some(redpacket), Some(arrival)) = (&routes.redpacket, arrival) else {
            return Answered::NotHere;
        };
        let Some(id) = grab_of(head.method, path) else {
            return Answered::NotHere;
        };
        let by = short_lane::By {
            node: redpacket,
            peer: self.peer.ip(),
            trusted_proxies: &routes.trusted_proxies,
            request_ids: &routes.request_ids,
        };
        short_lane::answer(&by, id, head, arrival, answers).unwrap_or(Answered::NotHere)
    }
}

/// Answers one request of hyper's.
async fn answer_on(
    turn: Arc<Turn>,
    routes: &Routes,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let mut response = answer(routes, peer, request).await?;
    if turn.is_last() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response.map(|body| Answer::new(body, turn)))
}

/// The answer: a grab's without any router, anything else's through it.
async fn answer(
    routes: &Routes,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Either<Full<Bytes>, Body>>, Infallible> {
    if let Some(redpacket) = &routes.redpacket
        && let Some(id) = grab_of(request.method().as_str(), request.uri().path())
    {
        let ip = client_ip(request.headers(), peer.ip(), &routes.trusted_proxies);
        return Ok(match grab(redpacket, id, request.headers(), ip.0).await {
            Ok(response) => response.map(|body| Either::Left(Full::new(body))),
            Err(error) => {
                let id = routes.request_ids.next();
                let header = HeaderValue::try_from(id.as_str());
                let mut response = REQUEST_ID
                    .sync_scope(id, || error.into_response())
                    .map(Either::Right);
                if let Ok(header) = header {
                    response.headers_mut().insert(X_REQUEST_ID, header);
                }
                response
            }
        });
    }
    request.extensions_mut().insert(Peer(peer));
    let request = request.map(|body| Body::new(Paced::new(body)));
    let response = routes.router.clone().oneshot(request).await?;
    Ok(response.map(Either::Right))
}

/// The campaign that a request grabs of; `None` when it is no grab.
fn grab_of<'p>(method: &str, path: &'p str) -> Option<&'p str> {
    let path = path.strip_prefix("/redpacket/campaigns/")?;
    let id = path.strip_suffix("/grab")?;
    (method == "POST" && !id.contains('/')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_posted_grab_takes_the_short_way() {
        assert_eq!(grab_of("POST", "/redpacket/campaigns/x/grab"), Some("x"));
        assert_eq!(grab_of("GET", "/redpacket/campaigns/x/grab"), None);
        assert_eq!(grab_of("POST", "/redpacket/campaigns/x/y/grab"), None);
        assert_eq!(grab_of("POST", "/redpacket/campaigns/x/wins"), None);
    }
}
