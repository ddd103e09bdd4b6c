//! HAProxy with the product's own configuration, `deploy/haproxy/haproxy.cfg`.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::server::{Server, answers, free_port};

/// Addresses of the replicas of each service, as `127.0.0.1:20001`; at most four each.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    /// Request processing.
    pub redpacket: Vec<String>,
    /// The account service, where participants reach it.
    pub account: Vec<String>,
    /// The account service, where other services reach it.
    pub account_inner: Vec<String>,
    /// Management and monitoring.
    pub monitor: Vec<String>,
    /// The participants' pages.
    pub webpage: Vec<String>,
}

impl Replicas {
    fn environment(&self) -> Vec<(String, String)> {
        let roles = [
            ("REDPACKET", &self.redpacket),
            ("ACCOUNT", &self.account),
            ("ACCOUNT_INNER", &self.account_inner),
            ("MONITOR", &self.monitor),
            ("WEBPAGE", &self.webpage),
        ];
        let mut all = Vec::new();
        for (role, addresses) in roles {
            assert!(addresses.len() <= 4, "the configuration has four of each");
            for (number, address) in (1..).zip(addresses) {
                all.push((format!("{role}_{number}"), address.clone()));
            }
        }
        all
    }
}

/// A running HAProxy.
pub struct HaProxy {
    _process: Server,
    port: u16,
    inner_port: u16,
    admin_port: u16,
    log: PathBuf,
    _folder: TempDir,
}

impl HaProxy {
    /// Starts it in front of `replicas`, which need not be there yet, with more environment.
    ///
    /// # Panics
    /// When it does not come up, with the end of its log.
    #[must_use]
    pub fn start(replicas: &Replicas, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let log = folder.path().join("haproxy.log");
        let [port, inner_port, admin_port] = [free_port(), free_port(), free_port()];
        let mut command = command();
        command
            .args(["-db", "-f"])
            .arg(configuration())
            .envs(replicas.environment())
            .env("HAPROXY_LISTEN", format!("127.0.0.1:{port}"))
            .env("HAPROXY_INNER_LISTEN", format!("127.0.0.1:{inner_port}"))
            .env("HAPROXY_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"))
            .envs(more.iter().copied());
        let mut process = Server::start("haproxy", &mut command, &log);
        process.wait_until(&log, || answers(port) && answers(admin_port));
        Self {
            _process: process,
            port,
            inner_port,
            admin_port,
            log,
            _folder: folder,
        }
    }

    /// Where participants and organisers connect, as `127.0.0.1:20001`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where services reach each other.
    #[must_use]
    pub fn inner_address(&self) -> String {
        format!("127.0.0.1:{}", self.inner_port)
    }

    /// Where it tells its metrics.
    #[must_use]
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin_port)
    }

    /// The names of the servers of a backend that it believes to be up, as [`up`].
    ///
    /// # Panics
    /// When it does not tell.
    #[must_use]
    pub fn up(&self, backend: &str) -> Vec<String> {
        up(&self.admin_address(), backend).expect("it tells")
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The names of the servers of a backend, as `redpacket-1`, that the HAProxy whose admin port is at
/// `admin` believes to be up.
///
/// # Errors
/// When it does not tell.
pub fn up(admin: &str, backend: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(b"GET /stats;csv HTTP/1.0\r\n\r\n")?;
    let mut table = String::new();
    stream.read_to_string(&mut table)?;
    let rows = table
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    // Columns 0, 1 and 17 are the proxy, the server and its status.
    let up = rows
        .filter(|row| row.len() > 17 && row[0] == backend && row[17].starts_with("UP"))
        .filter(|row| row[1] != "BACKEND")
        .map(|row| row[1].to_owned());
    Ok(up.collect())
}

/// Has HAProxy check the configuration with these replicas and this environment.
///
/// # Panics
/// When HAProxy is not installed.
#[must_use]
pub fn check(replicas: &Replicas, more: &[(&str, &str)]) -> Output {
    command()
        .args(["-c", "-f"])
        .arg(configuration())
        .envs(replicas.environment())
        .envs(more.iter().copied())
        .output()
        .expect("haproxy is there: `scripts/setup.sh test` installs it")
}

fn command() -> Command {
    // Debian keeps it in sbin, which is not on every user's path.
    let sbin = Path::new("/usr/sbin/haproxy");
    Command::new(if sbin.exists() {
        sbin
    } else {
        "haproxy".as_ref()
    })
}

/// The product's own configuration file.
fn configuration() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../../deploy/haproxy/haproxy.cfg")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_clean(output: &Output) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(
            !said.contains("[WARNING]") && !said.contains("[ALERT]"),
            "{said}"
        );
    }

    #[test]
    fn the_configuration_is_clean_with_dns_and_with_addresses() {
        assert_clean(&check(&Replicas::default(), &[]));
        assert_clean(&check(
            &Replicas::default(),
            &[("HAPROXY_DNS", "127.0.0.11:53"), ("REDPACKET_NAME", "r")],
        ));
        let some = |n: u16| (1..=n).map(|n| format!("127.0.0.1:{n}")).collect();
        for n in [1, 2, 4] {
            let replicas = Replicas {
                redpacket: some(n),
                account: some(n),
                account_inner: some(n),
                monitor: some(n),
                webpage: some(n),
            };
            assert_clean(&check(&replicas, &[("HAPROXY_LISTEN", "127.0.0.1:18080")]));
        }
    }
}
