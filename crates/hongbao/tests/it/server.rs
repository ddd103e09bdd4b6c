//! The real binary as a child process: started on free ports in a folder of its own, killed or
//! drained, its output kept for the report of a failing test.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

pub(crate) use testkit::server::free_port;

/// The secrets that every test server is started with.
pub(crate) const TOKEN_SECRET: &str = "a-token-secret-for-tests-of-32-bytes-or-more";
/// See [`TOKEN_SECRET`].
pub(crate) const ORGANISER_KEY: &str = "an-organiser-key-for-tests-of-32-bytes-or-more";
/// See [`TOKEN_SECRET`].
pub(crate) const SERVICE_KEY: &str = "a-service-key-for-tests-of-32-bytes-or-more";

/// Nothing is asserted about time; this only ends a test that would otherwise hang.
const START_MAX: Duration = Duration::from_secs(120);
/// How much of a server's output is kept.
const LOG_LINES_MAX: usize = 2_000;
/// What Rust says of a panic, whichever thread or task it ended.
const PANICKED: &str = "panicked at";
/// The signal that ends a process without asking it.
const SIGKILL: i32 = 9;

/// How a server is started; the folder and the ports outlive one start.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// The public port.
    pub(crate) port: u16,
    /// The admin port (metrics).
    pub(crate) admin_port: u16,
    /// The inner port (between services).
    pub(crate) inner_port: u16,
    /// More environment.
    pub(crate) env: Vec<(String, String)>,
}

/// A running server. Dropped, it is killed, and must have run until then unless its end was waited
/// for, and must never have panicked; in a failing test its output is printed.
pub(crate) struct Server {
    child: Child,
    /// Whether the test knows that it has ended.
    ended: bool,
    log: Log,
    /// How it was started.
    pub(crate) plan: Plan,
    /// Where it answers, such as `127.0.0.1:20001`.
    pub(crate) address: String,
}

/// The binary under test: the one that cargo built beside the tests, or `HONGBAO_BIN`.
pub(crate) fn binary() -> PathBuf {
    let given = std::env::var_os("HONGBAO_BIN");
    given.map_or_else(|| env!("CARGO_BIN_EXE_hongbao").into(), PathBuf::from)
}

impl Plan {
    /// A plan for `folder` with ports of its own.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            data: folder.join("data"),
            port: free_port(),
            admin_port: free_port(),
            inner_port: free_port(),
            env: Vec::new(),
        }
    }

    /// The same plan with one more environment variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The command `hongbao ARGS`, with this plan's settings and none of the caller's.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars() {
            let ours = [
                "HONGBAO_",
                "DB_",
                "ACCESS_KEY_",
                "MNS_URL",
                "ACCOUNT_CHECK_IP",
            ];
            if ours.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let folder = self.data.parent().expect("the data directory has a parent");
        command
            .args(args)
            .current_dir(folder)
            .env("HONGBAO_LISTEN", format!("127.0.0.1:{}", self.port))
            .env(
                "HONGBAO_ADMIN_LISTEN",
                format!("127.0.0.1:{}", self.admin_port),
            )
            .env(
                "HONGBAO_INNER_LISTEN",
                format!("127.0.0.1:{}", self.inner_port),
            )
            .env("HONGBAO_DATA_DIR", &self.data)
            .env("HONGBAO_TOKEN_SECRET", TOKEN_SECRET)
            .env("HONGBAO_ORGANISER_KEY", ORGANISER_KEY)
            .env("HONGBAO_SERVICE_KEY", SERVICE_KEY)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts `hongbao serve` and waits until it says `listening`.
    ///
    /// # Errors
    /// Its exit and output, when it ended instead.
    pub(crate) fn try_start(&self) -> Result<Server, String> {
        self.try_start_command(self.command(&["serve"]))
    }

    fn try_start_command(&self, command: Command) -> Result<Server, String> {
        let mut server = self.spawn_command(command);
        match server.wait_until_listening() {
            Ok(()) => Ok(server),
            Err(refused) => {
                server.log.forget();
                Err(refused)
            }
        }
    }

    /// Starts `hongbao serve`, which must come up.
    pub(crate) fn start(&self) -> Server {
        self.try_start()
            .unwrap_or_else(|refused| panic!("the server did not start: {refused}"))
    }

    /// Starts `command`, a changed [`Self::command`], which must come up.
    pub(crate) fn start_command(&self, command: Command) -> Server {
        self.try_start_command(command)
            .unwrap_or_else(|refused| panic!("the server did not start: {refused}"))
    }

    /// Starts `hongbao serve` without waiting for anything.
    pub(crate) fn spawn(&self) -> Server {
        self.spawn_command(self.command(&["serve"]))
    }

    /// Starts `command`, a changed [`Self::command`], without waiting for anything.
    pub(crate) fn spawn_command(&self, mut command: Command) -> Server {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built by cargo for this test");
        let (listening, said) = sync_channel(1);
        let mut log = Log::new(said);
        log.follow(
            child.stdout.take().expect("stdout is piped"),
            Some(listening),
        );
        log.follow(child.stderr.take().expect("stderr is piped"), None);
        Server {
            child,
            ended: false,
            log,
            plan: self.clone(),
            address: String::new(),
        }
    }
}

impl Server {
    /// Waits for the line that says `listening`.
    ///
    /// # Errors
    /// The exit and the output, when the process ended instead.
    pub(crate) fn wait_until_listening(&mut self) -> Result<(), String> {
        match self.log.listening.recv_timeout(START_MAX) {
            Ok(address) => {
                self.address = address;
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(format!("it said nothing:\n{}", self.log())),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait();
                self.log.join();
                Err(format!("it ended with {status}:\n{}", self.log()))
            }
        }
    }

    /// Kills it as a power switch would: SIGKILL, no goodbye. It must have run until then: one that
    /// aborts by itself, as on a broken invariant, must not pass for one that was killed.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        let status = self.wait();
        assert_eq!(
            status.signal(),
            Some(SIGKILL),
            "before it was killed, it ended by itself with {status}"
        );
    }

    /// Sends it a signal by name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .expect("there is a shell");
        assert!(sent.success(), "SIG{name} could not be sent");
    }

    /// Asks it to drain (SIGTERM).
    pub(crate) fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// Drains it and gives its exit.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.ended = true;
        self.child.wait().expect("a child can be waited for")
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        self.log
            .lines
            .lock()
            .expect("no reader panicked")
            .join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let by_itself = match self.ended {
            true => None,
            false => self.child.try_wait().expect("a child can be waited for"),
        };
        // It may have ended already; then there is nothing to kill.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
        self.log.join();
        let panicked = self.log.panicked.load(Ordering::Relaxed);
        let failing = std::thread::panicking();
        if self.log.forgotten || !(failing || panicked || by_itself.is_some()) {
            return;
        }
        eprintln!("--- the server's output ---\n{}\n---", self.log());
        // A second panic would end all tests, and say nothing.
        if !failing {
            assert!(!panicked, "the server panicked; see above");
            assert_eq!(by_itself, None, "the server ended by itself; see above");
        }
    }
}

struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    panicked: Arc<AtomicBool>,
    listening: Receiver<String>,
    readers: Vec<std::thread::JoinHandle<()>>,
    forgotten: bool,
}

impl Log {
    fn new(listening: Receiver<String>) -> Self {
        Self {
            lines: Arc::default(),
            panicked: Arc::default(),
            listening,
            readers: Vec::new(),
            forgotten: false,
        }
    }

    fn forget(&mut self) {
        self.forgotten = true;
    }

    /// Waits until all of its output is read, which is when it has ended.
    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
    }

    /// Keeps what `output` says, and sends on the address of the first line with `listening`.
    fn follow(&mut self, output: impl Read + Send + 'static, tell: Option<SyncSender<String>>) {
        let (lines, panicked) = (self.lines.clone(), self.panicked.clone());
        self.readers.push(std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let (Some(tell), Some(address)) = (&tell, listening_address(&line)) {
                    // Only the first such line is waited for.
                    drop(tell.try_send(address));
                }
                let panics = line.contains(PANICKED);
                if panics {
                    panicked.store(true, Ordering::Relaxed);
                }
                let mut lines = lines.lock().expect("no reader panicked");
                if panics || lines.len() < LOG_LINES_MAX {
                    lines.push(line);
                }
            }
        }));
    }
}

fn listening_address(line: &str) -> Option<String> {
    if !line.contains("listening") {
        return None;
    }
    let address = &line[line.find("127.0.0.1:")?..];
    let end = address
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .unwrap_or(address.len());
    Some(address[..end].trim_end_matches([':', '.']).into())
}
