//! `hongbao autoscale`: the wiring of the scaler: options, logs, metrics, start and stop.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use autoscaler::{
    Docker, Options, Patience, Scaler,
    pulse::{Health, Pulse},
    rule::Pace,
};
use axum::{Json, Router, http::StatusCode, routing::get};
use clap::Args;
use ledger::SystemClock;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use services::http::{
    client_ip::TrustedProxies,
    request_id::RequestIds,
    server::{self, Routes},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{LogFormat, Settings},
    serve::{StopSignals, misconfigured},
    telemetry,
};

/// Where Docker usually listens.
const DOCKER: &str = "unix:///var/run/docker.sock";
/// Connections to the metrics at once.
const CONNECTIONS_MAX: usize = 64;

/// Keep the labelled services of a Compose project between their bounds by their use of CPU.
///
/// Labels of a service say how: hongbao.scale, and hongbao.auto_scaling.max_cpu (70), .min_cpu
/// (40), .step (1), .max_instances (10), .min_instances (1); aliyun.* in place of hongbao.* is
/// understood too. CPU is percent of a container's limit, or of one CPU when it has none.
///
/// Where it runs outside of the project, stop it before the project is taken down: or it makes anew
/// what goes first while the rest still drains.
#[derive(Args)]
pub struct AutoscaleArgs {
    /// The Compose projects to look after [default: that of the container this runs in].
    #[arg(
        long = "project",
        env = "HONGBAO_AUTOSCALE_PROJECT",
        value_name = "NAME",
        value_delimiter = ','
    )]
    projects: Vec<String>,

    /// Docker: unix:///PATH, tcp://HOST:PORT or http://HOST:PORT [default: DOCKER_HOST, or
    /// unix:///var/run/docker.sock].
    #[arg(long, env = "HONGBAO_AUTOSCALE_DOCKER", value_name = "ADDRESS")]
    docker: Option<String>,

    /// Where /metrics, /healthz and /readyz are served.
    #[arg(
        long,
        env = "HONGBAO_AUTOSCALE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9091"
    )]
    listen: SocketAddr,

    /// Seconds from look to look.
    #[arg(
        long,
        env = "HONGBAO_AUTOSCALE_INTERVAL",
        value_name = "SECONDS",
        default_value = "2",
        value_parser = seconds
    )]
    interval: Duration,

    /// Seconds that CPU is averaged over.
    #[arg(
        long,
        env = "HONGBAO_AUTOSCALE_WINDOW",
        value_name = "SECONDS",
        default_value = "10",
        value_parser = seconds
    )]
    window: Duration,

    /// The least seconds between adding instances and adding more.
    #[arg(
        long,
        env = "HONGBAO_AUTOSCALE_COOLDOWN_OUT",
        value_name = "SECONDS",
        default_value = "15",
        value_parser = seconds
    )]
    cooldown_out: Duration,

    /// The least seconds between any action and taking instances away, a window at least.
    #[arg(
        long,
        env = "HONGBAO_AUTOSCALE_COOLDOWN_IN",
        value_name = "SECONDS",
        default_value = "60",
        value_parser = seconds
    )]
    cooldown_in: Duration,

    /// Only say what would be done.
    #[arg(
        long,
        env = "HONGBAO_AUTOSCALE_DRY_RUN",
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true"
    )]
    dry_run: bool,

    /// What is logged on standard error [default: info].
    #[arg(long, env = "HONGBAO_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// How it is logged [default: text].
    #[arg(long, env = "HONGBAO_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// Seconds, with decimals where they are wanted.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "must be seconds, such as 2 or 0.5")?;
    if !(0.0..=86_400.0).contains(&number) {
        return Err("must be from 0 to 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(number))
}

/// Scales until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the port cannot be used.
pub async fn run(args: AutoscaleArgs) -> anyhow::Result<ExitCode> {
    let mut stop_signals = StopSignals::new()?;
    telemetry::log(&Settings {
        log: args.log.clone(),
        log_format: args.log_format,
        ..Settings::default()
    })?;
    if let Err(error) = check(&args) {
        return Ok(misconfigured(&error));
    }
    let address = address(&args);
    let docker = match Docker::at(&address) {
        Ok(docker) => docker,
        Err(error) => return Ok(misconfigured(&error.into())),
    };
    let listener = TcpListener::bind(args.listen).await;
    let listener =
        listener.with_context(|| format!("--listen: cannot listen on {}", args.listen))?;
    let projects = match projects(&args, &docker).await {
        Ok(projects) => projects,
        Err(Unknown { why, may_pass }) => {
            return match may_pass {
                // Whoever supervises this tries again.
                true => Err(why),
                false => Ok(misconfigured(&why)),
            };
        }
    };
    let pulse = Arc::new(Pulse::new(args.interval));
    let stopping = CancellationToken::new();
    println!("looking after {} at {address}", projects.join(", "));
    if args.dry_run {
        println!("a dry run: nothing is changed");
    }
    println!("listening on http://{}", listener.local_addr()?);
    let metrics = telemetry::recorder()?;
    autoscaler::describe_metrics();
    let serving = serve(listener, metrics, pulse.clone(), stopping.clone());
    let options = Options {
        projects,
        interval: args.interval,
        pace: Pace {
            window: args.window,
            cooldown_out: args.cooldown_out,
            cooldown_in: args.cooldown_in,
            ..Pace::default()
        },
        patience: Patience::default(),
        dry_run: args.dry_run,
    };
    let scaler = Scaler::new(docker, options, Arc::new(SystemClock));
    let told = move |answers| pulse.looked(answers);
    let mut scaling = tokio::spawn(scaler.run(stopping.clone(), told));
    let serving = tokio::spawn(serving);
    tokio::select! {
        () = stop_signals.wait() => {}
        // Without it there is nothing to live for: whoever supervises this starts a fresh one.
        ended = &mut scaling => {
            ended.context("the scaler has panicked")?;
            bail!("the scaler has ended by itself");
        }
    }
    tracing::info!("stopping");
    stopping.cancel();
    tokio::select! {
        ended = scaling => ended.context("the scaler has panicked")?,
        // A second signal does not wait for anything.
        () = stop_signals.wait() => return Ok(ExitCode::FAILURE),
    }
    serving.await.context("the listener has panicked")??;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a pace that cannot work.
fn check(args: &AutoscaleArgs) -> anyhow::Result<()> {
    if args.interval < Duration::from_millis(100) {
        bail!("--interval must be at least 0.1 seconds");
    }
    if args.window < args.interval * 2 {
        bail!("--window must be at least twice --interval: an average needs several looks");
    }
    Ok(())
}

/// Where Docker is.
fn address(args: &AutoscaleArgs) -> String {
    let given = args.docker.clone().filter(|address| !address.is_empty());
    let given = given.or_else(|| std::env::var("DOCKER_HOST").ok());
    let given = given.filter(|address| !address.is_empty());
    given.unwrap_or_else(|| DOCKER.to_owned())
}

/// Why it is not known which projects are to be looked after.
struct Unknown {
    why: anyhow::Error,
    /// Whether it may be known later, with nothing changed.
    may_pass: bool,
}

/// The projects to look after: those that were told, or that of the container around us.
async fn projects(args: &AutoscaleArgs, docker: &Docker) -> Result<Vec<String>, Unknown> {
    let told = args.projects.iter().map(|it| it.trim());
    // Each once: told twice, its containers would be counted twice.
    let told: BTreeSet<_> = told
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    if !told.is_empty() {
        return Ok(told.into_iter().collect());
    }
    // A container's host name is its id, unless it was given one.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match docker.project_of(name.trim()).await {
        Ok(Some(project)) => Ok(vec![project]),
        Ok(None) => Err(Unknown {
            why: anyhow!("this container belongs to no Compose project: tell one by --project"),
            may_pass: false,
        }),
        Err(error) => Err(Unknown {
            may_pass: error.may_pass(),
            why: anyhow!(
                "which project is to be looked after? Tell it by --project; \
                 it is not known from Docker either: {error}"
            ),
        }),
    }
}

/// Serves metrics and health.
async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    pulse: Arc<Pulse>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let text = [("content-type", "text/plain; version=0.0.4")];
    let ready = move || {
        let health = pulse.health(Instant::now());
        async move { readiness(health) }
    };
    let router = Router::new()
        .route("/metrics", get(async move || (text, metrics.render())))
        .route("/healthz", get(async || Json(json!({ "status": "alive" }))))
        .route("/readyz", get(ready));
    let routes = Routes {
        router,
        redpacket: None,
        trusted_proxies: Arc::new(TrustedProxies::default()),
        request_ids: RequestIds::new(std::process::id().into()),
    };
    let options = server::Options {
        threads: 1,
        connections_max: CONNECTIONS_MAX,
        drain_within: Duration::from_secs(1),
    };
    Ok(server::serve(listener, routes, options, stopping).await?)
}

/// Ready while it looks and Docker answers.
fn readiness(health: Health) -> (StatusCode, Json<Value>) {
    let message = match health {
        Health::Ready => return (StatusCode::OK, Json(json!({ "status": "ready" }))),
        Health::DockerAway => "Docker does not answer",
        Health::Stuck => "it has not looked for too long",
    };
    let error = json!({ "error": { "code": "not_ready", "message": message } });
    (StatusCode::SERVICE_UNAVAILABLE, Json(error))
}
