//! The access log's lines shipped to the log service (SLS), and their statistics read back.
//!
//! The writer of the access log hands every line over; a thread of its own gathers them into
//! batches, keeps each batch in a folder, and sends it until the service has it. A batch is the
//! same whenever it is sent, and each line has its node and number: what is delivered twice can
//! be told, and the weights of the distinct lines add up to the grabs. When the folder is full,
//! grabs are counted into fewer lines, as the access log itself does; the sums stay exact.
//!
//! Shipping never blocks a grab, nor the writer of the access log. What a killed process had
//! not yet gathered, of its last twentieth of a second, is at most in the access log's file.
//!
//! # Layout
//! - [`Intake`]: where the writer of the access log leaves its lines.
//! - `spool`: batches in memory and in the folder; `record`: their lines as the service keeps
//!   them; `ship`: the thread; `setup`: project, log store and index made when missing.
//! - [`statistics`]: how many grabs ended how, read back.

mod intake;
mod record;
mod setup;
mod ship;
mod spool;
pub mod statistics;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use aliyun::{
    sign::Credentials,
    sls::{Client, OpenError, Patience, Signature},
};
use rules::Clock;

pub use self::intake::Intake;
use self::{intake::Waiting, ship::Ship, spool::Spool};

/// Where lines are shipped to, and the limits.
#[derive(Clone, Debug)]
pub struct ShipperOptions {
    /// `https://<region>.log.aliyuncs.com`, without the project.
    pub endpoint: String,
    /// The project; made when missing.
    pub project: String,
    /// The log store; made with its index when missing.
    pub logstore: String,
    /// As whom.
    pub credentials: Credentials,
    /// How requests are signed.
    pub signature: Signature,
    /// What the service shows as the lines' source, such as the name of this machine.
    pub source: String,
    /// For how many days a log store that is made here keeps its logs.
    pub ttl_days: u32,
    /// The folder for what is not delivered yet. One process at a time.
    pub folder: PathBuf,
    /// The most bytes in that folder.
    pub folder_bytes_max: u64,
    /// The pauses after failures. It is tried for ever, whatever `sends_max` says.
    pub patience: Patience,
}

impl ShipperOptions {
    /// The usual limits for these addresses.
    #[must_use]
    pub fn new(
        endpoint: impl Into<String>,
        project: impl Into<String>,
        logstore: impl Into<String>,
        credentials: Credentials,
        folder: impl Into<PathBuf>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            project: project.into(),
            logstore: logstore.into(),
            credentials,
            signature: Signature::V1,
            source: String::new(),
            ttl_days: 30,
            folder: folder.into(),
            folder_bytes_max: 256 << 20,
            patience: Patience {
                sends_max: u32::MAX,
                first_pause: Duration::from_millis(250),
                pause_max: Duration::from_secs(30),
            },
        }
    }
}

/// Why a shipper cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The endpoint is of another form.
    #[error(transparent)]
    Endpoint(#[from] OpenError),
    /// Another process ships from the folder: two would deliver, and delete, what is the other's.
    #[error("another process ships from {0}; give each a data directory of its own")]
    InUse(PathBuf),
    /// The folder cannot be used, or there is no thread.
    #[error("what waits for SLS cannot be kept in {folder}: {error}")]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Whether a process ships from `folder` now. One that is not there is nobody's.
///
/// # Errors
/// When it cannot be looked at.
pub fn is_in_use(folder: &Path) -> io::Result<bool> {
    spool::is_locked(folder)
}

/// Bytes of lines in `folder` that are not shipped; none where there is no folder.
///
/// # Errors
/// When it cannot be looked at.
pub fn bytes_left(folder: &Path) -> io::Result<u64> {
    spool::bytes_left(folder)
}

/// What the shipper has done so far. Each only grows, but for what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShipperStats {
    /// Lines that the service has taken; one that it took twice counts once.
    pub lines_shipped: u64,
    /// Grabs that these stand for.
    pub grabs_shipped: u64,
    /// Grabs that were counted into fewer lines, because too much was waiting.
    pub grabs_folded: u64,
    /// Grabs that no line stands for any more, as far as is known: the service refused their
    /// batch for good, or it could be neither delivered nor kept. What somebody has deleted or
    /// damaged in the folder is not known, and only logged.
    pub grabs_lost: u64,
    /// Attempts to deliver a batch that failed.
    pub failures: u64,
    /// Bytes that wait.
    pub bytes_waiting: u64,
}

/// What the threads have in common.
#[derive(Debug, Default)]
struct Shared {
    lines_shipped: AtomicU64,
    grabs_shipped: AtomicU64,
    grabs_folded: AtomicU64,
    grabs_lost: AtomicU64,
    failures: AtomicU64,
    bytes_waiting: AtomicU64,
    /// No more lines come.
    closing: AtomicBool,
    /// No more batches are sent.
    ended: AtomicBool,
}

/// A running shipper. Dropping it ends its thread after the call it is in; what is not
/// delivered stays in the folder, for the next start.
#[derive(Debug)]
pub struct Shipper {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    thread: Option<thread::JoinHandle<()>>,
}

impl Shipper {
    /// Starts shipping what is in the folder, and what comes through the intake.
    ///
    /// # Errors
    /// When the endpoint is of another form, the folder cannot be used or is another process's,
    /// or the thread cannot be started. The service need not be there.
    pub fn start(
        options: ShipperOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Intake), StartError> {
        let folder = options.folder.clone();
        let unusable = |error: io::Error| match error.kind() {
            io::ErrorKind::ResourceBusy => StartError::InUse(folder),
            _ => StartError::Folder { folder, error },
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let spool = Spool::open(&options.folder, options.folder_bytes_max);
        let (runtime, spool) = match (runtime, spool) {
            (Ok(runtime), Ok(spool)) => (runtime, spool),
            (Err(error), _) | (_, Err(error)) => return Err(unusable(error)),
        };
        let shared = Arc::new(Shared::default());
        let waiting = Arc::new(Waiting::new(shared.clone()));
        let client = {
            let _entered = runtime.enter();
            let once = Patience {
                sends_max: 1,
                ..options.patience
            };
            Client::open(
                &options.endpoint,
                &options.project,
                options.credentials.clone(),
                options.signature.clone(),
                clock.clone(),
                once,
            )?
        };
        let ship = Ship::new(options, client, clock, shared.clone(), waiting.clone());
        let thread = thread::Builder::new()
            .name("sls-shipper".into())
            .spawn(move || runtime.block_on(ship.run(spool)))
            .map_err(unusable)?;
        let shipper = Self {
            shared,
            thread: Some(thread),
        };
        Ok((shipper, Intake::new(waiting)))
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ShipperStats {
        self.shared.stats()
    }

    /// Takes the last lines, tries for at most `patience` to deliver what waits, keeps the rest
    /// in the folder, and says what was done in all. Close the access log before.
    pub fn close(mut self, patience: Duration) -> ShipperStats {
        self.shared.closing.store(true, Relaxed);
        let until = std::time::Instant::now() + patience;
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && std::time::Instant::now() < until {
                thread::park_timeout(Duration::from_millis(10));
            }
            self.end(thread);
        }
        self.shared.stats()
    }

    fn end(&self, thread: thread::JoinHandle<()>) {
        self.shared.closing.store(true, Relaxed);
        self.shared.ended.store(true, Relaxed);
        if thread.join().is_err() {
            tracing::error!("the thread that ships to SLS has panicked; its folder keeps the rest");
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.end(thread);
        }
    }
}

impl Shared {
    fn stats(&self) -> ShipperStats {
        ShipperStats {
            lines_shipped: self.lines_shipped.load(Relaxed),
            grabs_shipped: self.grabs_shipped.load(Relaxed),
            grabs_folded: self.grabs_folded.load(Relaxed),
            grabs_lost: self.grabs_lost.load(Relaxed),
            failures: self.failures.load(Relaxed),
            bytes_waiting: self.bytes_waiting.load(Relaxed),
        }
    }

    fn lost(&self, grabs: u64) {
        self.grabs_lost.fetch_add(grabs, Relaxed);
        metrics::counter!("hongbao_sls_grabs_lost_total").increment(grabs);
    }
}
