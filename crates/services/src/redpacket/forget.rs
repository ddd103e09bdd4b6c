//! Campaigns that have been closed for a while leave memory, all but their heads; whoever asks for
//! a win of one then gets a look into the ledger. A process that has served many campaigns would
//! otherwise hold all their winners.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Redpacket, winners::lock};

/// How long after its close a campaign's winners still come back in numbers.
const KEPT_AFTER_CLOSE: Duration = Duration::from_secs(600);
/// How often such campaigns are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Redpacket {
    /// Forgets old campaigns' wins until `stop`.
    pub async fn forget_old_wins(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.forget_wins(KEPT_AFTER_CLOSE);
        }
    }

    /// Forgets the wins of campaigns that closed longer than `kept_for` ago (ledger time). Grabs
    /// under way keep what they have begun with.
    pub(super) fn forget_wins(&self, kept_for: Duration) {
        let now = self.ledger.now();
        // So that no change goes to a rain that is being replaced.
        let _no_change = lock(&self.changing);
        let rains = self.rains.load_full();
        let is_old = |closed_at| {
            let micros = u64::try_from(now.since(closed_at)).unwrap_or(0);
            Duration::from_micros(micros) >= kept_for
        };
        let old = rains.values().filter(|rain| {
            rain.wins_loaded() && rain.view().campaign.closed_at.is_some_and(is_old)
        });
        let anew: Vec<_> = old.map(|rain| (rain.id, Arc::new(rain.anew()))).collect();
        if anew.is_empty() {
            return;
        }
        tracing::debug!(
            campaigns = anew.len(),
            "the wins of closed campaigns left memory"
        );
        let mut all = HashMap::clone(&rains);
        all.extend(anew);
        self.rains.store(Arc::new(all));
    }
}
