//! The listeners and their routes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, routing::get};
use eventlog::AccessLog;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use services::{
    account::{
        self,
        service_key::{self, ServiceKey},
    },
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
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use super::{
    Role,
    places::{Bound, Place},
    wiring::Node,
};
use crate::{config::Settings, secrets::Secrets, telemetry};

/// How long a request may take until its response begins.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The most connections to the admin and inner ports.
const INNER_CONNECTIONS_MAX: usize = 1_024;

/// The ports, bound and not served yet.
pub(super) struct Listeners {
    public: Bound,
    admin: Bound,
    inner: Option<Bound>,
    trusted_proxies: Arc<TrustedProxies>,
}

/// What the pages alone need.
pub(super) struct Pages {
    pub(super) readiness: Arc<Readiness>,
    pub(super) metrics: PrometheusHandle,
}

/// What each port answers.
struct Routers {
    public: Router,
    redpacket: Option<Arc<redpacket::Redpacket>>,
    admin: Router,
    inner: Router,
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
    /// Binds every port of `role`.
    pub(super) async fn bind(role: Role, settings: &Settings) -> anyhow::Result<Self> {
        let trusted = trusted_proxies(settings)?;
        let inner = match Place::inner(role, settings) {
            Some(place) => Some(place.bind().await?),
            None => None,
        };
        Ok(Self {
            public: Place::public(role, settings).bind().await?,
            admin: Place::admin(role, settings).bind().await?,
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

    /// Serves the services that `node` runs.
    pub(super) fn serve(
        self,
        node: &Node,
        secrets: &Secrets,
        options: Options,
        stopping: CancellationToken,
    ) -> anyhow::Result<Serving> {
        let health = health::router(node.readiness.clone(), services_of(node));
        let inner = match (&node.account, &secrets.service_key) {
            (Some(account), Some(key)) => {
                let key = ServiceKey::new(key);
                let router = account::inner_router(account.clone(), key.clone());
                let health = service_key::refusing_wrong_ones(health, key);
                router.split_for_parts().0.merge(health)
            }
            _ => health,
        };
        let routers = Routers {
            public: public_router(node),
            redpacket: node.redpacket.clone(),
            admin: admin_router(node),
            inner,
        };
        self.serve_routers(routers, node.id, options, stopping)
    }

    /// Serves the participants' pages alone.
    pub(super) fn serve_pages(
        self,
        pages: Pages,
        options: Options,
        stopping: CancellationToken,
    ) -> anyhow::Result<Serving> {
        let health = || health::router(pages.readiness.clone(), "webpage".to_owned());
        let routers = Routers {
            public: webpage::router(BuiltPages::webpage(), pages.readiness.clone()).merge(health()),
            redpacket: None,
            admin: metrics_router(pages.metrics.clone(), None).merge(health()),
            inner: health(),
        };
        self.serve_routers(routers, std::process::id().into(), options, stopping)
    }

    fn serve_routers(
        self,
        routers: Routers,
        id: u64,
        options: Options,
        stopping: CancellationToken,
    ) -> anyhow::Result<Serving> {
        let public_address = self.public_address()?;
        let request_ids = RequestIds::new(id);
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
        let few = Options {
            threads: 1,
            connections_max: INNER_CONNECTIONS_MAX,
            ..options
        };
        gauge!("hongbao_connections_max").set(options.connections_max as f64);
        let public = routes(routers.public, routers.redpacket);
        let admin = routes(routers.admin, None);
        let mut listeners = vec![
            tokio::spawn(server::serve(
                self.public.listen().context("HONGBAO_LISTEN")?,
                public,
                options,
                stopping.clone(),
            )),
            tokio::spawn(server::serve(
                self.admin.listen().context("HONGBAO_ADMIN_LISTEN")?,
                admin,
                few,
                stopping.clone(),
            )),
        ];
        if let Some(inner) = self.inner {
            let listener = inner.listen().context("HONGBAO_INNER_LISTEN")?;
            let inner = server::serve(listener, routes(routers.inner, None), few, stopping);
            listeners.push(tokio::spawn(inner));
        }
        Ok(Serving {
            public_address,
            listeners,
        })
    }
}

/// The proxies whose word on who the client is counts.
pub(super) fn trusted_proxies(settings: &Settings) -> anyhow::Result<TrustedProxies> {
    TrustedProxies::parse(settings.trusted_proxies.iter().flatten())
        .context("HONGBAO_TRUSTED_PROXIES")
}

/// Every route of the public port.
fn public_router(node: &Node) -> Router {
    let mut services = OpenApiRouter::new();
    if let Some(account) = &node.account {
        services = services.merge(account::router(account.clone()));
    }
    if let Some(redpacket) = &node.redpacket {
        services = services.merge(redpacket::router(redpacket.clone()));
    }
    if let Some(monitor) = &node.monitor {
        services = services.merge(monitor::router(monitor.clone()));
    }
    let mut router = services.split_for_parts().0;
    if node.monitor.is_some() {
        // The description is of all services, whichever of them are here.
        let apis = [account::api(), redpacket::api(), monitor::api()];
        router = router
            .merge(webpage::monitor_pages(BuiltPages::monitor()))
            .merge(openapi::router(&openapi::document(apis)));
    }
    if node.account.is_some() && node.redpacket.is_some() {
        let pages = webpage::router(BuiltPages::webpage(), node.readiness.clone());
        router = router.merge(pages);
    }
    router.merge(health::router(node.readiness.clone(), services_of(node)))
}

/// The services that `node` runs, as the probes name them.
fn services_of(node: &Node) -> String {
    let pages = node.account.is_some() && node.redpacket.is_some();
    let services = [
        ("account", node.account.is_some()),
        ("redpacket", node.redpacket.is_some()),
        ("monitor", node.monitor.is_some()),
        ("webpage", pages),
    ];
    let here = services.iter().filter(|(_, is_here)| *is_here);
    here.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// `/metrics`, and health.
fn admin_router(node: &Node) -> Router {
    metrics_router(node.metrics.clone(), node.access_log.clone())
        .merge(health::router(node.readiness.clone(), services_of(node)))
}

fn metrics_router(handle: PrometheusHandle, access_log: Option<Arc<AccessLog>>) -> Router {
    let metrics = get(async move || {
        if let Some(access_log) = access_log {
            let stats = access_log.stats();
            counter!("hongbao_access_log_lines_total").absolute(stats.lines_written);
            counter!("hongbao_access_log_aggregated_total").absolute(stats.grabs_aggregated);
            counter!("hongbao_access_log_dropped_total").absolute(stats.grabs_dropped);
            counter!("hongbao_access_log_errors_total").absolute(stats.write_errors);
        }
        gauge!("hongbao_up").set(1.0);
        telemetry::process::tell();
        (
            [("content-type", "text/plain; version=0.0.4")],
            handle.render(),
        )
    });
    Router::new().route("/metrics", metrics)
}
