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
    /// There is no room for single lines: what comes is counted.
    folding: bool,
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
        if !held.folding && held.lines.len() + line.len() <= BYTES_MAX {
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
        metrics::counter!("hongbao_sls_grabs_folded_total").increment(weight);
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

    /// All lines that wait, whole ones. What comes after is counted only, if `folding`.
    pub(super) fn take(&self, folding: bool) -> Vec<u8> {
        let mut held = self.held();
        held.folding = folding;
        let mut lines = std::mem::take(&mut held.lines);
        held.take_folded(&mut lines);
        lines
    }

    /// Whether single lines wait.
    pub(super) fn has_lines(&self) -> bool {
        !self.held().lines.is_empty()
    }
}

impl Held {
    fn take_folded(&mut self, lines: &mut Vec<u8>) {
        for (what, Folded { seq, at, weight }) in std::mem::take(&mut self.folded) {
            aggregate_line(lines, (&self.node, seq), at, what, weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn push(intake: &Intake, seq: u64, campaign: u128, weight: u64) {
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        let what = (CampaignId(uuid::Uuid::from_u128(campaign)), Outcome::Won);
        intake.push(&line, seq, Timestamp::default(), what, weight);
    }

    /// Numbers and weights of the lines that are no filling.
    fn folded(lines: &[u8]) -> BTreeSet<(u64, u64)> {
        let lines = lines.split(|&b| b == b'\n').filter(|l| l.starts_with(b"{"));
        let read = |line| {
            let line: Value = serde_json::from_slice(line).expect("JSON");
            assert_eq!(line["node"], "0000000000000009");
            let number = |name: &str| line[name].as_u64().expect("a number");
            (number("seq"), number("weight"))
        };
        lines.map(read).collect()
    }

    #[test]
    fn what_does_not_fit_is_counted_under_the_first_number() {
        let shared = Arc::new(Shared::default());
        let waiting = Arc::new(Waiting::new(shared.clone()));
        let intake = Intake::new(waiting.clone());
        intake.begin(9);
        let fitting = BYTES_MAX as u64 / 1_000;
        for seq in 1..=fitting + 10 {
            push(&intake, seq, u128::from(seq % 2), 3);
        }
        let (first, second) = (fitting + 1, fitting + 2);
        let expected = BTreeSet::from([(first, 15), (second, 15)]);
        assert!(waiting.has_lines());
        let lines = waiting.take(true);
        assert_eq!(folded(&lines), expected);
        assert_eq!(
            lines.iter().filter(|&&b| b == b'x').count() as u64,
            fitting * 999
        );
        // There is no room for single lines behind it: what comes is counted.
        push(&intake, fitting + 11, 1, 4);
        assert!(!waiting.has_lines());
        let lines = waiting.take(false);
        assert_eq!(folded(&lines), BTreeSet::from([(fitting + 11, 4)]));
        push(&intake, fitting + 12, 1, 1);
        assert!(waiting.has_lines());
        assert_eq!(folded(&waiting.take(false)), BTreeSet::new());
        assert_eq!(shared.stats().grabs_folded, 34);
    }

    #[test]
    fn more_campaigns_than_can_be_counted_are_said_to_be_lost() {
        let shared = Arc::new(Shared::default());
        let waiting = Arc::new(Waiting::new(shared.clone()));
        let intake = Intake::new(waiting.clone());
        intake.begin(9);
        let fitting = BYTES_MAX as u64 / 1_000;
        let all = fitting + FOLDED_MAX as u64 + 5;
        for seq in 1..=all {
            push(&intake, seq, u128::from(seq), 2);
        }
        assert_eq!(shared.stats().grabs_lost, 10);
        assert_eq!(folded(&waiting.take(false)).len(), FOLDED_MAX);
    }
}
