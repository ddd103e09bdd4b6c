//! Ends a server that a whole test process shares, and removes its folder, when that process
//! ends in whatever way: a static is never dropped.

use std::{
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::Mutex,
};

/// Held open for as long as this process lives. A closed pipe is the sign to clean up.
static PIPES: Mutex<Vec<ChildStdin>> = Mutex::new(Vec::new());

/// Waits for the pipe's end, ends the process `$2` by the signal `$1`, and removes `$3`.
const CLEAN_UP: &str = "trap '' INT TERM HUP; cat >/dev/null; kill -s \"$1\" \"$2\" 2>/dev/null; \
     for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 \"$2\" 2>/dev/null || break; sleep 0.2; done; \
     kill -s KILL \"$2\" 2>/dev/null; rm -rf \"$3\"";

/// Has process `pid` ended by `signal`, and `folder` removed, after the end of this process.
///
/// # Panics
/// When no shell can be started.
#[expect(
    clippy::zombie_processes,
    reason = "the shell outlives this process, whose end it waits for"
)]
pub(crate) fn clean_up_at_exit(signal: &str, pid: u32, folder: &Path) {
    let mut shell = Command::new("sh")
        .args(["-c", CLEAN_UP, "sh", signal, &pid.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`sh` is on every system");
    let pipe = shell.stdin.take().expect("it was asked for");
    PIPES.lock().expect("nothing panics under it").push(pipe);
}
