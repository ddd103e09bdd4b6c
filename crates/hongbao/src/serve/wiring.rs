//! The parts of a process, for whichever services it runs, and how they hang together.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use eventlog::{
    AccessLog,
    sls::{Intake, Shipper, StartError},
};
use ledger::{Durability, Ledger, LedgerError};
use metrics_exporter_prometheus::PrometheusHandle;
use services::{
    account::Account,
    http::health::Readiness,
    monitor::Monitor,
    redpacket::{Redpacket, counting::Counting},
    task,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    backends::{self, Opened},
    plan::Plan,
    shared::Shared,
};
use crate::{
    config::{QueueAt, Settings},
    secrets::Secrets,
    telemetry,
};

/// How long a process with a queue of its own waits for the lead of one that has died.
const LEADS_WITHIN: Duration = Duration::from_secs(10);
/// How often it asks.
const LEAD_ASKED_EVERY: Duration = Duration::from_millis(250);
/// How long the background tasks may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long the last lines of the access log may take to be written.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);
/// How long a process that ends tries to deliver what is to be shipped; the rest stays on disk for
/// the next start.
const SHIP_WITHIN: Duration = Duration::from_secs(4);
/// The folder of what is not shipped yet, in the data directory.
const SHIPPING_FOLDER: &str = "sls";

/// A process that runs some or all of the services.
pub(super) struct Node {
    pub(super) account: Option<Arc<Account>>,
    pub(super) redpacket: Option<Arc<Redpacket>>,
    pub(super) monitor: Option<Arc<Monitor>>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) access_log: Option<Arc<AccessLog>>,
    shipper: Option<Shipper>,
    pub(super) metrics: PrometheusHandle,
    /// What an acknowledgement meant when the process started.
    pub(super) durability: Durability,
    /// Drawn once per process, for request ids.
    pub(super) id: u64,
    pub(super) opened: Opened,
    background: CancellationToken,
    scheduling: Option<JoinHandle<()>>,
    counting: Option<JoinHandle<()>>,
}

impl Node {
    /// Opens the other backends, fills a queue that is this process's own, and starts what runs in the
    /// background. When this returns, requests can be answered.
    pub(super) async fn start(
        opened: Opened,
        plan: &Plan,
        settings: &Settings,
        secrets: &Secrets,
        public_url: &str,
    ) -> anyhow::Result<Self> {
        let metrics = telemetry::metrics(plan.role)?;
        let role = plan.role;
        let ledger = opened.ledger();
        let (shared, announcer, mut reader) =
            Shared::open(plan, settings, secrets, &opened, public_url).await?;
        let background = CancellationToken::new();

        let account = role.is_account().then(|| shared.account());
        let mut watched = None;
        let (mut access_log, mut shipper, mut redpacket) = (None, None, None);
        if role.is_redpacket() {
            let (admission, verifier) = shared.admission(account.as_ref())?;
            // What is in this process is watched as what it stands on.
            watched = verifier.filter(|_| plan.account.is_some());
            let intake;
            (shipper, intake) = shipper_of(plan, settings).await?;
            let log = Arc::new(shared.access_log(intake)?);
            let node = shared.redpacket(admission, log.clone());
            reader.follow(node.clone());
            (access_log, redpacket) = (Some(log), Some(node));
        }
        let mut monitor = None;
        if role.is_monitor() {
            let made = shared.monitor(announcer.clone(), public_url)?;
            reader.follow(made.follower());
            monitor = Some(made);
        }
        reader.read().await.context("cannot read the campaigns")?;
        task::critical("directory", async move {
            reader.run().await;
            // It ends when nobody can announce any more; where there is no monitor, never.
            drop(announcer);
        });

        let mut durability = ledger.durability().await?;
        if let Some(monitor) = &monitor {
            durability = monitor.durability().await?;
            if !plan.shares_ledger() || plan.queue == QueueAt::Memory {
                refill(monitor).await?;
            }
        }
        let mut counting = None;
        if let Some(redpacket) = &redpacket {
            counting = Some(run_beside(redpacket, monitor.as_ref(), plan, &background).await?);
        }
        let readiness = shared.readiness(watched.is_some());
        // It has just answered, more than once.
        readiness.report("ledger", Ok(()));
        shared.watch(&readiness, watched, &background);
        if role.is_account() {
            let registered = shared.registered.clone();
            let follow = registered.follow(ledger, background.clone());
            task::critical("registered users", follow);
        }
        let run = monitor.clone().map(|it| it.run(background.clone()));
        let scheduling = run.map(|run| tokio::spawn(task::guarded("monitor", run)));
        Ok(Self {
            id: shared.node.0,
            account,
            redpacket,
            monitor,
            readiness,
            access_log,
            shipper,
            metrics,
            durability,
            opened,
            background,
            scheduling,
            counting,
        })
    }

    /// Stops what runs in the background, in the order in which one needs the other. Called when
    /// no request is under way.
    pub(super) async fn stop(self) {
        self.background.cancel();
        let ended = async {
            // An error would be a panic, which has ended the process already.
            if let Some(scheduling) = self.scheduling {
                let _panicked = scheduling.await.is_err();
            }
            if let Some(redpacket) = &self.redpacket {
                redpacket.stop().await;
            }
            if let Some(counting) = self.counting {
                let _panicked = counting.await.is_err();
            }
        };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!("the background did not end in time; nothing is lost by that");
        }
        if let (Some(log), Some(shipper)) = (self.access_log, self.shipper) {
            ship_the_rest(log, shipper).await;
        }
        self.opened.close().await;
    }
}

/// Starts what runs beside grabs. What is returned saves what they are counted as, each second
/// and when `monitor` asks.
async fn run_beside(
    redpacket: &Arc<Redpacket>,
    monitor: Option<&Arc<Monitor>>,
    plan: &Plan,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let forgets = redpacket.clone().forget_old_wins(stop.clone());
    task::critical("forgetting", forgets);
    if plan.shares_ledger() {
        let follows = redpacket.clone().follow_claims(stop.clone());
        task::critical("following", follows);
    }
    let (saver, counting) = Counting::begin(redpacket.clone()).await?;
    if let Some(monitor) = monitor {
        monitor.reads_counters_of(Arc::new(saver));
    }
    let saves = task::guarded("counting", counting.run(stop.clone()));
    Ok(tokio::spawn(saves))
}

/// Leads and fills the queue. On a ledger that others may have, too, it waits for the lease of
/// a leader that has died.
async fn refill(monitor: &Monitor) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match monitor.refill().await {
            Err(error) if error.another_leads() && begun.elapsed() < LEADS_WITHIN => {
                tokio::time::sleep(LEAD_ASKED_EVERY).await;
            }
            Err(error) if error.another_leads() => anyhow::bail!(
                "another process leads on this ledger, and a queue in memory is for one: set \
                 HONGBAO_QUEUE_URL to redis://… or redis+cluster://…"
            ),
            refilled => return Ok(refilled?),
        }
    }
}

/// What ships the access log, where that is wanted.
async fn shipper_of(
    plan: &Plan,
    settings: &Settings,
) -> anyhow::Result<(Option<Shipper>, Option<Intake>)> {
    let folder = shipping_folder(settings);
    let Some(sls) = &plan.sls else {
        match eventlog::sls::bytes_left(&folder) {
            Ok(0) => {}
            Ok(bytes) => tracing::warn!(
                bytes,
                folder = %folder.display(),
                "a part of the access log waits to be shipped to SLS, and no SLS is set any more: \
                 set it once more, or remove the folder"
            ),
            Err(error) => tracing::warn!(
                %error,
                folder = %folder.display(),
                "cannot tell whether a part of the access log waits to be shipped to SLS"
            ),
        }
        return Ok((None, None));
    };
    let (shipper, intake) = backends::shipper(sls, folder).await?;
    Ok((Some(shipper), Some(intake)))
}

/// The folder of what is not shipped yet.
pub(crate) fn shipping_folder(settings: &Settings) -> PathBuf {
    settings.data_dir().join(SHIPPING_FOLDER)
}

/// Whether a start has failed because the data directory is another process's.
pub(super) fn is_of_another(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StartError::InUse(_)))
}

/// Ships what was recorded, when nothing is recorded any more.
async fn ship_the_rest(log: Arc<AccessLog>, shipper: Shipper) {
    let shipping = tokio::task::spawn_blocking(move || {
        if !log.flush(FLUSH_WITHIN) {
            tracing::warn!("the access log's last lines were not written in time");
        }
        shipper.close(SHIP_WITHIN)
    });
    match shipping.await {
        Ok(stats) if stats.bytes_waiting > 0 => tracing::warn!(
            bytes = stats.bytes_waiting,
            grabs_shipped = stats.grabs_shipped,
            "not all of the log is shipped to SLS; the rest is kept for the next start"
        ),
        Ok(stats) => tracing::info!(
            grabs_shipped = stats.grabs_shipped,
            grabs_lost = stats.grabs_lost,
            "the log is shipped to SLS"
        ),
        Err(error) => tracing::error!(%error, "shipping the last of the log has panicked"),
    }
}

/// Whether the ledger answers.
pub(super) async fn ping(ledger: Arc<dyn Ledger>) -> Result<(), LedgerError> {
    ledger.ping().await
}
