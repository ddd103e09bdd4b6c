//! The loop: looks at Docker, decides for each service, acts.
//!
//! What a service is to have is remembered while the process lives and taken from what is there
//! when it begins; nothing is written anywhere. So that a start of its own moves nothing, it takes
//! no instance away before a cool-down has passed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, future, stream};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use rules::Clock;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    actions::{Actor, REPORTS_MAX, Report},
    copy::Sibling,
    docker::{Docker, DockerError},
    fleet::{self, Instance, ServiceName},
    labels,
    patience::Patience,
    rule::Pace,
    window::{Moment, Reading},
};

mod mending;
mod service;

use self::service::{Look, Service};

/// Calls for single containers under way at once.
const CALLS_MAX: usize = 16;
/// How long what was said of a container's settings is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(10);
/// How long what is under way may take to end when the process does: nearly as long as Compose
/// lets it, since some versions of Docker kill a container at once when the call to stop it is
/// given up.
const END_WITHIN: Duration = Duration::from_secs(25);

/// What the scaler is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Compose projects whose services it looks after.
    pub projects: Vec<String>,
    /// How often it looks.
    pub interval: Duration,
    /// How fast it acts.
    pub pace: Pace,
    /// How long it waits for others.
    pub patience: Patience,
    /// Whether it only says what it would do.
    pub dry_run: bool,
}

/// What was said of a container's settings, and when.
struct Believed {
    sibling: Sibling,
    at: Moment,
}

/// Says what the metrics mean, to whatever collects them.
pub fn describe_metrics() {
    describe_gauge!(
        "hongbao_autoscale_docker_up",
        "Whether Docker answered at the last look"
    );
    describe_gauge!(
        "hongbao_autoscale_instances",
        "Instances of a service, those that start included"
    );
    describe_gauge!("hongbao_autoscale_ready", "Instances that serve");
    describe_gauge!(
        "hongbao_autoscale_wanted",
        "Instances that the service is to have"
    );
    describe_gauge!(
        "hongbao_autoscale_cpu_percent",
        "Average use of CPU over the window, in percent of a container's limit"
    );
    describe_gauge!(
        "hongbao_autoscale_misconfigured",
        "Whether a service is left alone for what its labels say"
    );
    describe_counter!(
        "hongbao_autoscale_decisions_total",
        "Decisions: out, in, or hold"
    );
    describe_counter!(
        "hongbao_autoscale_actions_total",
        "Containers created, started or removed, and how that went"
    );
    describe_counter!(
        "hongbao_autoscale_docker_errors_total",
        "Calls that Docker did not answer as it should"
    );
    counter!("hongbao_autoscale_docker_errors_total").increment(0);
}

/// The scaler of some projects.
pub struct Scaler {
    docker: Arc<Docker>,
    options: Options,
    clock: Arc<dyn Clock>,
    begun: Instant,
    services: BTreeMap<ServiceName, Service>,
    believed: HashMap<String, Believed>,
    /// What is wrong with the labels of these, as it was said.
    wrong: BTreeMap<ServiceName, String>,
    away: bool,
    reports: mpsc::Sender<Report>,
    reported: mpsc::Receiver<Report>,
    tasks: TaskTracker,
}

impl Scaler {
    /// A scaler that has not looked yet. `clock` is only asked how old containers are.
    #[must_use]
    pub fn new(docker: Docker, options: Options, clock: Arc<dyn Clock>) -> Self {
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        Self {
            docker: Arc::new(docker),
            options,
            clock,
            begun: Instant::now(),
            services: BTreeMap::new(),
            believed: HashMap::new(),
            wrong: BTreeMap::new(),
            away: false,
            reports,
            reported,
            tasks: TaskTracker::new(),
        }
    }

    /// Looks, decides and acts until `stop`; then waits a while for what is under way. `answers` is
    /// told after each look whether Docker answers.
    pub async fn run(mut self, stop: CancellationToken, answers: impl Fn(bool)) {
        let mut looks = interval(self.options.interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => {
                    // A look is ended half way at most between two calls that change nothing.
                    if stop.run_until_cancelled(self.look()).await.is_none() {
                        break;
                    }
                    answers(!self.away);
                }
                Some(report) = self.reported.recv() => self.hear(report),
            }
        }
        self.reported.close();
        self.tasks.close();
        if timeout(END_WITHIN, self.tasks.wait()).await.is_err() {
            let under_way = self.tasks.len();
            tracing::warn!(
                under_way,
                "ended before what was under way; Docker finishes it"
            );
        }
    }

    /// Looks once, decides and acts.
    async fn look(&mut self) {
        match self.listed().await {
            Ok(found) => {
                if std::mem::take(&mut self.away) {
                    tracing::info!("Docker answers again");
                }
                gauge!("hongbao_autoscale_docker_up").set(1.0);
                self.look_at(found).await;
            }
            Err(error) => {
                self.docker.forget();
                if !std::mem::replace(&mut self.away, true) {
                    tracing::warn!(%error, "waiting for Docker");
                }
                gauge!("hongbao_autoscale_docker_up").set(0.0);
                counter!("hongbao_autoscale_docker_errors_total").increment(1);
            }
        }
    }

    /// The instances of every service of the projects.
    async fn listed(&self) -> Result<BTreeMap<ServiceName, Vec<Instance>>, DockerError> {
        let calls = self.options.projects.iter();
        let calls = calls.map(|project| self.docker.containers(project));
        let listed = future::try_join_all(calls).await?;
        Ok(fleet::services(listed.into_iter().flatten().collect()))
    }

    async fn look_at(&mut self, mut found: BTreeMap<ServiceName, Vec<Instance>>) {
        self.keep_emptied(&mut found);
        let wishes = self.wishes(&mut found);
        let now = self.now();
        self.believe(&found, now).await;
        let readings = self.readings(&found).await;
        // The window ends with the newest reading, not when the slowest call has ended: one
        // container that does not answer must not make all that is known of the others old.
        let newest = readings.values().map(|reading| reading.at).max();
        let now = newest.map_or(now, |newest| newest.max(now));
        for (name, wish) in wishes {
            let instances = found.remove(&name).unwrap_or_default();
            let look = Look {
                now,
                wall_seconds: self.clock.now().micros() / 1_000_000,
                pace: self.options.pace,
                patience: self.options.patience,
                dry_run: self.options.dry_run,
                instances,
                readings: &readings,
                siblings: &|id| self.believed.get(id).map(|it| &it.sibling),
            };
            let actor = Actor {
                docker: self.docker.clone(),
                service: name.clone(),
                reports: self.reports.clone(),
            };
            let service = self
                .services
                .entry(name)
                .or_insert_with(|| Service::first_seen(&wish, &look));
            service.look(&wish, look, &actor, &self.tasks);
        }
    }

    /// A service whose last container is gone is still to be looked after; but not when all those of
    /// its project are gone, as after `docker compose down`.
    fn keep_emptied(&mut self, found: &mut BTreeMap<ServiceName, Vec<Instance>>) {
        let left = self
            .services
            .keys()
            .filter(|&name| found.contains_key(name));
        let left: BTreeSet<_> = left.map(|name| name.project.clone()).collect();
        self.services.retain(|name, _| {
            let stays = left.contains(&name.project);
            if !stays {
                let (project, service) = (&name.project, &name.service);
                tracing::info!(project, service, "gone with the whole project");
            }
            stays
        });
        for name in self.services.keys() {
            found.entry(name.clone()).or_default();
        }
    }

    /// What each service asks for; those that do not ask, or not rightly, are taken out of `found`
    /// and forgotten. One without a container asks for what it asked for last.
    fn wishes(
        &mut self,
        found: &mut BTreeMap<ServiceName, Vec<Instance>>,
    ) -> Vec<(ServiceName, labels::Wish)> {
        let mut wishes = Vec::new();
        let mut wrong = BTreeMap::new();
        for (name, instances) in &*found {
            let Some(newest) = service::newest(instances) else {
                let known = self.services.get(name);
                wishes.extend(known.map(|known| (name.clone(), known.wish().clone())));
                continue;
            };
            match labels::wish(&newest.labels) {
                Ok(Some(wish)) => wishes.push((name.clone(), wish)),
                Ok(None) => {}
                Err(error) => {
                    let said = error.to_string();
                    if self.wrong.get(name) != Some(&said) {
                        let (project, service) = (&name.project, &name.service);
                        let container = &newest.name;
                        tracing::error!(project, service, container, "left alone: {said}");
                    }
                    wrong.insert(name.clone(), said);
                }
            }
        }
        for name in self.wrong.keys().chain(wrong.keys()) {
            let is_wrong = if wrong.contains_key(name) { 1.0 } else { 0.0 };
            gauge!("hongbao_autoscale_misconfigured",
                "project" => name.project.clone(), "service" => name.service.clone())
            .set(is_wrong);
        }
        self.wrong = wrong;
        let asked: BTreeSet<_> = wishes.iter().map(|(name, _)| name.clone()).collect();
        found.retain(|name, _| asked.contains(name));
        self.services.retain(|name, _| asked.contains(name));
        wishes
    }

    /// Asks for the settings of containers that are new, or were asked for long ago.
    async fn believe(&mut self, found: &BTreeMap<ServiceName, Vec<Instance>>, now: Moment) {
        let all = found.values().flatten();
        let fresh = |id: &str| {
            let believed = self.believed.get(id);
            believed.is_some_and(|it| now.since(it.at) < BELIEVED_FOR)
        };
        let asked = all.clone().filter(|it| !fresh(&it.id));
        let asked: Vec<_> = asked.map(|it| it.id.clone()).collect();
        let docker = self.docker.clone();
        let answers = of_each(asked, move |id| {
            let docker = docker.clone();
            async move { docker.inspect(&id).await }
        });
        let answers = answers.await;
        let present: BTreeSet<&str> = all.map(|it| &*it.id).collect();
        self.believed.retain(|id, _| present.contains(&**id));
        for (id, answer) in answers {
            match answer {
                Ok(sibling) => {
                    self.believed.insert(id, Believed { sibling, at: now });
                }
                // It is asked again at the next look, if it is still there.
                Err(error) => missed(&id, &error),
            }
        }
    }

    /// What the counters of all containers say whose use tells of the load.
    async fn readings(
        &self,
        found: &BTreeMap<ServiceName, Vec<Instance>>,
    ) -> HashMap<String, Reading> {
        let measured = found.values().flatten();
        let measured = measured.filter(|it| it.state.is_measured());
        let measured: Vec<_> = measured.map(|it| it.id.clone()).collect();
        let (docker, begun) = (self.docker.clone(), self.begun);
        let answers = of_each(measured, move |id| {
            let docker = docker.clone();
            async move {
                let at = Moment::default().after(begun.elapsed());
                docker.cpu(&id, at).await
            }
        });
        let mut readings = HashMap::new();
        for (id, answer) in answers.await {
            match answer {
                Ok(reading) => {
                    readings.insert(id, reading);
                }
                Err(error) => missed(&id, &error),
            }
        }
        readings
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Grown {
                service,
                failed,
                broken,
            } => {
                if let Some(service) = self.services.get_mut(&service) {
                    service.grown(failed, broken);
                }
            }
            Report::Left { service, id } => {
                if let Some(service) = self.services.get_mut(&service) {
                    service.left(&id);
                }
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::default().after(self.begun.elapsed())
    }
}

/// The answers to the same question about each container, some of them asked at once.
async fn of_each<T, Asks, Answer>(
    ids: Vec<String>,
    ask: Asks,
) -> Vec<(String, Result<T, DockerError>)>
where
    Asks: Fn(String) -> Answer,
    Answer: Future<Output = Result<T, DockerError>>,
{
    let asked = ids.into_iter().map(|id| {
        let answer = ask(id.clone());
        async move { (id, answer.await) }
    });
    stream::iter(asked)
        .buffer_unordered(CALLS_MAX)
        .collect()
        .await
}

/// A container that went away in between is nothing to speak of; anything else is counted.
fn missed(id: &str, error: &DockerError) {
    if !error.is_not_found() {
        counter!("hongbao_autoscale_docker_errors_total").increment(1);
    }
    tracing::debug!(id, %error, "nothing was learnt of a container");
}
