//! Which bundles are to be sent again, decided purely.
//!
//! What is kept of bundles are hints for the reconciler. No promise rests on them: a bundle too
//! many is harmless, because the keys of the claims decide.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use rules::Timestamp;

use crate::{BundleKey, CampaignNo, Wave};

/// The delay doubles up to 2 to the power of this.
const DOUBLINGS_MAX: u32 = 6;

/// Bundles known to have no unclaimed packet: claims are never taken back, so they are not
/// counted again. Costs some bytes a bundle, and is made again after a restart.
#[derive(Default)]
pub(crate) struct Finished(Mutex<HashMap<CampaignNo, HashSet<(u32, u32)>>>);

impl Finished {
    /// Those of a campaign, by wave and first index.
    pub(crate) fn of(&self, campaign: CampaignNo) -> HashSet<(u32, u32)> {
        let finished = self.0.lock().expect("nothing panics under this lock");
        finished.get(&campaign).cloned().unwrap_or_default()
    }

    /// Remembers more.
    pub(crate) fn add(&self, campaign: CampaignNo, more: HashSet<(u32, u32)>) {
        let mut finished = self.0.lock().expect("nothing panics under this lock");
        finished.entry(campaign).or_default().extend(more);
    }

    /// Forgets a campaign that is closed.
    pub(crate) fn forget(&self, campaign: CampaignNo) {
        let mut finished = self.0.lock().expect("nothing panics under this lock");
        finished.remove(&campaign);
    }
}

/// What is known of a bundle that was held or sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) held_until: Option<Timestamp>,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) resent: u32,
}

/// When a bundle may be sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resend {
    pub(crate) now: Timestamp,
    pub(crate) first_delay_ms: i64,
    /// Neither holds nor delay count.
    pub(crate) regardless: bool,
}

impl Resend {
    /// Whether nobody holds the bundle and its last sending is long enough ago.
    pub(crate) fn is_due(&self, wave: &Wave, known: Option<&Known>) -> bool {
        if self.regardless {
            return true;
        }
        if known
            .and_then(|k| k.held_until)
            .is_some_and(|until| until > self.now)
        {
            return false;
        }
        let Some(sent) = known.and_then(|k| k.sent_at).or(wave.opened_at) else {
            return false;
        };
        let doublings = known.map_or(0, |k| k.resent).min(DOUBLINGS_MAX);
        let delay_micros = self.first_delay_ms.saturating_mul(1_000 << doublings);
        self.now.since(sent) > delay_micros
    }

    /// The bundles of a wave that are due and not known to be finished.
    pub(crate) fn due(
        &self,
        campaign: CampaignNo,
        wave: &Wave,
        known: &HashMap<u32, Known>,
        finished: &HashSet<(u32, u32)>,
    ) -> Vec<BundleKey> {
        rules::bundles(wave.packets, wave.bundle_size)
            .filter(|(first_index, _)| !finished.contains(&(wave.number, *first_index)))
            .filter(|(first_index, _)| self.is_due(wave, known.get(first_index)))
            .map(|(first_index, packets)| BundleKey {
                campaign,
                wave: wave.number,
                first_index,
                packets,
            })
            .collect()
    }
}
