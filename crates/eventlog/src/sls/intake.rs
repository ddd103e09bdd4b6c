//! Where the writer of the access log leaves its lines for the shipper.
//!
//! It holds so many bytes and no more. Further grabs are counted by campaign and outcome, and
//! become one line each when there is room again. Such a line takes the number of the first
//! line it stands for: that one is shipped nowhere else, so the number stays its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use rules::{CampaignId, Outcome, Timestamp};

use super::Shared;
use crate::access_log::line::{aggregate_line, node_shown};

/// The most bytes of lines that wait to be gathered.
const BYTES_MAX: usize = 1 << 20;
/// The most pairs of campaign and outcome that are counted.
const FOLDED_MAX: usize = 4_096;

/// The end of the shipper that the access log holds. It cannot be copied: the numbers of two
/// logs would be mixed up.
#[derive(Debug)]
pub struct Intake(Arc<Waiting>);

/// What waits to be gathered.
#[derive(Debug)]
pub(super) struct Waiting {
    shared: Arc<Shared>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// The node whose lines these are, as they show it.
    node: String,
    /// Whole lines.
    lines: Vec<u8>,
    folded: HashMap<(CampaignId, Outcome), Folded>,
}

/// Grabs alike that are counted.
#[derive(Debug)]
struct Folded {
    /// The number of the first line among them.
    seq: u64,
    /// When the last of them was.
    at: Timestamp,
    weight: u64,
}

impl Intake {
    pub(super) const fn new(waiting: Arc<Waiting>) -> Self {
        Self(waiting)
    }

    /// The lines to come are this node's.
    pub(crate) fn begin(&self, node: u64) {
        self.0.held().node = node_shown(node);
    }

    /// Takes a line, its number and what it stands for. Never blocks for long, never fails.
    pub(crate) fn push(
        &self,
        line: &[u8],
        seq: u64,
        at: Timestamp,
        what: (CampaignId, Outcome),
        weight: u64,
    ) {
        let mut held = self.0.held();
        if held.lines.len() + line.len() <= BYTES_MAX {
            held.lines.extend_from_slice(line);
            return;
        }
        let full = held.folded.len() >= FOLDED_MAX && !held.folded.contains_key(&what);
        if full {
            self.0.shared.lost(weight);
            return;
        }
        let folded = held
            .folded
            .entry(what)
            .or_insert(Folded { seq, at, weight: 0 });
        folded.at = at;
        folded.weight += weight;
        self.0.shared.grabs_folded.fetch_add(weight, Relaxed);
    }
}

impl Waiting {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines that wait, whole ones.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut held = self.held();
        let mut lines = std::mem::take(&mut held.lines);
        let folded = std::mem::take(&mut held.folded);
        for (what, Folded { seq, at, weight }) in folded {
            aggregate_line(&mut lines, (&held.node, seq), at, what, weight);
        }
        lines
    }
}
