//! `hongbao health`: whether the service on this machine answers, for a container that has no
//! shell and no other program to ask with. It must stay cheap: it is run every few seconds.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;

/// Where a service listens when nothing else is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What is asked, and where.
#[derive(Args)]
pub struct HealthArgs {
    /// Where the service listens; one that listens on every address is asked on the loopback one
    /// [default: 127.0.0.1:8080].
    #[arg(long, env = "HONGBAO_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// What is asked; /healthz says that the process lives, /readyz that its backends answer too.
    #[arg(long, value_name = "PATH", default_value = "/readyz")]
    path: String,

    /// Seconds to wait for the answer.
    #[arg(long, value_name = "N", default_value_t = 3)]
    within: u64,
}

/// Asks once. Exits 0 when the answer is a 2xx, and 1 with the reason otherwise.
///
/// # Errors
/// When nothing answers.
pub async fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let url = format!("http://{}{}", reachable(args.listen), args.path);
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(args.within))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .context("cannot ask")?;
    let answer = client.get(&url).send().await;
    let status = answer
        .with_context(|| format!("{url} does not answer"))?
        .status();
    println!("{url}: {status}");
    Ok(match status.is_success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Where a service that listens at `listen` can be reached from the same machine.
fn reachable(listen: Option<SocketAddr>) -> SocketAddr {
    let mut at = listen.unwrap_or(LISTEN);
    if at.ip().is_unspecified() {
        at.set_ip(match at.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_on_the_loopback_one() {
        let asked = |listen: &str| reachable(Some(listen.parse().unwrap())).to_string();
        assert_eq!(reachable(None).to_string(), "127.0.0.1:8080");
        assert_eq!(asked("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(asked("[::]:80"), "[::1]:80");
        assert_eq!(asked("10.1.2.3:80"), "10.1.2.3:80");
    }
}
