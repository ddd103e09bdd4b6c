//! A PostgreSQL server with its usual, durable settings, that a test can kill and start again
//! on the same data and port.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use crate::{
    certificate::Certificate,
    server::{Server, answers, free_port},
    shared::clean_up_at_exit,
};

/// The user that tests connect as: it may make databases and nothing else beyond its own.
const USER: &str = "hongbao";
const PASSWORD: &str = "pa:ss/w@rd";
/// [`PASSWORD`] as a URL holds it.
const PASSWORD_IN_URL: &str = "pa%3Ass%2Fw%40rd";
/// The administrator, who needs no password on the server's socket.
const ADMINISTRATOR: &str = "postgres";

/// A running PostgreSQL server. Dropping it ends the server and removes its folder.
pub struct Postgres {
    process: Server,
    port: u16,
    options: Vec<String>,
    folder: TempDir,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not come up.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            let server = Self::start();
            // QUIT ends its processes too; KILL would leave them behind.
            clean_up_at_exit("QUIT", server.process.pid(), server.folder.path());
            server
        })
    }

    /// Starts a server of its own on a free port.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with settings such as `synchronous_commit=off`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        give_away(folder.path());
        let made = program("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .args(["--username", ADMINISTRATOR, "--pgdata"])
            .arg(data(folder.path()))
            .output()
            .unwrap_or_else(|error| {
                panic!("no initdb ({error}); `scripts/setup.sh test` installs it")
            });
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = free_port();
        let settings: Vec<String> = settings.iter().map(|&s| s.to_owned()).collect();
        let server = Self {
            process: run(folder.path(), port, &settings),
            port,
            options: settings,
            folder,
            databases: AtomicU32::new(0),
        };
        server.sql(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"));
        server
    }

    /// Starts a server that takes encrypted connections too.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with_tls(certificate: &Certificate) -> Self {
        let (key, server) = (certificate.key(), certificate.server());
        let modes = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&key, modes).expect("its maker may say who reads a key");
        for path in [certificate.folder(), &key, &server] {
            give_away(path);
        }
        Self::start_with(&[
            "ssl=on",
            &format!("ssl_cert_file={}", server.display()),
            &format!("ssl_key_file={}", key.display()),
        ])
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
        self.sql(&format!("CREATE DATABASE {name} OWNER {USER}"));
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
        format!("postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Runs a statement as the server's administrator, outside any transaction, and gives what
    /// it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, statement: &str) -> String {
        self.sql_in("postgres", statement)
    }

    /// As [`Self::sql`], in one of the databases.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql_in(&self, database: &str, statement: &str) -> String {
        let output = program("psql")
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
            .args(["--set", "ON_ERROR_STOP=1", "--username", ADMINISTRATOR])
            .args(["--dbname", database, "--command", statement])
            .args(["--port", &self.port.to_string(), "--host"])
            .arg(self.folder.path())
            .output()
            .expect("the client comes with the server");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Kills the server's first process as a crash would; the others end when they see it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again on the same data and port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.end();
        self.process = run(self.folder.path(), self.port, &self.options);
    }

    /// Sends a signal by name, such as `STOP` and `CONT`, to the server's first process.
    ///
    /// # Panics
    /// When the server is gone.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Ends the server at once, with all its processes, as a crash would end it.
    pub fn end(&mut self) {
        if self.process.is_running() {
            self.process.signal("QUIT");
            // An error means that it has ended already.
            let _ended = self.process.wait().is_err();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(folder: &Path, port: u16, settings: &[String]) -> Server {
    let log = folder.join("postgres.log");
    let mut command = program("postgres");
    command
        .args(["-k", &folder.display().to_string()])
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-c", "max_connections=300", "-D"])
        .arg(data(folder));
    for setting in settings {
        command.args(["-c", setting]);
    }
    let mut server = Server::start("postgres", &mut command, &log);
    server.wait_until(&log, || {
        let asked = program("pg_isready")
            .args(["--quiet", "--host", "127.0.0.1", "--port"])
            .arg(port.to_string())
            .status();
        answers(port) && asked.is_ok_and(|status| status.success())
    });
    server
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Whether this process is root, as which PostgreSQL refuses to run.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|of_this_process| of_this_process.uid() == 0)
}

/// Gives a folder to the system's user `postgres`, where this process is root.
fn give_away(folder: &Path) {
    if is_root() {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let line = users.lines().find(|line| line.starts_with("postgres:"));
        let mut numbers = line
            .expect("PostgreSQL's package makes the user `postgres`")
            .split(':')
            .skip(2)
            .map(|number| number.parse().expect("ids are numbers"));
        chown(folder, numbers.next(), numbers.next()).expect("root may give away a folder");
    }
}

/// A program of PostgreSQL's newest installed version.
fn program(name: &str) -> Command {
    let path = newest().map_or_else(|| name.into(), |bin| bin.join(name));
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(path);
    command
}

/// Debian keeps PostgreSQL's programs out of the search path, in a folder for each version.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(number)?;
    Some(newest.join("bin"))
}
