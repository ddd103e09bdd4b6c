//! The one thread that builds the lines and writes them.
//!
//! It looks for work at short intervals instead of being woken, so that recording a grab never
//! costs a call to the kernel. What it cannot write it keeps, up to a limit, and beyond that it
//! counts into the aggregates, which take no more memory however many grabs come.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc::{Receiver, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use rules::{CampaignId, Clock, Outcome, Timestamp};

use super::{
    Shared,
    files::LogFiles,
    line::{Entry, Lines},
};
use crate::sls::Intake;

/// The pause after a round that found lines.
const PAUSE_BUSY: Duration = Duration::from_millis(20);
/// The pause after a round that found none.
const PAUSE_IDLE: Duration = Duration::from_millis(100);
/// How often aggregates are written and the misses' allowance is refilled.
const AGGREGATE_EVERY: Duration = Duration::from_secs(1);
/// How often files are looked after for their age.
const TEND_EVERY: Duration = Duration::from_secs(60);
/// The pause after a failed write.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Lines are written when there are so many bytes of them, or at the end of a round.
const WRITE_BYTES: usize = 256 << 10;
/// The most bytes of lines that are kept while the disk fails.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The most lines built in one round, so that the aggregates get their turn.
const ROUND_LINES_MAX: usize = 16_384;

/// Lines that are built and not yet written.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// The weight of each line, in their order.
    weights: VecDeque<u64>,
}

/// What a round found in the channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Some,
    /// More than one round takes.
    More,
    /// Everything: the log is being closed and the channel is empty.
    End,
}

/// Owns the files and all that is on its way into them.
pub(super) struct Writer {
    entries: Receiver<Entry>,
    shared: Arc<Shared>,
    files: LogFiles,
    clock: Arc<dyn Clock>,
    misses_per_second_max: u32,
    lines: Lines,
    kept: Kept,
    /// Takes a copy of every line, whatever becomes of the file.
    intake: Option<Intake>,
    /// The disk fails: the next try is not before this.
    retry_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        entries: Receiver<Entry>,
        shared: Arc<Shared>,
        files: LogFiles,
        clock: Arc<dyn Clock>,
        node: u64,
        misses_per_second_max: u32,
        intake: Option<Intake>,
    ) -> Self {
        Self {
            entries,
            shared,
            files,
            clock,
            misses_per_second_max,
            lines: Lines::new(node),
            kept: Kept::default(),
            intake,
            retry_at: None,
        }
    }

    /// Writes until the log is closed and all is written.
    pub(super) fn run(mut self) {
        let mut aggregate_at = Instant::now() + AGGREGATE_EVERY;
        let mut tend_at = Instant::now() + TEND_EVERY;
        let mut flushed = 0;
        loop {
            // Before the channel is emptied: what was recorded before the ask is in it.
            let flush = self.shared.flush_asked.load(Acquire);
            let found = self.build_lines();
            if found == Found::End {
                return self.finish();
            }
            let now = Instant::now();
            if now >= aggregate_at {
                aggregate_at = now + AGGREGATE_EVERY;
                self.shared.allowance.refill(self.misses_per_second_max);
                if self.has_room() {
                    self.build_aggregates();
                }
            }
            let flushing = flush > flushed && found != Found::More;
            if flushing {
                self.build_aggregates();
            }
            self.write();
            if flushing {
                flushed = flush;
                self.shared.flush_done.store(flush, Release);
            }
            if now >= tend_at {
                tend_at = now + TEND_EVERY;
                self.tend();
            }
            match found {
                Found::More => {}
                Found::Some => thread::park_timeout(PAUSE_BUSY),
                Found::Nothing | Found::End => thread::park_timeout(PAUSE_IDLE),
            }
        }
    }

    fn has_room(&self) -> bool {
        self.kept.bytes.len() < KEPT_BYTES_MAX
    }

    /// Builds a line for each waiting grab; while there is no room for lines, counts it.
    fn build_lines(&mut self) -> Found {
        for built in 0..ROUND_LINES_MAX {
            match self.entries.try_recv() {
                Ok(entry) if self.has_room() => {
                    let from = self.kept.bytes.len();
                    self.lines.single(&mut self.kept.bytes, &entry);
                    self.keep(from, entry.at, (entry.campaign, entry.outcome), 1);
                    if self.kept.bytes.len() >= WRITE_BYTES {
                        self.write();
                    }
                }
                Ok(entry) => {
                    let Entry {
                        campaign, outcome, ..
                    } = entry;
                    self.shared
                        .aggregates
                        .count(campaign, outcome, entry.latency_micros);
                }
                Err(TryRecvError::Empty) if built == 0 => return Found::Nothing,
                Err(TryRecvError::Empty) => return Found::Some,
                Err(TryRecvError::Disconnected) => return Found::End,
            }
        }
        Found::More
    }

    /// Builds a line for each campaign and outcome that was counted.
    fn build_aggregates(&mut self) {
        let at = self.clock.now();
        for (campaign, tally) in self.shared.aggregates.take() {
            for outcome in Outcome::all() {
                let count = tally.outcomes[outcome.slot()];
                if count > 0 {
                    let out = &mut self.kept.bytes;
                    let from = out.len();
                    self.lines.aggregate(out, at, campaign, outcome, count);
                    self.keep(from, at, (campaign, outcome), count);
                    self.shared.grabs_aggregated.fetch_add(count, Relaxed);
                }
            }
        }
    }

    /// Takes note of the line that was built from `from` on, and has it shipped.
    fn keep(&mut self, from: usize, at: Timestamp, what: (CampaignId, Outcome), weight: u64) {
        self.kept.weights.push_back(weight);
        if let Some(intake) = &self.intake {
            let line = &self.kept.bytes[from..];
            intake.push(line, self.lines.seq(), at, what, weight);
        }
    }

    /// Writes what is kept, unless the disk has just failed.
    fn write(&mut self) {
        if self.kept.bytes.is_empty() || self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let (bytes, result) = self.files.append(&self.kept.bytes, self.clock.now());
        let lines = self.kept.drop_written(bytes);
        self.shared.lines_written.fetch_add(lines, Relaxed);
        match result {
            Ok(()) => {
                if self.retry_at.take().is_some() {
                    tracing::info!("the access log is written again");
                }
            }
            Err(error) => {
                count_one(&self.shared.write_errors);
                if self.retry_at.is_none() {
                    tracing::warn!(%error, "the access log cannot be written; trying again each second");
                }
                self.retry_at = Some(Instant::now() + RETRY_AFTER);
            }
        }
    }

    fn tend(&mut self) {
        if let Err(error) = self.files.tend(self.clock.now()) {
            count_one(&self.shared.write_errors);
            tracing::warn!(%error, "old files of the access log cannot be looked after");
        }
    }

    /// Writes all there is, once; what the disk refuses now is lost, and counted.
    fn finish(mut self) {
        self.build_aggregates();
        self.retry_at = None;
        self.write();
        let lost: u64 = self.kept.weights.iter().sum();
        if lost > 0 {
            self.shared.grabs_dropped.fetch_add(lost, Relaxed);
            tracing::error!(
                grabs = lost,
                "the access log was closed with grabs unwritten"
            );
        }
    }
}

impl Kept {
    /// Forgets the first `bytes` bytes, which are whole lines, and says how many lines.
    fn drop_written(&mut self, bytes: usize) -> u64 {
        let lines = self.bytes[..bytes].iter().filter(|&&b| b == b'\n').count();
        self.bytes.drain(..bytes);
        self.weights.drain(..lines);
        lines as u64
    }
}

fn count_one(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
