//! The ids of the imported users, in memory, so that no verdict asks the ledger.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ledger::{Ledger, LedgerError};
use rules::UserId;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the ledger is asked whether their number has changed.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How often all are read again regardless, because one added and one removed keep the number:
/// so many seconds, and one more for each so many users.
const READ_ALL_EVERY: Duration = Duration::from_secs(1);
const USERS_PER_SECOND: u64 = 5_000;

/// The imported users, as of the last read; at first nobody, so [`Self::read`] comes before the
/// process is ready.
#[derive(Default)]
pub struct Registered {
    ids: ArcSwap<HashSet<UserId>>,
    count: AtomicU64,
    /// Reads one at a time, so that an older answer never overwrites a newer one.
    reading: Mutex<()>,
}

impl Registered {
    /// Whether `user` was imported.
    #[must_use]
    pub fn contains(&self, user: &UserId) -> bool {
        self.ids.load().contains(user)
    }

    /// Reads all ids. To be called after each change made by this process, too.
    ///
    /// # Errors
    /// When the ledger does not answer; what was read before stays in force.
    pub async fn read(&self, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        let _one_at_a_time = self.reading.lock().await;
        self.read_locked(ledger).await
    }

    /// Reads all ids unless `user`, who is known to be imported, is among those read before.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub(super) async fn ensure(
        &self,
        user: &UserId,
        ledger: &dyn Ledger,
    ) -> Result<(), LedgerError> {
        if self.contains(user) {
            return Ok(());
        }
        // Of many that wait here the first reads for all.
        let _one_at_a_time = self.reading.lock().await;
        if self.contains(user) {
            return Ok(());
        }
        self.read_locked(ledger).await
    }

    async fn read_locked(&self, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        let ids = ledger.all_user_ids().await?;
        let ids: HashSet<_> = ids.into_iter().collect();
        self.count.store(ids.len() as u64, Ordering::Relaxed);
        self.ids.store(Arc::new(ids));
        Ok(())
    }

    /// Follows the changes made by other processes until `stop`.
    pub async fn follow(self: Arc<Self>, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
        let mut read_at = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
            let followed = async {
                let known = self.count.load(Ordering::Relaxed);
                let changed = ledger.users_count().await? != known;
                let read_again = READ_ALL_EVERY + Duration::from_secs(known / USERS_PER_SECOND);
                // Where there are none, the number tells all.
                if changed || (known > 0 && read_at.elapsed() >= read_again) {
                    self.read(&*ledger).await?;
                    read_at = Instant::now();
                }
                Ok::<_, LedgerError>(())
            };
            if let Err(error) = followed.await {
                tracing::warn!(%error, "could not read the imported users");
            }
        }
    }
}

#[cfg(test)]
impl Registered {
    /// These users and nobody else.
    pub(super) fn of(ids: &[&str]) -> Arc<Self> {
        let registered = Self::default();
        let ids = ids.iter().map(|id| UserId::trusted(id)).collect();
        registered.ids.store(Arc::new(ids));
        Arc::new(registered)
    }
}
