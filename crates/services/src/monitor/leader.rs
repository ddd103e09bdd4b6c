//! Whether this monitor leads: of several, one issues, schedules, reconciles and audits.
//!
//! The ledger decides who, by a lease and an epoch that each leading write must show; what is
//! kept here only spares work that would be refused. It must never be taken for a lock: another
//! may lead already, and only the ledger's refusal says so for sure.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ledger::{Lead, Ledger, LedgerError, NodeId};
use rules::Timestamp;
use tokio_util::sync::CancellationToken;

/// How often it looks whether its lease is to be renewed or another's has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A lease is renewed once a fifth of it is over, and used until a tenth of it is left.
const RENEWALS_PER_LEASE: u32 = 5;
const MARGIN_OF_LEASE: u32 = 10;

/// The lead of this process, when it has it.
pub(crate) struct Leader {
    ledger: Arc<dyn Ledger>,
    node: NodeId,
    lease: Duration,
    lead: Mutex<Option<Lead>>,
}

impl Leader {
    /// Does not lead yet. `lease`: how long a lead lasts without being renewed.
    pub(crate) fn new(ledger: Arc<dyn Ledger>, node: NodeId, lease: Duration) -> Self {
        Self {
            ledger,
            node,
            lease,
            lead: Mutex::default(),
        }
    }

    /// What a leading write has to show; `None` while this process does not lead.
    pub(crate) fn lead(&self) -> Option<Lead> {
        let lead = *self.kept();
        let margin = self.lease / MARGIN_OF_LEASE;
        lead.filter(|lead| time_left(*lead, self.ledger.now()) > margin)
    }

    /// Takes the lead or renews it; says whether this process leads now.
    ///
    /// # Errors
    /// When the ledger does not answer; a lease that still runs goes on running.
    pub(crate) async fn take(&self) -> Result<bool, LedgerError> {
        let taken = self.ledger.lead(self.node, self.lease).await?;
        let before = std::mem::replace(&mut *self.kept(), taken);
        let epoch = |lead: Option<Lead>| lead.map(|lead| lead.epoch);
        match taken {
            Some(lead) if epoch(before) != epoch(taken) => {
                tracing::info!(epoch = lead.epoch, "this monitor leads");
            }
            None if before.is_some() => tracing::warn!("another monitor leads now"),
            _ => {}
        }
        self.tell();
        Ok(taken.is_some())
    }

    /// Leads whenever it can until `stop`, and then lets another.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = self.ask_until(stop) => {}
            // Beside the asking: a lease ends by itself, also while the ledger does not answer.
            () = self.tell_on() => {}
        }
    }

    async fn ask_until(&self, stop: CancellationToken) {
        loop {
            if self.is_to_ask()
                && let Err(error) = self.take().await
            {
                tracing::warn!(%error, "could not ask the ledger who leads; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Lets another monitor lead at once. Called when nothing leading is under way any more.
    pub(crate) async fn step_down(&self) {
        let Some(lead) = self.kept().take() else {
            return;
        };
        metrics::gauge!("hongbao_monitor_leads").set(0.0);
        if let Err(error) = self.ledger.step_down(lead).await {
            tracing::warn!(%error, "could not step down; the lease ends by itself");
        }
    }

    /// Notes that the ledger has refused a write under `lead`, since another leads.
    pub(crate) fn deposed(&self, lead: Lead) {
        let mut kept = self.kept();
        if kept.is_some_and(|kept| kept.epoch == lead.epoch) {
            *kept = None;
            tracing::warn!(epoch = lead.epoch, "another monitor leads now");
            metrics::gauge!("hongbao_monitor_leads").set(0.0);
        }
    }

    /// Tells again and again, and never ends.
    async fn tell_on(&self) {
        loop {
            self.tell();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Notes for the metrics whether this process leads.
    fn tell(&self) {
        let leads = self.lead().is_some();
        metrics::gauge!("hongbao_monitor_leads").set(if leads { 1.0 } else { 0.0 });
    }

    /// Whether it does not lead, or its lease is to be renewed.
    fn is_to_ask(&self) -> bool {
        let lead = *self.kept();
        let renew_at = self.lease - self.lease / RENEWALS_PER_LEASE;
        lead.is_none_or(|lead| time_left(lead, self.ledger.now()) <= renew_at)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Lead>> {
        // It is replaced as a whole, so a panic cannot leave it half changed.
        self.lead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long `lead` lasts at ledger time `now`.
fn time_left(lead: Lead, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(lead.until.since(now)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::LOOK_EVERY;
    use crate::monitor::testkit::Bench;

    #[tokio::test]
    async fn a_lease_that_has_ended_is_told_though_nobody_answers_who_leads() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let told = recorder.handle();
        let _here = metrics::set_default_local_recorder(&recorder);
        let bench = Bench::new().await;
        let leads = |number: u8| {
            let line = format!("hongbao_monitor_leads {number}");
            told.render().lines().any(|told| told == line)
        };
        assert!(leads(1), "{}", told.render());
        // Nobody asks here, as when the ledger does not answer.
        bench.clock.forward_seconds(2 * 365 * 24 * 3_600);
        let until_told = async {
            while !leads(0) {
                tokio::time::sleep(LOOK_EVERY / 100).await;
            }
        };
        tokio::select! {
            () = bench.monitor.leader.tell_on() => {}
            () = until_told => {}
        }
    }
}
