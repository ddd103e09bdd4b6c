//! Docker's engine: found or started by `scripts/docker.sh`, and asked by its own commands.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..")
        .canonicalize()
        .expect("the workspace is two folders up")
}

/// An engine with the images of the template. Dropped, it is ended if it is ours.
pub(crate) struct Engine {
    /// Where it answers, as `DOCKER_HOST` has it.
    pub(crate) host: String,
    ours: bool,
}

impl Engine {
    /// Finds or starts one, and makes the images around `binary`.
    pub(crate) fn start(binary: &Path) -> Self {
        let ours = !script(&["status"]).status.success();
        let started = succeed("start an engine", script(&["start"]));
        let host = started
            .lines()
            .find_map(|line| line.strip_prefix("DOCKER_HOST="))
            .expect("the script says where the engine is")
            .to_owned();
        // From here on it is ended, even when the images fail.
        let engine = Self { host, ours };
        let binary = binary.to_str().expect("a plain path");
        succeed("make the images", script(&["images", binary]));
        engine
    }

    /// The file of its socket.
    pub(crate) fn socket(&self) -> &str {
        let socket = self.host.strip_prefix("unix://");
        socket.expect("these tests need an engine on this machine")
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new("docker")
            .args(args)
            .env("DOCKER_HOST", &self.host)
            .stdin(Stdio::null())
            .output()
            .expect("docker is installed by scripts/setup.sh containers")
    }

    /// `docker ARGS`, which must succeed; what it said.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        succeed(&format!("docker {}", args.join(" ")), self.run(args))
    }

    /// Whether `docker ARGS` succeeds.
    pub(crate) fn try_docker(&self, args: &[&str]) -> bool {
        self.run(args).status.success()
    }

    /// What `docker ARGS` says, whether it succeeds or not.
    pub(crate) fn try_output(&self, args: &[&str]) -> String {
        said(&self.run(args))
    }

    /// Kills the first process of a container, as a crash would; Docker takes `docker kill` for the
    /// operator's will, and restarts nothing.
    pub(crate) fn crash(&self, container: &str) {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        let pid: u32 = pid.trim().parse().expect("a process id");
        assert!(pid > 1, "{container} does not run");
        let killed = Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .output()
            .expect("`kill` is on every system");
        succeed(&format!("crash {container}"), killed);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.ours {
            // Compose leaves those of containers that it has made anew.
            if !self.try_docker(&["volume", "prune", "--force"]) {
                eprintln!("unnamed volumes stay in the engine's folder");
            }
            let ended = script(&["stop"]);
            if !ended.status.success() {
                eprintln!("the engine was not ended: {}", said(&ended));
            }
        }
    }
}

fn script(args: &[&str]) -> Output {
    Command::new(root().join("scripts/docker.sh"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("scripts/docker.sh can be run")
}

/// What a command said, which must have succeeded.
pub(crate) fn succeed(what: &str, output: Output) -> String {
    assert!(
        output.status.success(),
        "cannot {what}: {}\n{}",
        output.status,
        said(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All that a command said.
pub(crate) fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}
