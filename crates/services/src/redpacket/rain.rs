//! One campaign on this node: what a grab of it is decided by.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use eventlog::Counters;
use ledger::{Campaign, WaveState};
use rules::{CampaignId, Missed, Timestamp, admission::RuleSet};

use super::{events::Events, follow::Followed, stock::Stock, winners::Winners};
use crate::directory::Current;

/// One campaign on this node.
pub(crate) struct Rain {
    /// Which.
    pub(crate) id: CampaignId,
    view: ArcSwap<View>,
    /// Who has won.
    pub(crate) winners: Winners,
    /// The packets in this node's hands.
    pub(crate) stock: Stock,
    /// What grabs were answered.
    pub(crate) counters: Arc<Counters>,
    /// What is told over server-sent events.
    pub(crate) events: Events,
    /// Whether `winners` holds all wins of the ledger. It does not for a campaign that ended
    /// before this process started, or long enough ago; who asks for that gets a look into the
    /// ledger. Never taken back.
    pub(crate) wins_loaded: AtomicBool,
    /// How far the claims of all replicas are known.
    pub(super) followed: Followed,
    /// Held while the wins are read, so that one ask reads them and the others wait.
    pub(crate) loading: tokio::sync::Mutex<()>,
}

/// A campaign as of its last change, with what grabs need of it worked out.
pub(crate) struct View {
    /// As the ledger gave it.
    pub(crate) campaign: Arc<Campaign>,
    /// Who may try.
    pub(crate) rules: Arc<RuleSet>,
    /// Packets in opened waves.
    pub(crate) issued: u64,
    /// How often a wave has opened.
    pub(crate) openings: u32,
    /// Packets per bundle, the most of any wave.
    pub(crate) bundle_size: u32,
    /// Whether another wave will come, if only after a pause.
    pub(crate) more_waves: bool,
    /// The answers to those who missed, by reason.
    missed: [Box<[u8]>; Missed::ALL.len()],
}

impl View {
    fn new(Current { campaign, rules }: Current) -> Self {
        let dormant = campaign.paused_at.is_some() || campaign.closed_at.is_some();
        let next_wave_at = if dormant {
            None
        } else {
            campaign.next_wave_at()
        };
        Self {
            rules,
            issued: campaign.packets_issued(),
            openings: campaign.openings(),
            more_waves: campaign.closed_at.is_none() && campaign.next_wave_at().is_some(),
            bundle_size: campaign
                .waves
                .iter()
                .map(|wave| wave.bundle_size)
                .max()
                .unwrap_or(0),
            missed: Missed::ALL.map(|reason| super::answer::missed_body(reason, next_wave_at)),
            campaign,
        }
    }

    /// What the view was made of.
    pub(crate) fn current(&self) -> Current {
        Current {
            campaign: self.campaign.clone(),
            rules: self.rules.clone(),
        }
    }

    /// Whether wave `number` (from 1) is open.
    pub(crate) fn is_open(&self, number: u32) -> bool {
        let place = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let wave = place.and_then(|place| self.campaign.waves.get(place));
        wave.is_some_and(|wave| wave.state == WaveState::Open)
    }

    /// The answer to one who missed for `reason`.
    pub(crate) fn missed_body(&self, reason: Missed) -> &[u8] {
        &self.missed[reason as usize]
    }
}

impl Rain {
    pub(crate) fn new(current: Current) -> Self {
        Self {
            id: current.campaign.id,
            view: ArcSwap::from_pointee(View::new(current)),
            winners: Winners::default(),
            stock: Stock::default(),
            counters: Arc::default(),
            events: Events::default(),
            wins_loaded: AtomicBool::new(false),
            followed: Followed::default(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// The same campaign without all that it has gathered, as after a restart; what is counted
    /// goes on being counted.
    pub(super) fn anew(&self) -> Self {
        Self {
            counters: self.counters.clone(),
            ..Self::new(self.view().current())
        }
    }

    /// The campaign as of its last change.
    pub(crate) fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// Puts a change in force and tells those who wait or listen.
    pub(crate) fn change(&self, current: Current, now: Timestamp) {
        let before = self.view.load_full();
        let after = Arc::new(View::new(current));
        self.view.store(after.clone());
        self.stock.look_again();
        self.events
            .tell_change(&before.campaign, &after.campaign, now);
    }

    /// Whether every packet that `view` says is issued is claimed, as far as this node knows.
    pub(crate) fn all_claimed(&self, view: &View) -> bool {
        self.winners.claimed() >= view.issued
    }

    /// Whether `winners` is complete.
    pub(crate) fn wins_loaded(&self) -> bool {
        self.wins_loaded.load(Ordering::Acquire)
    }
}
