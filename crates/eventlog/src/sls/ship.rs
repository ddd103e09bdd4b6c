//! The thread that gathers lines into batches and delivers them, oldest first.
//!
//! Gathering goes on while a call is under way, so that lines leave the intake in time. Which
//! batches are sent again, and which are given up, is decided here and nowhere else.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use aliyun::sls::{Client, SlsError, model::PackedGroup, proto::LogGroup};
use rules::Clock;

use super::{
    Shared, ShipperOptions,
    intake::Waiting,
    record,
    setup::{is_missing, set_up},
    spool::Spool,
};

/// How often lines are gathered: what a killed process can lose.
const GATHER_EVERY: Duration = Duration::from_millis(50);
/// How often counted grabs are gathered while the folder has no room for lines.
const FOLDED_EVERY: Duration = Duration::from_secs(60);
/// How often a batch to deliver is looked for.
const TICK: Duration = Duration::from_millis(250);
/// The same while the shipper is being closed.
const TICK_CLOSING: Duration = Duration::from_millis(10);
/// The topic of all lines.
const TOPIC: &str = "redpacket_access";

/// What the thread works with.
pub(super) struct Ship {
    options: ShipperOptions,
    client: Client,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    waiting: Arc<Waiting>,
    /// When counted grabs were last gathered without lines.
    folded_at: Cell<Instant>,
}

/// A batch ready to be sent.
struct Packed {
    group: PackedGroup,
    lines: u64,
    grabs: u64,
}

/// Why a batch was not taken.
enum Refused {
    /// It may be later.
    Now(SlsError),
    /// It never will be.
    ForGood {
        error: SlsError,
        /// What it stands for.
        grabs: u64,
    },
}

impl Ship {
    pub(super) fn new(
        options: ShipperOptions,
        client: Client,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        waiting: Arc<Waiting>,
    ) -> Self {
        Self {
            options,
            client,
            clock,
            shared,
            waiting,
            folded_at: Cell::new(Instant::now()),
        }
    }

    /// Ships until it is told to end, or to close and nothing waits any more.
    pub(super) async fn run(self, spool: Spool) {
        begin_metrics();
        let spool = RefCell::new(spool);
        tokio::select! {
            () = self.gather_for_ever(&spool) => {}
            () = self.deliver(&spool) => {}
            () = self.until(|shared| shared.ended.load(Relaxed)) => {}
        }
        let mut spool = spool.into_inner();
        // Room or not: what is not taken now is gone.
        spool.add(&self.waiting.take(false), Instant::now());
        let unkept = spool.keep();
        let grabs: u64 = unkept.iter().map(|lines| self.pack(lines).grabs).sum();
        if grabs > 0 {
            tracing::error!(grabs, "grabs were neither shipped to SLS nor kept on disk");
            self.shared.lost(grabs);
        }
        self.shared.bytes_waiting.store(spool.bytes(), Relaxed);
    }

    fn closing(&self) -> bool {
        self.shared.closing.load(Relaxed)
    }

    fn tick(&self) -> Duration {
        if self.closing() { TICK_CLOSING } else { TICK }
    }

    async fn until(&self, met: impl Fn(&Shared) -> bool) {
        while !met(&self.shared) {
            tokio::time::sleep(TICK_CLOSING).await;
        }
    }

    async fn gather_for_ever(&self, spool: &RefCell<Spool>) {
        loop {
            self.gather(&mut spool.borrow_mut());
            tokio::time::sleep(self.tick().min(GATHER_EVERY)).await;
        }
    }

    fn gather(&self, spool: &mut Spool) {
        let now = Instant::now();
        let folded_before = self.folded_at.get();
        if spool.has_room() {
            spool.add(&self.waiting.take(false), now);
        } else if spool.has_reserve() {
            // The single lines that came before there was no room, at once; then counts only.
            let due = now.duration_since(folded_before) >= FOLDED_EVERY;
            if due || self.waiting.has_lines() {
                spool.add(&self.waiting.take(true), now);
                self.folded_at.set(now);
            }
        }
        spool.close_batch(now, self.closing());
        let bytes = spool.bytes();
        self.shared.bytes_waiting.store(bytes, Relaxed);
        metrics::gauge!("hongbao_sls_waiting_bytes").set(bytes as f64);
    }

    /// Delivers batches until the shipper is closing and there are none.
    async fn deliver(&self, spool: &RefCell<Spool>) {
        let mut ready = false;
        let mut failures = 0;
        loop {
            let first = spool.borrow_mut().first();
            let Some(lines) = first else {
                if self.closing() {
                    // What came last may not be gathered yet.
                    self.gather(&mut spool.borrow_mut());
                    if spool.borrow().is_empty() {
                        return;
                    }
                }
                tokio::time::sleep(self.tick()).await;
                continue;
            };
            match self.send(&lines, &mut ready).await {
                Ok(packed) if packed.lines == 0 => {
                    let bytes = lines.len();
                    tracing::warn!(bytes, "a batch for SLS cannot be read from disk");
                    spool.borrow_mut().remove_first();
                }
                Ok(packed) => {
                    if failures > 0 {
                        tracing::info!(failures, "SLS takes the log again");
                    }
                    failures = 0;
                    spool.borrow_mut().remove_first();
                    self.shared.lines_shipped.fetch_add(packed.lines, Relaxed);
                    metrics::counter!("hongbao_sls_lines_shipped_total").increment(packed.lines);
                    self.shared.grabs_shipped.fetch_add(packed.grabs, Relaxed);
                    metrics::counter!("hongbao_sls_grabs_shipped_total").increment(packed.grabs);
                }
                Err(Refused::ForGood { error, grabs }) => {
                    // Sending it again would keep all others from being sent.
                    tracing::error!(%error, grabs, "SLS refuses a batch for good");
                    spool.borrow_mut().remove_first();
                    self.shared.lost(grabs);
                }
                Err(Refused::Now(error)) => {
                    failures += 1;
                    self.shared.failures.fetch_add(1, Relaxed);
                    metrics::counter!("hongbao_sls_failures_total").increment(1);
                    let throttled = error.is_throttled();
                    let pause = self.options.patience.pause(failures, throttled);
                    if failures == 1 {
                        tracing::warn!(%error, "SLS does not take the log; what is to be shipped waits");
                    }
                    if error.status() == Some(400) {
                        // It may be this batch alone that the service would not have.
                        spool.borrow_mut().set_first_aside();
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// As it is sent now, dated by the service's clock; damaged lines are left out.
    fn pack(&self, lines: &[u8]) -> Packed {
        let now = self.clock.now().plus_micros(self.client.ahead_micros());
        let mut group = LogGroup {
            topic: Some(TOPIC.to_owned()),
            source: Some(self.options.source.clone()),
            ..LogGroup::default()
        };
        let mut grabs = 0;
        // The end of the last batch of a process that was killed may be torn.
        for line in lines.split(|&byte| byte == b'\n') {
            if let Some(record) = record::read(line, now) {
                grabs += record.weight;
                group.logs.push(record.log);
            }
        }
        Packed {
            lines: group.logs.len() as u64,
            grabs,
            group: PackedGroup::new(&group),
        }
    }

    /// Sends a batch once, after what is missing was made. One that is damaged as a whole has no
    /// lines, and nothing is sent.
    async fn send(&self, lines: &[u8], ready: &mut bool) -> Result<Packed, Refused> {
        if !*ready {
            match set_up(&self.client, &self.options).await {
                Ok(()) => {}
                Err(error) if error.may_pass() || is_missing(&error) => {
                    return Err(Refused::Now(error));
                }
                Err(error) => {
                    // These keys may be allowed to write and nothing else.
                    tracing::warn!(%error, "the SLS log store cannot be looked at; writing to it all the same");
                }
            }
            *ready = true;
        }
        let dated_by = self.client.ahead_micros();
        let packed = self.pack(lines);
        if packed.lines == 0 {
            return Ok(packed);
        }
        let sent = self
            .client
            .put_packed(&self.options.logstore, &packed.group);
        let Err(error) = sent.await else {
            return Ok(packed);
        };
        if is_missing(&error) {
            *ready = false;
        }
        // What the service has just said of its clock may have made the dates wrong that it
        // refuses; with the next try they follow that clock.
        let well_dated = self.client.ahead_micros() == dated_by;
        if is_refused_for_good(&error) && well_dated {
            let grabs = packed.grabs;
            return Err(Refused::ForGood { error, grabs });
        }
        Err(Refused::Now(error))
    }
}

/// What is counted is there from the start: a counter that is missing says nothing.
fn begin_metrics() {
    for name in [
        "hongbao_sls_lines_shipped_total",
        "hongbao_sls_grabs_shipped_total",
        "hongbao_sls_grabs_folded_total",
        "hongbao_sls_grabs_lost_total",
        "hongbao_sls_failures_total",
    ] {
        metrics::counter!(name).increment(0);
    }
}

/// Whether a batch itself is at fault, so that no other time or setting would help.
fn is_refused_for_good(error: &SlsError) -> bool {
    let codes = [
        "PostBodyInvalid",
        "PostBodyTooLarge",
        "PostBodyUncompressError",
    ];
    matches!(error, SlsError::NotSent(_)) || codes.iter().any(|code| error.is(code))
}
