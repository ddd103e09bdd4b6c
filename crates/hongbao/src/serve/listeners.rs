//! The listeners and their routes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, routing::get};
use metrics::{counter, gauge};
use services::{
    account::{self, service_key::ServiceKey},
    http::{
        client_ip::TrustedProxies,
        edge::Edge,
        health::{self, Readiness},
        openapi,
        request_id::RequestIds,
        server::{self, Options, Routes},
    },
    monitor, redpacket,
    webpage::{self, pages::Pages as BuiltPages},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use super::wiring::Node;
use crate::{config::Settings, secrets::Secrets};

/// How long a request may take until its response begins.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The most connections to the admin and inner ports.
const INNER_CONNECTIONS_MAX: usize = 1_024;

/// The ports, bound and not served yet.
pub(super) struct Listeners {
    public: TcpListener,
    admin: TcpListener,
    inner: Option<TcpListener>,
    trusted_proxies: Arc<TrustedProxies>,
}

/// What the pages alone need.
pub(super) struct Pages {
    pub(super) readiness: Arc<Readiness>,
}

/// Listeners at work.
pub(super) struct Serving {
    pub(super) public_address: SocketAddr,
    listeners: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Serving {
    /// Returns when every listener has drained.
    pub(super) async fn ended(self) {
        for listener in self.listeners {
            match listener.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a listener has failed"),
                Err(error) => tracing::error!(%error, "a listener has panicked"),
            }
        }
    }
}

impl Listeners {
    /// Binds every configured port.
    pub(super) async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let trusted = TrustedProxies::parse(settings.trusted_proxies.iter().flatten())
            .context("HONGBAO_TRUSTED_PROXIES")?;
        let inner = match settings.inner_listen {
            Some(address) => Some(bind("HONGBAO_INNER_LISTEN", address).await?),
            None => None,
        };
        Ok(Self {
            public: bind("HONGBAO_LISTEN", settings.listen()).await?,
            admin: bind("HONGBAO_ADMIN_LISTEN", settings.admin_listen()).await?,
            inner,
            trusted_proxies: Arc::new(trusted),
        })
    }

    /// Where participants and organisers connect.
    pub(super) fn public_address(&self) -> anyhow::Result<SocketAddr> {
        self.public
            .local_addr()
            .context("the public listener has no address")
    }

    /// Serves all four services.
    pub(super) fn serve_all(
        self,
        node: &Node,
        secrets: &Secrets,
        options: Options,
        stopping: CancellationToken,
    ) -> anyhow::Result<Serving> {
        let public_address = self.public_address()?;
        let request_ids = RequestIds::new(node.id);
        let edge = Edge {
            request_ids: request_ids.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            answer_within: ANSWER_WITHIN,
        };
        let routes = |router: Router, redpacket| Routes {
            router: edge.around(router),
            redpacket,
            trusted_proxies: self.trusted_proxies.clone(),
            request_ids: request_ids.clone(),
        };
        let inner_key = ServiceKey::new(&secrets.service_key);
        let (inner, inner_api) =
            account::inner_router(node.account.clone(), inner_key).split_for_parts();
        let public = routes(public_router(node, inner_api), Some(node.redpacket.clone()));
        let few = Options {
            threads: 1,
            connections_max: INNER_CONNECTIONS_MAX,
            ..options
        };

        let mut listeners = vec![
            tokio::spawn(server::serve(
                self.public,
                public,
                options,
                stopping.clone(),
            )),
            tokio::spawn(server::serve(
                self.admin,
                routes(admin_router(node), None),
                few,
                stopping.clone(),
            )),
        ];
        if let Some(listener) = self.inner {
            let inner = inner.merge(health::router(node.readiness.clone()));
            let inner = server::serve(listener, routes(inner, None), few, stopping);
            listeners.push(tokio::spawn(inner));
        }
        Ok(Serving {
            public_address,
            listeners,
        })
    }

    /// Serves the participants' pages alone.
    pub(super) fn serve_pages(
        self,
        pages: Pages,
        settings: &Settings,
        options: Options,
        stopping: CancellationToken,
    ) -> anyhow::Result<Serving> {
        let public_address = self.public_address()?;
        tracing::debug!(listen = %settings.listen(), "serving the pages alone");
        let request_ids = RequestIds::new(std::process::id().into());
        let edge = Edge {
            request_ids: request_ids.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            answer_within: ANSWER_WITHIN,
        };
        let router = webpage::router(BuiltPages::webpage(), pages.readiness.clone())
            .merge(health::router(pages.readiness));
        let routes = Routes {
            router: edge.around(router),
            redpacket: None,
            trusted_proxies: self.trusted_proxies,
            request_ids,
        };
        let listeners = vec![tokio::spawn(server::serve(
            self.public,
            routes,
            options,
            stopping,
        ))];
        Ok(Serving {
            public_address,
            listeners,
        })
    }
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{name}: cannot listen on {address}"))
}

/// Every route of the public port.
fn public_router(node: &Node, inner_api: utoipa::openapi::OpenApi) -> Router {
    let (router, api) = OpenApiRouter::new()
        .merge(account::router(node.account.clone()))
        .merge(redpacket::router(node.redpacket.clone()))
        .merge(monitor::router(node.monitor.clone()))
        .split_for_parts();
    router
        .merge(health::router(node.readiness.clone()))
        .merge(webpage::router(
            BuiltPages::webpage(),
            node.readiness.clone(),
        ))
        .merge(webpage::monitor_pages(BuiltPages::monitor()))
        .merge(openapi::router(&openapi::document([api, inner_api])))
}

/// `/metrics`, and health.
fn admin_router(node: &Node) -> Router {
    let (handle, access_log) = (node.metrics.clone(), node.access_log.clone());
    let metrics = get(async move || {
        let stats = access_log.stats();
        counter!("hongbao_access_log_lines_total").absolute(stats.lines_written);
        counter!("hongbao_access_log_aggregated_total").absolute(stats.grabs_aggregated);
        counter!("hongbao_access_log_dropped_total").absolute(stats.grabs_dropped);
        gauge!("hongbao_up").set(1.0);
        (
            [("content-type", "text/plain; version=0.0.4")],
            handle.render(),
        )
    });
    Router::new()
        .route("/metrics", metrics)
        .merge(health::router(node.readiness.clone()))
}
