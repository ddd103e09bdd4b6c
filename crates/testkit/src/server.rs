//! One server process: started, waited for, killed, and gone with the value.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The ports that servers of tests listen on: this one and ...
const FIRST_PORT: u16 = 20_000;
/// ... so many in all.
const PORTS: u16 = 12_000;

/// A running server process. Dropping it kills the process.
pub struct Server {
    child: Child,
    name: String,
}

impl Server {
    /// Starts `command` with its output in `log`.
    ///
    /// # Panics
    /// When the program is not there, with what to do about it.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        let err = out.try_clone().expect("a file handle can be doubled");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {name} ({error}); `scripts/setup.sh test` installs it")
            });
        Self {
            child,
            name: name.to_owned(),
        }
    }

    /// Waits until `ready` holds.
    ///
    /// # Panics
    /// When the process ends before, or takes over a minute; with the end of its log.
    pub fn wait_until(&mut self, log: &Path, mut ready: impl FnMut() -> bool) {
        let began = Instant::now();
        loop {
            // In this order: another program's answer is not taken for this one's.
            let answers = ready();
            let ended = self.child.try_wait().expect("a child can be waited for");
            if answers && ended.is_none() {
                return;
            }
            if ended.is_some() || began.elapsed() > READY_WITHIN {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let end: Vec<_> = log.lines().rev().take(20).collect();
                let end: Vec<_> = end.into_iter().rev().collect();
                panic!(
                    "{} did not come up ({ended:?}):\n{}",
                    self.name,
                    end.join("\n")
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has not ended.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child can be waited for");
        ended.is_none()
    }

    /// Kills the process as a crash would (SIGKILL), and waits for its end.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ended = self.child.kill().is_err();
        let _ended = self.child.wait().is_err();
    }

    /// Sends a signal by name, such as `STOP`, `CONT` or `TERM`.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .expect("`kill` is on every system");
        assert!(sent.success(), "cannot send SIG{name} to {}", self.name);
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of 127.0.0.1 that nobody listens on now, and that this process is given only once.
///
/// It lies below the range that outgoing connections take theirs from: while a server is down,
/// a client that tries again and again, or another test, could otherwise be given its port.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side have neighbouring numbers, and begin far apart.
    let start = std::process::id().wrapping_mul(2_654_435_769) % u32::from(PORTS);
    let start = u16::try_from(start).expect("it is below another");
    (0..PORTS)
        .map(|_| FIRST_PORT + (start + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("a port is free")
}

/// Whether somebody accepts connections on this port of 127.0.0.1.
#[must_use]
pub fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
