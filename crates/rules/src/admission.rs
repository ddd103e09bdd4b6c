//! Who may try: eligible and blocked users, the attempt window and the random discard.
//!
//! It decides and never remembers: the caller keeps each user's last [`Attempt`] and hands it
//! in. A verdict belongs to the Grab-Id, so that a repeat of a tap is never treated as another
//! one.

use std::collections::HashSet;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{CampaignId, Eligible, GrabId, Rejected, Rules, Timestamp, UserId};

/// A campaign's [`Rules`], compiled for quick answers.
#[derive(Clone, Debug)]
pub struct RuleSet {
    window_seconds: Option<u32>,
    discard_probability: f64,
    eligible: EligibleSet,
    blocked: HashSet<UserId>,
}

#[derive(Clone, Debug)]
enum EligibleSet {
    Anyone,
    Registered,
    Listed(HashSet<UserId>),
}

/// An attempt that used up a user's window: what is remembered of it until the window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When the window began.
    pub at: Timestamp,
    /// The tap that began it, where the client named it.
    pub grab_id: Option<GrabId>,
    /// Whether the coin gave it up.
    pub discarded: bool,
}

impl Attempt {
    /// Whether the tap `grab_id` may give this attempt back, because it could not be decided: it
    /// is that tap's own, and was admitted. Taps without a Grab-Id count as the same here.
    #[must_use]
    pub fn is_given_back_by(self, grab_id: Option<GrabId>) -> bool {
        self.grab_id == grab_id && !self.discarded
    }

    const fn verdict(self) -> Verdict {
        if self.discarded {
            Verdict::Rejected(Rejected::Discarded)
        } else {
            Verdict::Admitted
        }
    }
}

/// Whether a user may take a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The user may.
    Admitted,
    /// A rule forbids it.
    Rejected(Rejected),
}

impl RuleSet {
    /// Compiles `rules`, which [`crate::check::rules`] let pass.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let eligible = match &rules.eligible {
            Eligible::Anyone => EligibleSet::Anyone,
            Eligible::Registered => EligibleSet::Registered,
            Eligible::Listed(users) => EligibleSet::Listed(users.iter().cloned().collect()),
        };
        Self {
            window_seconds: rules.attempt_window_seconds,
            discard_probability: rules.discard_probability,
            eligible,
            blocked: rules.blocked.iter().cloned().collect(),
        }
    }

    /// Why `user` may not try at all: blocked before not eligible. `registered` is asked only
    /// where the campaign is for imported users.
    pub fn listed(&self, user: &UserId, registered: impl FnOnce() -> bool) -> Option<Rejected> {
        if self.blocked.contains(user) {
            return Some(Rejected::Blocked);
        }
        let eligible = match &self.eligible {
            EligibleSet::Anyone => true,
            EligibleSet::Registered => registered(),
            EligibleSet::Listed(users) => users.contains(user),
        };
        (!eligible).then_some(Rejected::NotEligible)
    }

    /// The length of the attempt window; `None`: no such rule, and nothing to remember.
    #[must_use]
    pub const fn attempt_window_seconds(&self) -> Option<u32> {
        self.window_seconds
    }

    /// Whether any attempt may be given up at random.
    #[must_use]
    pub fn discards(&self) -> bool {
        self.discard_probability > 0.0
    }

    /// The verdict of window and discard on an attempt at `now`, and the attempt to remember as
    /// the user's last from now on; `None`: what is remembered stays as it is.
    ///
    /// Within the window of `last`, the tap that began it gets its verdict again and any other
    /// is too frequent; neither moves the window. A tap without a Grab-Id is never the same as
    /// another. Otherwise the attempt begins a window, and its coin decides: the same for the
    /// same campaign, user and Grab-Id (without one: time) under one `coin_key`.
    #[must_use]
    pub fn attempt(
        &self,
        coin_key: &[u8; 32],
        campaign: CampaignId,
        user: &UserId,
        grab_id: Option<GrabId>,
        now: Timestamp,
        last: Option<Attempt>,
    ) -> (Verdict, Option<Attempt>) {
        if let Some(last) = last.filter(|last| self.in_window(*last, now)) {
            let same = grab_id.is_some() && grab_id == last.grab_id;
            let verdict = if same {
                last.verdict()
            } else {
                Verdict::Rejected(Rejected::TooFrequent)
            };
            return (verdict, None);
        }
        let discarded = self.discards()
            && coin(coin_key, campaign, user, grab_id, now) < self.discard_probability;
        let attempt = Attempt {
            at: now,
            grab_id,
            discarded,
        };
        (
            attempt.verdict(),
            self.window_seconds.is_some().then_some(attempt),
        )
    }

    /// A `now` before the window began counts as within it: time that went back opens nothing.
    fn in_window(&self, last: Attempt, now: Timestamp) -> bool {
        self.window_seconds
            .is_some_and(|seconds| now.since(last.at) < i64::from(seconds) * 1_000_000)
    }
}

/// A number in [0, 1) that nobody without `key` can foresee: the upper 53 bits of the first 8
/// bytes (big endian) of an HMAC-SHA256 over campaign, a byte that says which follows, Grab-Id
/// or microseconds, and user. All but the last have a fixed length, so no two inputs meet.
fn coin(
    key: &[u8; 32],
    campaign: CampaignId,
    user: &UserId,
    grab_id: Option<GrabId>,
    now: Timestamp,
) -> f64 {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(campaign.0.as_bytes());
    match grab_id {
        Some(GrabId(id)) => {
            mac.update(&[1]);
            mac.update(id.as_bytes());
        }
        None => {
            mac.update(&[0]);
            mac.update(&now.micros().to_be_bytes());
        }
    }
    mac.update(user.as_str().as_bytes());
    let tag: [u8; 32] = mac.finalize().into_bytes().into();
    let mut head = [0; 8];
    head.copy_from_slice(&tag[..8]);
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
    let numerator = (u64::from_be_bytes(head) >> 11) as f64;
    numerator / (1_u64 << 53) as f64
}
