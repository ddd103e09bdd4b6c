//! A Docker that is none: its API on a socket, containers that are entries in a list, and CPU that
//! is used as the test says.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use tokio::{net::UnixListener, task::JoinHandle};

/// The wall clock, in seconds since the epoch.
pub(crate) const NOW: i64 = 1_800_000_000;
/// When containers were made that are there from the start.
const LONG_AGO: i64 = NOW - 86_400;

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Docker's word for its state.
    pub(crate) state: &'static str,
    pub(crate) status: String,
    pub(crate) created: i64,
    pub(crate) body: Value,
    /// CPU time used so far, in seconds, and when that was reckoned.
    used: f64,
    reckoned: Option<Instant>,
}

impl Container {
    fn labels(&self) -> &Value {
        &self.body["Labels"]
    }

    pub(crate) fn number(&self) -> u32 {
        let number = &self.labels()["com.docker.compose.container-number"];
        number.as_str().unwrap().parse().unwrap()
    }

    fn service(&self) -> &str {
        self.labels()["com.docker.compose.service"]
            .as_str()
            .unwrap()
    }

    pub(crate) fn runs(&self) -> bool {
        self.state == "running"
    }
}

#[derive(Default)]
struct Inner {
    containers: Vec<Container>,
    made: u32,
    /// Load of each service in CPUs, shared by its running containers.
    load: HashMap<String, f64>,
    calls: Vec<String>,
    looks: u64,
    /// Calls whose line holds the first are refused with this status.
    refuses: Vec<(String, u16)>,
    /// How long a stop takes.
    stops_in: Duration,
    /// Whether new containers are healthy at once.
    slow_to_start: bool,
    /// Whether containers are in a second network, too.
    more_networks: bool,
}

/// The fake, and its socket.
pub(crate) struct Fake {
    inner: Arc<Mutex<Inner>>,
    folder: tempfile::TempDir,
    serving: Option<JoinHandle<()>>,
}

type Shared = State<Arc<Mutex<Inner>>>;

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap()
}

impl Fake {
    /// A Docker without containers.
    pub(crate) fn new() -> Self {
        let mut fake = Self {
            inner: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
            serving: None,
        };
        fake.come();
        fake
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The daemon goes away, and its containers stay.
    pub(crate) fn go(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        std::fs::remove_file(self.socket()).unwrap();
    }

    /// The daemon comes.
    pub(crate) fn come(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let router = router(self.inner.clone());
        self.serving = Some(tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        }));
    }

    /// Adds running containers of a service with these labels of scaling.
    pub(crate) fn add(&self, service: &str, count: u32, labels: &[(&str, &str)]) {
        let mut inner = lock(&self.inner);
        for number in 1..=count {
            let mut body = template(service, number);
            for (name, value) in labels {
                body["Labels"][*name] = (*value).into();
            }
            let name = format!("p-{service}-{number}");
            inner.make(name, body, LONG_AGO, "running");
        }
    }

    /// Adds one more container like the first of a service.
    pub(crate) fn add_one(&self, service: &str, number: u32, name: &str) {
        let mut body = self.containers(service)[0].body.clone();
        body["Labels"]["com.docker.compose.container-number"] = number.to_string().into();
        lock(&self.inner).make(name.to_owned(), body, NOW, "running");
    }

    /// Changes a container by name.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Container)) {
        let mut inner = lock(&self.inner);
        let found = inner.containers.iter_mut().find(|it| it.name == name);
        change(found.unwrap());
    }

    /// Removes a container, as somebody else would.
    pub(crate) fn remove(&self, name: &str) {
        lock(&self.inner).containers.retain(|it| it.name != name);
    }

    /// Kills a container so that Docker does not restart it.
    pub(crate) fn kill(&self, name: &str, code: i32) {
        self.change(name, |it| {
            it.state = "exited";
            it.status = format!("Exited ({code}) 1 second ago");
        });
    }

    /// From now on this much CPU is used by a service, shared by its running containers, each of
    /// which can use one.
    pub(crate) fn load(&self, service: &str, cpus: f64) {
        let mut inner = lock(&self.inner);
        inner.reckon();
        inner.load.insert(service.to_owned(), cpus);
    }

    /// From now on calls whose `METHOD /path` holds `part` are refused.
    pub(crate) fn refuse(&self, part: &str, status: u16) {
        lock(&self.inner).refuses.push((part.to_owned(), status));
    }

    pub(crate) fn refuse_nothing(&self) {
        lock(&self.inner).refuses.clear();
    }

    pub(crate) fn stops_in(&self, time: Duration) {
        lock(&self.inner).stops_in = time;
    }

    pub(crate) fn slow_to_start(&self, slow: bool) {
        lock(&self.inner).slow_to_start = slow;
    }

    /// From now on containers are in a second network, too.
    pub(crate) fn more_networks(&self) {
        lock(&self.inner).more_networks = true;
    }

    /// The containers of a service, by number.
    pub(crate) fn containers(&self, service: &str) -> Vec<Container> {
        let inner = lock(&self.inner);
        let of_it = inner.containers.iter().filter(|it| it.service() == service);
        let mut found: Vec<_> = of_it.cloned().collect();
        found.sort_by_key(Container::number);
        found
    }

    /// How many containers of a service run.
    pub(crate) fn running(&self, service: &str) -> usize {
        let containers = self.containers(service);
        containers.iter().filter(|it| it.runs()).count()
    }

    /// Their numbers.
    pub(crate) fn numbers(&self, service: &str) -> Vec<u32> {
        let containers = self.containers(service);
        let running = containers.iter().filter(|it| it.runs());
        running.map(Container::number).collect()
    }

    /// How often all containers were listed.
    pub(crate) fn looks(&self) -> u64 {
        lock(&self.inner).looks
    }

    /// The calls that change something, so far.
    pub(crate) fn changes(&self) -> Vec<String> {
        let calls = lock(&self.inner).calls.clone();
        calls
            .into_iter()
            .filter(|it| !it.starts_with("GET"))
            .collect()
    }

    /// What happened, for a failing test.
    pub(crate) fn told(&self) -> String {
        let inner = lock(&self.inner);
        let here = inner.containers.iter();
        let here: Vec<_> = here.map(|it| format!("{} {}", it.name, it.state)).collect();
        format!("{} looks; {here:?}; changes: {:?}", inner.looks, {
            let calls = inner.calls.iter();
            calls
                .filter(|it| !it.starts_with("GET"))
                .collect::<Vec<_>>()
        })
    }
}

impl Inner {
    fn make(&mut self, name: String, body: Value, created: i64, state: &'static str) -> String {
        self.made += 1;
        let id = format!("{:012x}{:052x}", 0xabc0_0000_u32 + self.made, self.made);
        self.containers.push(Container {
            id: id.clone(),
            name,
            state,
            status: "Up".into(),
            created,
            body,
            used: 0.0,
            reckoned: None,
        });
        id
    }

    fn find(&mut self, id: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|it| it.id == id)
    }

    /// Brings the use of CPU up to now.
    fn reckon(&mut self) {
        let now = Instant::now();
        let mut running = HashMap::<String, u32>::new();
        for container in self.containers.iter().filter(|it| it.runs()) {
            *running.entry(container.service().to_owned()).or_default() += 1;
        }
        for container in &mut self.containers {
            let since = container.reckoned.replace(now).unwrap_or(now);
            if container.runs() {
                let load = self.load.get(container.service()).copied().unwrap_or(0.0);
                let share = load / f64::from(running[container.service()]);
                container.used += share.min(1.0) * (now - since).as_secs_f64();
            }
        }
    }
}

/// What a container of a service is made from.
fn template(service: &str, number: u32) -> Value {
    json!({
        "Image": "hongbao",
        "Env": ["A=1"],
        "Labels": {
            "com.docker.compose.project": "p",
            "com.docker.compose.service": service,
            "com.docker.compose.container-number": number.to_string(),
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.config-hash": "one",
        },
        "HostConfig": { "NetworkMode": "p_default", "NanoCpus": 1_000_000_000 },
    })
}

fn router(inner: Arc<Mutex<Inner>>) -> Router {
    let calls = Router::new()
        .route("/containers/json", get(list))
        .route("/containers/create", post(create))
        .route("/containers/{id}/json", get(inspect))
        .route("/containers/{id}/stats", get(stats))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}", delete(remove))
        .route("/networks/{id}/connect", post(async || StatusCode::OK))
        .route(
            "/images/{name}/json",
            get(async || Json(json!({ "Id": "sha256:1" }))),
        )
        .layer(middleware::from_fn_with_state(inner.clone(), note));
    let versions = json!({ "ApiVersion": "1.41", "MinAPIVersion": "1.12" });
    Router::new()
        .nest("/v1.41", calls)
        .route("/version", get(async || Json(versions)))
        .with_state(inner)
}

/// Notes a call, or refuses it.
async fn note(State(inner): Shared, request: Request<Body>, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let refused = {
        let mut inner = lock(&inner);
        inner.calls.push(line.clone());
        let refuses = inner.refuses.iter();
        refuses
            .clone()
            .find(|(part, _)| line.contains(part))
            .map(|it| it.1)
    };
    match refused {
        Some(status) => {
            let said = Json(json!({ "message": "the test refuses" }));
            (StatusCode::from_u16(status).unwrap(), said).into_response()
        }
        None => next.run(request).await,
    }
}

async fn list(State(inner): Shared, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let mut inner = lock(&inner);
    assert_eq!(query["all"], "true");
    assert!(
        query["filters"].contains("com.docker.compose.project=p"),
        "{query:?}"
    );
    inner.looks += 1;
    let listed = inner.containers.iter().map(|it| {
        json!({
            "Id": it.id, "Names": [format!("/{}", it.name)], "Created": it.created,
            "State": it.state, "Status": it.status, "Labels": it.labels(),
        })
    });
    Json(listed.collect())
}

async fn inspect(State(inner): Shared, Path(id): Path<String>) -> Response {
    let mut inner = lock(&inner);
    let more_networks = inner.more_networks;
    let Some(found) = inner.find(&id) else {
        return gone();
    };
    let mut config = found.body.clone();
    let host = config
        .as_object_mut()
        .unwrap()
        .remove("HostConfig")
        .unwrap();
    let mut networks = json!({ "p_default": {
        "NetworkID": "net1", "Aliases": [id[..12], found.service()], "IPAMConfig": null,
        "IPAddress": "10.0.0.2",
    }});
    if more_networks {
        networks["p_more"] = json!({ "NetworkID": "net2" });
    }
    Json(json!({
        "Id": id, "Name": format!("/{}", found.name), "Image": "sha256:1",
        "Config": config, "HostConfig": host, "NetworkSettings": { "Networks": networks },
    }))
    .into_response()
}

async fn stats(State(inner): Shared, Path(id): Path<String>) -> Response {
    let mut inner = lock(&inner);
    inner.reckon();
    let Some(found) = inner.find(&id) else {
        return gone();
    };
    let reckoned = found.reckoned.unwrap();
    let since_start = reckoned.duration_since(*START.get_or_init(|| reckoned));
    let read = rules::Timestamp::from_micros(NOW * 1_000_000);
    let read = read.plus_micros(i64::try_from(since_start.as_micros()).unwrap());
    let micros = read.micros() % 1_000_000;
    // As Docker writes it: with nanoseconds.
    let read = format!("{}.{micros:06}000Z", &read.to_string()[..19]);
    let used = (found.used * 1e9) as u64;
    Json(json!({ "read": read, "cpu_stats": { "cpu_usage": { "total_usage": used } } }))
        .into_response()
}

static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

async fn create(
    State(inner): Shared,
    Query(query): Query<HashMap<String, String>>,
    Json(mut body): Json<Value>,
) -> Response {
    let mut inner = lock(&inner);
    let name = query["name"].clone();
    if inner.containers.iter().any(|it| it.name == name) {
        let said = Json(json!({ "message": format!("Conflict. {name} is in use") }));
        return (StatusCode::CONFLICT, said).into_response();
    }
    body.as_object_mut().unwrap().remove("NetworkingConfig");
    let id = inner.make(name, body, NOW, "created");
    (StatusCode::CREATED, Json(json!({ "Id": id }))).into_response()
}

async fn start(State(inner): Shared, Path(id): Path<String>) -> Response {
    let mut inner = lock(&inner);
    let slow = inner.slow_to_start;
    match inner.find(&id) {
        Some(found) if found.runs() => StatusCode::NOT_MODIFIED.into_response(),
        Some(found) => {
            found.state = "running";
            let health = if slow { "health: starting" } else { "healthy" };
            found.status = format!("Up Less than a second ({health})");
            StatusCode::NO_CONTENT.into_response()
        }
        None => gone(),
    }
}

async fn stop(
    State(inner): Shared,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let time = {
        let mut inner = lock(&inner);
        let line = format!("stop t={}", query["t"]);
        inner.calls.push(line);
        inner.stops_in
    };
    tokio::time::sleep(time).await;
    match lock(&inner).find(&id) {
        Some(found) => {
            found.state = "exited";
            found.status = "Exited (0) Less than a second ago".into();
            StatusCode::NO_CONTENT.into_response()
        }
        None => gone(),
    }
}

async fn remove(State(inner): Shared, Path(id): Path<String>) -> Response {
    let mut inner = lock(&inner);
    let before = inner.containers.len();
    inner.containers.retain(|it| it.id != id);
    match inner.containers.len() < before {
        true => StatusCode::NO_CONTENT.into_response(),
        false => gone(),
    }
}

fn gone() -> Response {
    let said = Json(json!({ "message": "No such container" }));
    (StatusCode::NOT_FOUND, said).into_response()
}
