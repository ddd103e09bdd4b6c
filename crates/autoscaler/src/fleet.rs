//! What Docker's list of containers says of the services of Compose projects. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::labels::Labels;

/// The project that a container belongs to.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service that it is an instance of.
pub const SERVICE: &str = "com.docker.compose.service";
/// Which instance.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// Whether it was only meant to run once, by `docker compose run`: then it is no instance.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// What it was made from, as one hash.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Whether this program made it: then one that was never started is a leftover of ours, and not
/// Compose's to start.
pub const MADE_BY: &str = "hongbao.made-by";
/// What [`MADE_BY`] says then.
pub const MADE_BY_US: &str = "autoscale";

/// A container as Docker lists it. Fields that are not here are not looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// Seconds since the epoch.
    #[serde(default)]
    created: i64,
    #[serde(default)]
    state: String,
    /// For people: `Up 3 seconds (healthy)`, `Exited (137) 5 seconds ago`. On every version of
    /// the API the only place in a list that tells health and exit code.
    #[serde(default)]
    status: String,
    #[serde(default)]
    labels: Option<Labels>,
}

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, and is healthy where there is a health check.
    Ready,
    /// It restarts, or its health check has not said anything yet.
    Starting,
    /// Its health check says no. It may be that it has too much to do.
    Unhealthy,
    /// It is paused.
    Unwell,
    /// It was made and never started.
    Made,
    /// It has ended, with this exit code, and Docker does not restart it.
    Down(i32),
    /// It is being removed, or its removal failed: as good as gone.
    Gone,
}

impl State {
    /// Whether its process runs, or Docker sees to that.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(
            self,
            Self::Ready | Self::Starting | Self::Unhealthy | Self::Unwell
        )
    }

    /// Whether what it uses tells of the load.
    #[must_use]
    pub const fn is_measured(self) -> bool {
        matches!(self, Self::Ready | Self::Unhealthy)
    }
}

/// One container of a service.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The container's id.
    pub id: String,
    /// Its name, without the slash that Docker puts in front.
    pub name: String,
    /// Which instance of the service it is.
    pub number: u32,
    /// When it was made, in seconds since the epoch.
    pub created: i64,
    /// How it is.
    pub state: State,
    /// Its labels.
    pub labels: Labels,
}

impl Instance {
    /// Whether it was made by this program and has never run.
    #[must_use]
    pub fn is_half_made_by_us(&self) -> bool {
        let ours = self.labels.get(MADE_BY).is_some_and(|by| by == MADE_BY_US);
        ours && self.state == State::Made
    }

    /// Whether it was made to take the place of another that still runs. Compose makes the new
    /// one first, with the number of the old one, which it then stops and removes.
    #[must_use]
    pub fn replaces_one_of<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> bool {
        let is_old = |it: &Self| it.id != self.id && it.number == self.number && it.state.is_up();
        self.state == State::Made && others.into_iter().any(is_old)
    }
}

/// A service of a project; displayed as `project/service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.project, self.service)
    }
}

/// The services that `listed` belong to, the instances of each in the order of their numbers.
/// What Compose does not number, or has made to run once, belongs to none.
#[must_use]
pub fn services(listed: Vec<Listed>) -> BTreeMap<ServiceName, Vec<Instance>> {
    let mut services = BTreeMap::<_, Vec<_>>::new();
    for (name, instance) in listed.into_iter().filter_map(instance) {
        services.entry(name).or_default().push(instance);
    }
    for instances in services.values_mut() {
        instances.sort_by_key(|it| (it.number, it.created));
    }
    services
}

fn instance(listed: Listed) -> Option<(ServiceName, Instance)> {
    let labels = listed.labels.unwrap_or_default();
    let once = labels.get(ONE_OFF);
    if once.is_some_and(|once| once.eq_ignore_ascii_case("true")) {
        return None;
    }
    let name = ServiceName {
        project: labels.get(PROJECT)?.clone(),
        service: labels.get(SERVICE)?.clone(),
    };
    let container = listed.names.first().map_or("", |name| name.as_str());
    let instance = Instance {
        number: labels.get(NUMBER)?.parse().ok()?,
        name: container.trim_start_matches('/').to_owned(),
        created: listed.created,
        state: state(&listed.state, &listed.status),
        id: listed.id,
        labels,
    };
    Some((name, instance))
}

fn state(state: &str, status: &str) -> State {
    match state {
        "running" if status.contains("(health: starting)") => State::Starting,
        "running" if status.contains("(unhealthy)") => State::Unhealthy,
        "running" => State::Ready,
        "restarting" => State::Starting,
        "paused" => State::Unwell,
        "created" => State::Made,
        "exited" => State::Down(exit_code(status)),
        _ => State::Gone,
    }
}

/// The code in `Exited (137) 5 seconds ago`; −1 when there is none.
fn exit_code(status: &str) -> i32 {
    let code = status.split('(').nth(1).and_then(|it| it.split(')').next());
    code.and_then(|code| code.parse().ok()).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_what_docker_says() {
        for (said, status, expected) in [
            ("running", "Up 3 seconds", State::Ready),
            ("running", "Up 3 seconds (healthy)", State::Ready),
            ("running", "Up 3 s (health: starting)", State::Starting),
            ("running", "Up 3 seconds (unhealthy)", State::Unhealthy),
            ("created", "Created", State::Made),
            (
                "restarting",
                "Restarting (1) 2 seconds ago",
                State::Starting,
            ),
            ("paused", "Up 3 seconds (Paused)", State::Unwell),
            ("exited", "Exited (137) 5 seconds ago", State::Down(137)),
            ("exited", "Exited (0) 5 seconds ago", State::Down(0)),
            ("exited", "gone", State::Down(-1)),
            ("dead", "Dead", State::Gone),
            ("removing", "Removal In Progress", State::Gone),
        ] {
            assert_eq!(state(said, status), expected, "{said}: {status}");
        }
    }

    #[test]
    fn both_generations_of_compose_are_understood() {
        let listed = serde_json::json!([
            // Compose v2.
            {"Id": "b", "Names": ["/p-web-2"], "Created": 5, "State": "running", "Status": "Up",
             "Labels": {PROJECT: "p", SERVICE: "web", NUMBER: "2", ONE_OFF: "False"}},
            {"Id": "a", "Names": ["/p-web-1"], "Created": 4, "State": "running", "Status": "Up",
             "Labels": {PROJECT: "p", SERVICE: "web", NUMBER: "1", ONE_OFF: "False"}},
            // docker-compose 1.29.
            {"Id": "c", "Names": ["/q_web_1"], "State": "exited", "Status": "Exited (1) ago",
             "Labels": {PROJECT: "q", SERVICE: "web", NUMBER: "1", ONE_OFF: "False",
                        "com.docker.compose.version": "1.29.2"}},
            // Not an instance: `run`, and no number.
            {"Id": "d", "Names": ["/p-web-run-1"], "State": "running", "Status": "Up",
             "Labels": {PROJECT: "p", SERVICE: "web", NUMBER: "1", ONE_OFF: "True"}},
            {"Id": "e", "Names": ["/other"], "State": "running", "Status": "Up", "Labels": null},
        ]);
        let services = services(serde_json::from_value(listed).unwrap());
        let shown: Vec<_> = services
            .iter()
            .map(|(name, them)| {
                let them: Vec<_> = them.iter().map(|it| (&*it.name, it.number)).collect();
                (name.to_string(), them)
            })
            .collect();
        let expected = vec![
            ("p/web".to_owned(), vec![("p-web-1", 1), ("p-web-2", 2)]),
            ("q/web".to_owned(), vec![("q_web_1", 1)]),
        ];
        assert_eq!(shown, expected);
    }
}
