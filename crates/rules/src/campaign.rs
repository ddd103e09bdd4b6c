//! The terms of a campaign, as the organiser gives them and the ledger keeps them.

use serde::{Deserialize, Serialize};

use crate::{Fen, UserId, reading::SplitForm};

/// How a tranche's budget becomes packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", try_from = "SplitForm")]
pub enum Split {
    /// Every packet holds the same amount.
    Equal {
        /// What each packet holds.
        amount: Fen,
    },
    /// Random amounts by the double-mean rule; their sum is exactly `total`.
    Lucky {
        /// The sum of all packets.
        total: Fen,
        /// The least a packet may hold; at least 1, and 1 where nothing is said.
        min: Fen,
        /// The most a packet may hold; `None`: no bound beyond the total.
        max: Option<Fen>,
    },
    /// Prizes: so many packets of each amount, shuffled.
    Tiers {
        /// The prizes; their counts add up to the tranche's packets.
        tiers: Vec<Tier>,
    },
}

/// One prize of a tiered split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// What the winner reads, such as `First prize`.
    pub label: String,
    /// How many packets of this prize there are.
    pub count: u32,
    /// What each of them holds.
    pub amount: Fen,
}

/// A number of packets issued under one split: the creation is tranche 0, the k-th top-up
/// tranche k.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tranche {
    /// 0 for the creation, k for the k-th top-up.
    pub number: u32,
    /// How many packets.
    pub packets: u32,
    /// What they hold.
    pub split: Split,
}

/// How often one user may win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WinLimit {
    /// The most wins in one period.
    pub count: u32,
    /// What a period is.
    pub per: Per,
}

/// The period that a win limit counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The whole campaign is one period.
    Campaign,
    /// A new period begins whenever a wave opens, top-ups included.
    Wave,
    /// Periods of so many seconds, counted from `starts_at`.
    Seconds(u32),
}

impl WinLimit {
    /// One win per campaign: what holds when the organiser says nothing.
    pub const ONE: Self = Self {
        count: 1,
        per: Per::Campaign,
    };

    /// Whether one user can win more than once in the campaign, so that the Grab-Ids of wins
    /// must be kept.
    #[must_use]
    pub fn several(self) -> bool {
        self != Self::ONE
    }
}

/// Who may try, and how often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// One attempt per user in so many seconds; `None`: no such rule.
    pub attempt_window_seconds: Option<u32>,
    /// The probability, from 0 to 1, that an attempt is given up at random.
    pub discard_probability: f64,
    /// Who may win.
    pub eligible: Eligible,
    /// Who may not.
    pub blocked: Vec<UserId>,
}

/// Who may win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Eligible {
    /// Every authenticated user.
    #[default]
    Anyone,
    /// Users that the organiser has imported.
    Registered,
    /// These users only.
    #[serde(untagged)]
    Listed(Vec<UserId>),
}
