//! Logs, metrics and the runtime.
//!
//! # Layout
//! - `told`: every metric of the services, with what it means.
//! - [`process`]: what the system says of this process.

pub(crate) mod process;
mod told;

use std::{future::Future, io::IsTerminal as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{LogFormat, Settings},
    serve::Role,
};

/// How often what was recorded is summed up: until then each record takes memory.
const SUM_UP_EVERY: Duration = Duration::from_secs(5);

/// Logs on standard error, as `settings` say.
///
/// # Errors
/// When the filter makes no sense.
pub fn log(settings: &Settings) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(settings)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// What is logged.
///
/// # Errors
/// When the filter makes no sense.
pub fn filter(settings: &Settings) -> anyhow::Result<EnvFilter> {
    let filter = settings.log.as_deref().unwrap_or("info");
    EnvFilter::try_new(filter).with_context(|| {
        format!(
            "HONGBAO_LOG must be a filter such as `info` or `services=debug`, and is `{filter}`"
        )
    })
}

/// Collects what is counted, and sums it up again and again. To be called within a runtime.
///
/// # Errors
/// When something else collects already.
pub fn recorder() -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in told::BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).into()), buckets)?;
    }
    let handle = builder
        .install_recorder()
        .context("cannot collect metrics")?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SUM_UP_EVERY).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Collects what a process of this role counts, for `/metrics`. Its counters are there from the
/// start, at zero: a first failure is then seen as a growth. To be called within a runtime.
///
/// # Errors
/// When something else collects already.
pub fn metrics(role: Role) -> anyhow::Result<PrometheusHandle> {
    let handle = recorder()?;
    told::describe(role);
    let version = env!("CARGO_PKG_VERSION");
    gauge!("hongbao_info", "role" => role.name(), "version" => version).set(1.0);
    Ok(handle)
}

/// Runs `work` to its end.
///
/// # Errors
/// Those of `work`, and when no runtime can be started.
pub fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.context("cannot start a runtime")?.block_on(work)
}
