//! Logs, metrics and the runtime.

use std::{future::Future, io::IsTerminal as _, process::ExitCode};

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Logs on standard error, as `settings` say.
///
/// # Errors
/// When the filter makes no sense.
pub fn log(settings: &Settings) -> anyhow::Result<()> {
    let filter = settings.log.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!(
            "HONGBAO_LOG must be a filter such as `info` or `services=debug`, and is `{filter}`"
        )
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Collects what the process counts, for `/metrics`.
///
/// # Errors
/// When something else collects already.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .install_recorder()
        .context("cannot collect metrics")
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
