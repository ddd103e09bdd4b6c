//! What is done to containers: started, made like a sibling, drained and removed. Each runs beside
//! the loop and reports to it, so that one that drains for long holds up nothing.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use tokio::sync::mpsc;

use crate::{
    copy::Sibling,
    docker::{Docker, DockerError},
    fleet::{Instance, ServiceName},
};

/// The time to stop of a container that was told none. Docker's own 10 s would do where nothing is
/// under way; a drain that needs less ends sooner in any case.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// The most that a container may be told.
const STOP_WITHIN_MAX: u64 = 300;
/// Reports that wait to be read.
pub(crate) const REPORTS_MAX: usize = 64;

/// One more instance.
#[derive(Clone, Debug)]
pub(crate) enum More {
    /// A stopped one, started again.
    Start(Instance),
    /// A new one with this number.
    Make(u32),
}

impl More {
    /// Whether `instance` is the one that was meant.
    pub(crate) fn is(&self, instance: &Instance) -> bool {
        match self {
            Self::Start(stopped) => instance.id == stopped.id,
            Self::Make(number) => instance.number == *number,
        }
    }
}

/// What has ended.
#[derive(Debug)]
pub(crate) enum Report {
    /// Instances were to be added; those that were not, and among them the containers that do not
    /// start.
    Grown {
        service: ServiceName,
        failed: u32,
        broken: Vec<String>,
    },
    /// This container has left, or could not be made to.
    Left { service: ServiceName, id: String },
}

/// Who acts, on which service.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) docker: Arc<Docker>,
    pub(crate) service: ServiceName,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl Actor {
    /// Adds instances like `sibling`, one after the other.
    pub(crate) async fn grow(self, sibling: Sibling, more: Vec<More>) {
        let (mut failed, mut broken) = (0, Vec::new());
        for one in more {
            let done = match &one {
                More::Start(instance) => self.start(instance).await,
                More::Make(number) => self.make(&sibling, *number).await,
            };
            if !done {
                failed += 1;
                if let More::Start(instance) = one {
                    broken.push(instance.id);
                }
            }
        }
        let service = self.service.clone();
        self.report(Report::Grown {
            service,
            failed,
            broken,
        })
        .await;
    }

    /// Lets a container finish what it does, and removes it.
    pub(crate) async fn drain(self, instance: Instance, sibling: Option<Sibling>) {
        let told = sibling.and_then(|it| it.stop_seconds());
        let within = told.map_or(STOP_WITHIN, |seconds| {
            Duration::from_secs(seconds.clamp(1, STOP_WITHIN_MAX))
        });
        let container = &instance.name;
        let drained = async {
            match self.docker.stop(&instance.id, within).await {
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error),
                Ok(()) => self.docker.remove(&instance.id).await,
            }
        };
        let ServiceName { project, service } = &self.service;
        match drained.await {
            Ok(()) => {
                tracing::info!(project, service, container, "drained and removed");
                self.count("remove", true);
            }
            Err(error) => {
                tracing::error!(project, service, container, %error, "could not drain and remove");
                self.count("remove", false);
            }
        }
        let service = self.service.clone();
        self.report(Report::Left {
            service,
            id: instance.id,
        })
        .await;
    }

    async fn start(&self, instance: &Instance) -> bool {
        let ServiceName { project, service } = &self.service;
        let container = &instance.name;
        let started = self.docker.start(&instance.id).await;
        match &started {
            Ok(()) => tracing::info!(project, service, container, "started again"),
            Err(error) => {
                tracing::error!(project, service, container, %error, "could not start again");
            }
        }
        self.count("start", started.is_ok());
        started.is_ok()
    }

    async fn make(&self, sibling: &Sibling, number: u32) -> bool {
        let ServiceName { project, service } = &self.service;
        let made = self.make_like(sibling, number).await;
        match &made {
            Ok(container) => tracing::info!(project, service, container, "created and started"),
            Err(error) => tracing::error!(project, service, number, error, "could not create"),
        }
        self.count("create", made.is_ok());
        made.is_ok()
    }

    /// Makes and starts instance `number`; gives its name, or why there is none.
    async fn make_like(&self, sibling: &Sibling, number: u32) -> Result<String, String> {
        let said = |error: DockerError| error.to_string();
        // The sibling's name for its image, as long as that still means the same image.
        let name = sibling.image_name();
        let means = self.docker.image_id(name).await.map_err(said)?;
        let image = match means {
            Some(id) if id == sibling.image_id() => name,
            _ => sibling.image_id(),
        };
        let copy = sibling
            .copy(number, image)
            .map_err(|error| error.to_string())?;
        let id = self.docker.create(&copy).await.map_err(said)?;
        if let Err(error) = self.docker.start(&id).await {
            // What is said is why it does not start.
            if let Err(left) = self.docker.remove(&id).await {
                tracing::warn!(container = copy.name, error = %left, "left unstarted");
            }
            return Err(said(error));
        }
        Ok(copy.name)
    }

    fn count(&self, action: &'static str, done: bool) {
        let ServiceName { project, service } = self.service.clone();
        let result = if done { "ok" } else { "failed" };
        counter!("hongbao_autoscale_actions_total",
            "project" => project, "service" => service, "action" => action, "result" => result)
        .increment(1);
    }

    async fn report(&self, report: Report) {
        // Nobody reads any more when the process ends.
        let _ending = self.reports.send(report).await.is_err();
    }
}
