//! The template of deploy/compose/, up and down.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Method;
use tempfile::TempDir;
use testkit::{haproxy, server::free_port};
use tokio::task::block_in_place;

use crate::{
    client::{Client, send},
    engine::{Engine, root, said, succeed},
    sample::token,
    server::{ORGANISER_KEY, SERVICE_KEY, TOKEN_SECRET},
    until::until,
};

/// The services, as the balancer and Compose name them.
pub(crate) const SERVICES: [&str; 4] = ["webpage", "account", "redpacket", "monitor"];
/// The image of all of ours, as `scripts/docker.sh` makes it for tests.
pub(crate) const IMAGE: &str = "hongbao-local/hongbao";
/// Compose's name for what these tests start.
const PROJECT: &str = "hongbaotest";
/// `docker compose` in a shell that was started with what it is told, for the docker-compose that
/// is here.
const COMPOSE: &str = r#"
told=("$@")
docker() {
  if [ "$1" = compose ]; then docker-compose "${told[@]}" "${@:2}"; else command docker "$@"; fi
}
"#;
/// Nothing is asserted about time by this; it ends a test that would otherwise hang.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// The same for commands, in seconds.
const RUN_WITHIN: &str = "600";
/// So many users are spread over all grab nodes, nearly certainly.
const SPREAD_USERS: u32 = 32;
/// The end of each container's log that a failing test shows.
const LOG_LINES: &str = "15";

/// The template, running. Dropped, it is taken down with all it has kept.
pub(crate) struct Cluster {
    /// The engine.
    pub(crate) engine: Engine,
    port: u16,
    admin_port: u16,
    told: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl Cluster {
    /// Ready to be brought up; what an earlier run has left is gone.
    pub(crate) fn new(engine: Engine) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // Two lines, as a person writes them; with all that a shell or a URL might trip over.
        let secrets = "DB_PASSWD=p:a/s@s%w?o#rd\nACCESS_KEY_SECRET=an access key's secret & more\n";
        std::fs::write(folder.path().join("env"), secrets).expect("a file can be written");
        let cluster = Self {
            engine,
            port: free_port(),
            admin_port: free_port(),
            told: Vec::new(),
            folder,
        };
        cluster.take_down();
        cluster
    }

    /// From the next `up` on, `name` is set to `value` beside the two lines.
    pub(crate) fn tell(&mut self, name: &'static str, value: &str) {
        self.told.push((name, value.to_owned()));
    }

    /// From the next `up` on, the secrets are those that the users of these tests know, who all come
    /// from one address; and what takes its time takes less.
    pub(crate) fn tell_tests(&mut self) {
        for (name, value) in [
            ("HONGBAO_TOKEN_SECRET", TOKEN_SECRET),
            ("HONGBAO_SERVICE_KEY", SERVICE_KEY),
            ("HONGBAO_ORGANISER_KEY", ORGANISER_KEY),
            ("HONGBAO_LOGINS_PER_MINUTE", "0"),
            ("HONGBAO_AUTOSCALE_COOLDOWN_IN", "10"),
            ("HONGBAO_LEASE_SECONDS", "10"),
        ] {
            self.tell(name, value);
        }
    }

    /// Compose with the template and the two lines.
    fn command(&self) -> Command {
        let mut command = Command::new("docker-compose");
        self.surround(&mut command);
        command.args(self.arguments());
        command
    }

    /// What Compose is told of the template and the two lines.
    fn arguments(&self) -> Vec<PathBuf> {
        let env = self.folder.path().join("env");
        let file = root().join("deploy/compose/docker-compose.yml");
        let [a, b, c] = ["--env-file", "--project-name", "--file"].map(PathBuf::from);
        vec![a, env, b, PROJECT.into(), c, file]
    }

    /// What every machine has in places of its own: images, ports, Docker's socket.
    fn surround(&self, command: &mut Command) {
        for (name, _) in std::env::vars() {
            if name.starts_with("HONGBAO_") || name.starts_with("DB_") {
                command.env_remove(name);
            }
        }
        for name in ["ACCESS_KEY_SECRET", "MNS_URL", "COMPOSE_FILE"] {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::null())
            .env("DOCKER_HOST", &self.engine.host)
            .env("DOCKER_SOCKET", self.engine.socket())
            .env("HONGBAO_PUBLISH", self.address())
            .env("HAPROXY_PUBLISH_ADMIN", self.admin_address())
            .env("HONGBAO_IMAGE", IMAGE)
            .env("MARIADB_IMAGE", "hongbao-local/mariadb")
            .env("REDIS_IMAGE", "hongbao-local/redis")
            .env("HAPROXY_IMAGE", "hongbao-local/haproxy");
        command.envs(self.told.iter().map(|(name, value)| (name, value)));
    }

    /// Runs commands as a person types them in the template's folder; all must succeed.
    pub(crate) fn run(&self, what: &str, commands: &str) {
        let mut shell = Command::new("timeout");
        self.surround(&mut shell);
        shell.args([RUN_WITHIN, "bash", "-e", "-c"]);
        shell.args([&format!("{COMPOSE}{commands}"), "bash"]);
        let output = shell.args(self.arguments()).output();
        succeed(what, output.expect("`timeout` is on every system"));
    }

    /// `docker-compose ARGS`, which must succeed.
    pub(crate) fn compose(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output();
        let output = output.expect("docker-compose is installed by scripts/setup.sh containers");
        succeed(&format!("docker-compose {}", args.join(" ")), output)
    }

    /// `docker-compose ARGS`, begun.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command();
        command.args(args).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn();
        child.expect("docker-compose is installed by scripts/setup.sh containers")
    }

    /// Docker's name of one of the template's networks.
    pub(crate) fn network(&self, name: &str) -> String {
        format!("{PROJECT}_{name}")
    }

    /// Where participants connect.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin_port)
    }

    /// A client that goes through the balancer, and has no metrics.
    pub(crate) fn client(&self) -> Client {
        Client::at(&self.address(), "127.0.0.1:9")
    }

    /// What the running containers of a service have said.
    pub(crate) fn log(&self, service: &str) -> String {
        let containers = self.containers(service);
        let logs = containers
            .iter()
            .map(|one| self.engine.docker(&["logs", one]));
        logs.collect()
    }

    /// What every container has said between two instants, in seconds since the Unix epoch.
    pub(crate) fn logs_of(&self, from: f64, to: f64) -> String {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let all = [
            "ps",
            "--all",
            "--filter",
            &project,
            "--format",
            "{{.Names}}",
        ];
        let (from, to) = (format!("{from:.3}"), format!("{to:.3}"));
        let mut said = Vec::new();
        for name in self.engine.docker(&all).lines() {
            let logs = [
                "logs",
                "--timestamps",
                "--since",
                &from,
                "--until",
                &to,
                name,
            ];
            let log = self.engine.try_output(&logs);
            said.extend(log.lines().filter_map(|line| {
                let (at, line) = line.split_once(' ')?;
                Some(format!("{at} {name}: {line}"))
            }));
        }
        said.sort();
        said.join("\n")
    }

    /// The names of the running containers of a service, oldest number first.
    pub(crate) fn containers(&self, service: &str) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let of_service = format!("label=com.docker.compose.service={service}");
        let filters = ["--filter", &project, "--filter", &of_service];
        let format = ["--filter", "status=running", "--format", "{{.Names}}"];
        let names = self
            .engine
            .docker(&[&["ps"][..], &filters, &format].concat());
        let mut names: Vec<_> = names.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// How many replicas of a service the balancer believes to be up.
    pub(crate) fn up(&self, service: &str) -> usize {
        // It does not tell while it is restarted itself.
        haproxy::up(&self.admin_address(), service).map_or(0, |up| up.len())
    }

    /// When a container was last started.
    pub(crate) fn started(&self, container: &str) -> String {
        let args = ["inspect", "--format", "{{.State.StartedAt}}", container];
        self.engine.docker(&args)
    }

    /// Whether a container of this service answers: ours by their own probe at this moment, the
    /// others by Docker's last one.
    pub(crate) fn is_ready(&self, service: &str, container: &str) -> bool {
        let probe = ["exec", container, "/usr/local/bin/hongbao", "health"];
        match service {
            "webpage" | "account" | "redpacket" | "monitor" => self.engine.try_docker(&probe),
            "autoscale" => {
                let listen = &["--listen", "127.0.0.1:9091"];
                self.engine.try_docker(&[&probe[..], listen].concat())
            }
            "balancer" => self.up("redpacket") > 0,
            _ => {
                let health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}";
                let args = ["inspect", "--format", health, container];
                self.engine.docker(&args).trim() == "healthy"
            }
        }
    }

    /// Waits until it rains on every grab node: for each of many users, whom the balancer spreads
    /// over all of them.
    pub(crate) async fn known_everywhere(&self, campaign: &str) {
        let (client, path) = (self.client(), format!("/redpacket/campaigns/{campaign}"));
        for user in 0..SPREAD_USERS {
            let token = token(&format!("onlooker-{user}"));
            until("a grab node knows the campaign", async || {
                let look = client.request(Method::GET, &path).bearer_auth(&token);
                (send(look).await.body["state"] == "running").then_some(())
            })
            .await;
        }
    }

    /// Waits until `holds`; how long that took.
    pub(crate) async fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
        let began = Instant::now();
        while !block_in_place(&mut holds) {
            assert!(began.elapsed() < SETTLED_WITHIN, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        began.elapsed()
    }

    /// Takes everything down that bears our name. What cannot be is said: the next one takes it over.
    fn take_down(&self) {
        let down = ["down", "--volumes", "--timeout", "5", "--remove-orphans"];
        match self.command().args(down).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("not taken down: {}", said(&output)),
            Err(error) => eprintln!("not taken down: {error}"),
        }
    }

    /// The end of every container's log.
    fn logs(&self) -> String {
        let mut shown = String::new();
        for args in [
            &["ps", "--all"][..],
            &["logs", "--no-color", "--tail", LOG_LINES],
        ] {
            match self.command().args(args).output() {
                Ok(output) => shown += &said(&output),
                Err(error) => shown += &error.to_string(),
            }
        }
        shown
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the containers ---\n{}\n---", self.logs());
        }
        self.take_down();
    }
}
