//! A MariaDB server with its usual, durable settings, that a test can kill and start again on
//! the same data and port.

use std::{
    path::Path,
    process::{Command, Output},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use crate::{
    server::{Server, answers, free_port},
    shared::clean_up_at_exit,
};

/// The user that tests connect as: it owns databases named `hongbao…` and may do nothing else,
/// as on a managed server.
const USER: &str = "hongbao";
const PASSWORD: &str = "pa:ss/w@rd";
/// [`PASSWORD`] as a URL holds it.
const PASSWORD_IN_URL: &str = "pa%3Ass%2Fw%40rd";

/// A running MariaDB server. Dropping it ends the server and removes its folder.
pub struct MariaDb {
    process: Server,
    port: u16,
    options: Vec<String>,
    folder: TempDir,
    databases: AtomicU32,
}

impl MariaDb {
    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// When MariaDB is not installed or does not come up.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| {
            let server = Self::start();
            clean_up_at_exit("KILL", server.process.pid(), server.folder.path());
            server
        })
    }

    /// Starts a server of its own on a free port.
    ///
    /// # Panics
    /// When MariaDB is not installed or does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with options such as `--sync-binlog=1`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--user=root"])
            .arg(format!("--datadir={}", data(folder.path()).display()))
            .env("TMPDIR", folder.path())
            .output()
            .unwrap_or_else(|error| {
                panic!("no mariadb-install-db ({error}); `scripts/setup.sh test` installs it")
            });
        assert!(installed.status.success(), "{}", told(&installed));
        let port = free_port();
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        let server = Self {
            process: run(folder.path(), port, &options),
            port,
            options,
            folder,
            databases: AtomicU32::new(0),
        };
        server.sql(&format!(
            "CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'; \
             GRANT ALL ON `hongbao%`.* TO '{USER}'@'%'"
        ));
        server
    }

    /// The port of 127.0.0.1 that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and gives its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn database(&self) -> String {
        self.url(&self.new_database())
    }

    /// Makes an empty database and gives its name.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn new_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("hongbao_{number}");
        self.sql(&format!("CREATE DATABASE {name}"));
        name
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_through(self.port, database)
    }

    /// The URL of a database through another port of 127.0.0.1, such as a proxy's.
    #[must_use]
    pub fn url_through(&self, port: u16, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/{database}?ssl-mode=disabled")
    }

    /// Runs statements as the server's administrator and gives what they print.
    ///
    /// # Panics
    /// When one fails.
    pub fn sql(&self, statements: &str) -> String {
        let socket = socket(self.folder.path());
        let output = Command::new("mariadb")
            .args(["--no-defaults", "--batch", "--skip-column-names"])
            .args(["--user=root", "--execute", statements])
            .arg(format!("--socket={}", socket.display()))
            .output()
            .expect("the client comes with the server");
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Kills the server as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again on the same data and port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = run(self.folder.path(), self.port, &self.options);
    }

    /// Sends a signal by name, such as `STOP` and `CONT`.
    ///
    /// # Panics
    /// When the server is gone.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }
}

fn run(folder: &Path, port: u16, options: &[String]) -> Server {
    let log = folder.join("mariadb.log");
    let mut server = Server::start(
        "mariadbd",
        // A folder of its own for temporary tables: at start it removes all it finds there, those
        // of another server in the midst of its work too.
        Command::new("mariadbd")
            .env("TMPDIR", folder)
            .args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1"])
            .args(["--skip-name-resolve", "--max-connections=500"])
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", data(folder).display()))
            .arg(format!("--socket={}", socket(folder).display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .args(options),
        &log,
    );
    server.wait_until(&log, || answers(port) && socket(folder).exists());
    server
}

fn data(folder: &Path) -> std::path::PathBuf {
    folder.join("data")
}

fn socket(folder: &Path) -> std::path::PathBuf {
    folder.join("socket")
}

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}
