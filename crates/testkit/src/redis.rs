//! A Redis server: one process without persistence, that a test can kill, stop and start again
//! on the same port, empty or with its data.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::server::{Server, free_port};

/// A running Redis server. Dropping it ends the server and removes its folder.
pub struct Redis {
    process: Server,
    port: u16,
    /// Options besides the usual ones, in pairs of name and value.
    options: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// Starts a server on a free port, empty.
    ///
    /// # Panics
    /// When Redis is not installed or does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with options such as `("requirepass", "secret")`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let options: Vec<String> = options
            .iter()
            .flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()])
            .collect();
        let port = free_port();
        let process = run(&folder, port, &options);
        Self {
            process,
            port,
            options,
            folder,
        }
    }

    /// The port of 127.0.0.1 that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL: `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, without any data; kills it before if it still runs.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart_empty(&mut self) {
        self.kill();
        // An error means that there was none.
        let _none = std::fs::remove_file(self.snapshot()).is_err();
        self.process = run(&self.folder, self.port, &self.options);
    }

    /// Saves all data, kills the server and starts it again with them.
    ///
    /// # Panics
    /// When it does not answer or not come up.
    pub fn restart_with_data(&mut self) {
        assert_eq!(self.cli(&["SAVE"]), "OK");
        self.kill();
        self.process = run(&self.folder, self.port, &self.options);
    }

    /// Sends a signal by name: `STOP` freezes the server, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Runs a command by `redis-cli` and returns what it prints, without the last line's end.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn cli(&self, command: &[&str]) -> String {
        cli(self.port, command).unwrap_or_else(|| panic!("redis-cli {command:?} had no answer"))
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path().join("dump.rdb")
    }
}

fn run(folder: &TempDir, port: u16, options: &[String]) -> Server {
    let log = folder.path().join("redis.log");
    // The server ends with the thread that started it, even when a killed test drops nothing.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--appendonly", "no", "--save", "", "--dir"])
        .arg(folder.path())
        .args(options);
    let mut process = Server::start("redis-server", &mut command, &log);
    // `LOADING`, `NOAUTH` and the like are answers, too; only the first means to wait.
    process.wait_until(&log, || {
        cli(port, &["PING"]).is_some_and(|said| !said.is_empty() && !said.starts_with("LOADING"))
    });
    process
}

/// What `redis-cli` prints about `command` on this port; `None` when it cannot connect.
pub(crate) fn cli(port: u16, command: &[&str]) -> Option<String> {
    let Output { status, stdout, .. } = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(command)
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot start redis-cli ({error}); `scripts/setup.sh test` installs it")
        });
    let said = String::from_utf8_lossy(&stdout).trim_end().to_owned();
    status.success().then_some(said)
}
