//! What is shown while a run goes on: one live line on a terminal, otherwise one line a second.
//!
//! Everything goes to standard error; standard output belongs to the report.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::{
    tally::{Counts, Latency},
    tapper::Shared,
};
use crate::options::Options;

/// How often the live line is drawn again.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// One line that is drawn again and again, or lines one below the other.
pub(crate) struct Line {
    live: Option<ProgressBar>,
    shown: bool,
}

impl Line {
    pub(crate) fn new(shown: bool) -> Self {
        let terminal = shown && std::io::stderr().is_terminal();
        let live = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .expect("the template is a literal that is known to be right");
            bar.with_style(style)
        });
        Self { live, shown }
    }

    pub(crate) fn every(&self) -> Duration {
        if self.live.is_some() {
            DRAW_EVERY
        } else {
            LINE_EVERY
        }
    }

    pub(crate) fn show(&self, text: String) {
        match &self.live {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None if self.shown => plain(&text),
            None => {}
        }
    }

    /// Shows `text` on a terminal only: steps too quick for a line of their own.
    pub(crate) fn show_live(&self, text: String) {
        if self.live.is_some() {
            self.show(text);
        }
    }

    /// Takes the live line away and leaves `text` in its place.
    pub(crate) fn end(&self, text: &str) {
        if let Some(bar) = &self.live {
            bar.finish_and_clear();
        }
        if self.shown {
            plain(text);
        }
    }
}

fn plain(text: &str) {
    // Whoever closed standard error does not want to be told that it is closed.
    let _closed = writeln!(std::io::stderr().lock(), "{text}").is_err();
}

/// The display of the logins.
pub(crate) struct Logins {
    task: JoinHandle<()>,
    line: Arc<Line>,
    done: Arc<AtomicU32>,
    users: u32,
}

impl Logins {
    pub(crate) fn start(options: &Options, done: Arc<AtomicU32>) -> Self {
        let line = Arc::new(Line::new(options.show_progress));
        let users = options.users;
        let task = {
            let (line, done) = (line.clone(), done.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(line.every()).await;
                    line.show(logins(done.load(Ordering::Relaxed), users));
                }
            })
        };
        Self {
            task,
            line,
            done,
            users,
        }
    }

    pub(crate) fn finish(self) {
        self.task.abort();
        let done = self.done.load(Ordering::Relaxed);
        self.line.end(&logins(done, self.users));
    }
}

fn logins(done: u32, users: u32) -> String {
    format!("users logged in: {} of {users}", done.min(users))
}

/// The display of the taps.
pub(crate) struct Taps {
    task: JoinHandle<()>,
    over: Arc<AtomicBool>,
}

/// Shows the taps of `shared` until [`Taps::finish`].
pub(crate) fn start(shared: &Arc<Shared>) -> Taps {
    let over = Arc::new(AtomicBool::new(false));
    let task = {
        let (shared, over) = (shared.clone(), over.clone());
        tokio::spawn(async move { show(&shared, &over).await })
    };
    Taps { task, over }
}

async fn show(shared: &Shared, over: &AtomicBool) {
    let line = Line::new(shared.options.show_progress);
    let began = Instant::now();
    let mut next = began + line.every();
    while !over.load(Ordering::Relaxed) {
        // Short naps, so that the end does not wait for the next line.
        tokio::time::sleep(DRAW_EVERY.min(line.every())).await;
        if Instant::now() >= next {
            next += line.every();
            let text = describe(
                began.elapsed(),
                &shared.tally.counts(),
                shared.tally.latency(),
            );
            line.show(text);
        }
    }
    line.end(&describe(
        began.elapsed(),
        &shared.tally.counts(),
        shared.tally.latency(),
    ));
}

impl Taps {
    pub(crate) async fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        // The display has nothing to report; should it have panicked, the run is unharmed.
        let _panicked = self.task.await.is_err();
    }
}

fn describe(after: Duration, counts: &Counts, latency: Latency) -> String {
    let mut text = format!(
        "{:>6.1}s  sent {}  answered {}  won {}",
        after.as_secs_f64(),
        counts.arrived - counts.shed,
        counts.answered,
        counts.won,
    );
    let missed = counts.missed.iter().map(|(k, v)| (*k, *v));
    let rejected = counts.rejected.iter().map(|(k, v)| (*k, *v));
    let troubles = [
        ("repeated", counts.repeated),
        ("503", counts.unavailable),
        ("lost", counts.lost),
        ("dropped", counts.dropped),
        ("refused", counts.refused_total()),
        ("unanswered", counts.unanswered),
        ("late", counts.late),
        ("shed", counts.shed),
    ];
    for (name, count) in missed.chain(rejected).chain(troubles) {
        if count > 0 {
            text.push_str(&format!("  {name} {count}"));
        }
    }
    text.push_str(&format!(
        "  p50 {:.1} ms  p99 {:.1} ms",
        latency.p50, latency.p99
    ));
    text
}
