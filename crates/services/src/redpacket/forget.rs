//! Wins of campaigns that have been closed for a while leave memory; whoever asks for one then
//! gets a look into the ledger. A process that has served many campaigns would otherwise hold
//! all their winners.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::Redpacket;

/// How long after its close a campaign's winners still come back in numbers.
const KEPT_AFTER_CLOSE: Duration = Duration::from_secs(600);
/// How often such campaigns are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Redpacket {
    /// Forgets old wins until `stop`.
    pub async fn forget_old_wins(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.forget_wins(KEPT_AFTER_CLOSE);
        }
    }

    /// Forgets the wins of campaigns that closed longer than `kept_for` ago (ledger time).
    pub(super) fn forget_wins(&self, kept_for: Duration) {
        let now = self.ledger.now();
        for rain in self.rains.load().values() {
            let closed_at = rain.view().campaign.closed_at;
            let since = closed_at.map(|at| u64::try_from(now.since(at)).unwrap_or(0));
            let is_old = since.is_some_and(|micros| Duration::from_micros(micros) >= kept_for);
            if is_old && rain.wins_loaded() {
                // In this order: whoever finds no win finds also that they are not all here.
                rain.wins_loaded.store(false, Ordering::Release);
                rain.winners.forget();
                tracing::debug!(campaign = %rain.id, "the wins of a closed campaign left memory");
            }
        }
    }
}
