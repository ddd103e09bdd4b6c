//! The access log: a JSON line for each grab, or one for many grabs alike.
//!
//! Wins, repeats, 503s and rejections get a line each; misses do up to a rate, and above it
//! each second brings one line for each campaign and reason, with their exact number. When
//! lines cannot be written as fast as they come, or not at all, any grab is counted into such
//! lines instead. So the sum of the weights is the number of grabs, and only a disk that fails
//! until the end loses any, which is counted.
//!
//! Recording never blocks and never fails: it costs one look at an atomic for a miss above the
//! rate, and a bounded channel's `try_send` for a line. One thread builds and writes the lines.
//!
//! A line's fields, in this order, those that do not apply left out: `time`, `node`, `seq`,
//! `weight`, `campaign`, `user`, `outcome`, `reason`, `packet`, `amount`, `grab_id`, `ip`,
//! `latency_micros`, `aggregated`, `count`. `node` is the epoch of the node that counted and
//! `seq` counts its lines, so that a collector can tell a repeated delivery from a new line;
//! `weight` is how many grabs the line stands for.

mod aggregates;
mod files;
pub(crate) mod line;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{
            AtomicI64, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rules::{CampaignId, Clock, Fen, GrabId, Outcome, PacketId, Timestamp, UserId};

use self::{aggregates::Aggregates, files::LogFiles, line::Entry, writer::Writer};
use crate::sls::Intake;

/// Where the access log is written, and its limits.
#[derive(Clone, Debug)]
pub struct AccessLogOptions {
    /// The file being written. Full ones stand beside it as `<path>.<number>`; the higher the
    /// number, the newer.
    pub path: PathBuf,
    /// The most bytes in one file; at least [`FILE_BYTES_MIN`], to which a lower wish is raised.
    pub max_file_bytes: u64,
    /// The most files, the one being written included; at least 1.
    pub max_files: usize,
    /// No line is kept for longer than this.
    pub max_age: Duration,
    /// The most misses that get a line each, per second. 0: none do.
    pub misses_per_second_max: u32,
    /// The most lines that may wait for the writer; further grabs are counted into aggregates.
    pub waiting_lines_max: usize,
}

impl Default for AccessLogOptions {
    fn default() -> Self {
        Self {
            path: PathBuf::from("redpacket_access.log"),
            max_file_bytes: 64 << 20,
            max_files: 10,
            max_age: Duration::from_secs(30 * 86_400),
            misses_per_second_max: 1_000,
            waiting_lines_max: 16_384,
        }
    }
}

/// The least that a file's limit can be, in bytes: several lines fit into it.
pub const FILE_BYTES_MIN: u64 = 4_096;

/// How often a flush looks whether it is done.
const FLUSH_LOOK_EVERY: Duration = Duration::from_millis(5);

/// What became of one grab.
#[derive(Clone, Copy, Debug)]
pub struct Grab<'a> {
    /// When it was asked.
    pub at: Timestamp,
    /// The campaign.
    pub campaign: CampaignId,
    /// Who grabbed.
    pub user: &'a UserId,
    /// How it ended.
    pub outcome: Outcome,
    /// What was won, now or before.
    pub packet: Option<PacketId>,
    /// What it holds.
    pub amount: Option<Fen>,
    /// The tap.
    pub grab_id: Option<GrabId>,
    /// Where it came from.
    pub ip: Option<IpAddr>,
    /// How long the answer took, in µs.
    pub latency_micros: u64,
}

/// What the access log has done so far. Each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLogStats {
    /// Lines in the file, aggregates included.
    pub lines_written: u64,
    /// Grabs that were counted into an aggregate instead of getting a line.
    pub grabs_aggregated: u64,
    /// Grabs that no line in the file stands for, because the disk failed until the end.
    pub grabs_dropped: u64,
    /// Failed attempts to write, rotate or delete.
    pub write_errors: u64,
}

/// An open access log. Dropping it writes all that waits and ends its thread.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    /// `None` only while it is dropped; the writer ends when the sender is gone.
    to_writer: Option<SyncSender<Entry>>,
    /// `None` only while it is dropped.
    writer: Option<thread::JoinHandle<()>>,
}

/// What the recording threads and the writer have in common.
#[derive(Debug)]
struct Shared {
    allowance: Allowance,
    aggregates: Aggregates,
    lines_written: AtomicU64,
    grabs_aggregated: AtomicU64,
    grabs_dropped: AtomicU64,
    write_errors: AtomicU64,
    /// How often a flush was asked for, and up to which ask it is done.
    flush_asked: AtomicU64,
    flush_done: AtomicU64,
}

/// How many more misses get a line each in this second. On cache lines of its own: when it is
/// used up, every miss reads it and nobody writes it.
#[derive(Debug)]
#[repr(align(128))]
struct Allowance(AtomicI64);

impl Allowance {
    fn take_one(&self) -> bool {
        // Threads that race past the look push it a little below zero, and are refused.
        self.0.load(Relaxed) > 0 && self.0.fetch_sub(1, Relaxed) > 0
    }

    fn refill(&self, misses: u32) {
        self.0.store(i64::from(misses), Relaxed);
    }
}

impl Shared {
    fn stats(&self) -> AccessLogStats {
        AccessLogStats {
            lines_written: self.lines_written.load(Relaxed),
            grabs_aggregated: self.grabs_aggregated.load(Relaxed),
            grabs_dropped: self.grabs_dropped.load(Relaxed),
            write_errors: self.write_errors.load(Relaxed),
        }
    }
}

impl AccessLog {
    /// Opens or makes the file (mode 0640, missing folders included) and starts the writer.
    /// `node` is the epoch of this node, another at each start; `clock` gives the time of
    /// aggregates and the age of files.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or the thread cannot be started.
    pub fn open(options: AccessLogOptions, node: u64, clock: Arc<dyn Clock>) -> io::Result<Self> {
        Self::open_shipped(options, node, clock, None)
    }

    /// The same, and every line is also shipped through `intake`. Close the log before the
    /// shipper, so that it gets the last lines.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or the thread cannot be started.
    pub fn open_shipped(
        options: AccessLogOptions,
        node: u64,
        clock: Arc<dyn Clock>,
        intake: Option<Intake>,
    ) -> io::Result<Self> {
        let intake = intake.inspect(|intake| intake.begin(node));
        let shared = Arc::new(Shared {
            allowance: Allowance(AtomicI64::new(options.misses_per_second_max.into())),
            aggregates: Aggregates::new(),
            lines_written: AtomicU64::new(0),
            grabs_aggregated: AtomicU64::new(0),
            grabs_dropped: AtomicU64::new(0),
            write_errors: AtomicU64::new(0),
            flush_asked: AtomicU64::new(0),
            flush_done: AtomicU64::new(0),
        });
        let files = LogFiles::open(&options, clock.now())?;
        let (to_writer, entries) = sync_channel(options.waiting_lines_max);
        let misses_per_second_max = options.misses_per_second_max;
        let writer = Writer::new(
            entries,
            shared.clone(),
            files,
            clock,
            node,
            misses_per_second_max,
            intake,
        );
        let writer = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            to_writer: Some(to_writer),
            writer: Some(writer),
        })
    }

    /// Takes note of a grab. Never blocks and never fails.
    pub fn record(&self, grab: &Grab<'_>) {
        let single = match grab.outcome {
            Outcome::Missed(_) => self.shared.allowance.take_one(),
            Outcome::Won | Outcome::Repeated | Outcome::Unavailable | Outcome::Rejected(_) => true,
        };
        let sent = single
            && self
                .to_writer
                .as_ref()
                .is_some_and(|writer| writer.try_send(Entry::from(grab)).is_ok());
        if !sent {
            self.shared
                .aggregates
                .count(grab.campaign, grab.outcome, grab.latency_micros);
        }
    }

    /// What was done so far. Of the latest grabs, up to a second may be missing.
    #[must_use]
    pub fn stats(&self) -> AccessLogStats {
        self.shared.stats()
    }

    /// Returns when every grab that was recorded before this call has its line in the file, unless
    /// the disk fails, and with the shipper; or when `within` is over, and then says false. Blocks
    /// its thread: not for the path of a grab.
    pub fn flush(&self, within: Duration) -> bool {
        let asked = self.shared.flush_asked.fetch_add(1, Release) + 1;
        let until = Instant::now() + within;
        while self.shared.flush_done.load(Acquire) < asked {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(FLUSH_LOOK_EVERY);
        }
        true
    }

    /// Writes all that waits, and says what was done in all. Takes as long as the disk does.
    pub fn close(self) -> AccessLogStats {
        let shared = self.shared.clone();
        drop(self);
        shared.stats()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        drop(self.to_writer.take());
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            if writer.join().is_err() {
                tracing::error!("the access log's writer has panicked; its last lines are lost");
            }
        }
    }
}
