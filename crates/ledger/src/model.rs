//! What the ledger keeps, as plain data.

use std::ops::Range;

use rules::{
    CampaignId, ClaimId, Fen, GrabId, PacketId, Rules, Seed, Split, Tally, Timestamp, Tranche,
    UserId, WinLimit,
};

/// Fence slots of a campaign: at most so many transactions claim at once.
pub const SLOTS: u8 = 16;

/// A campaign's number within its ledger: what other tables refer to, shorter than the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignNo(pub i64);

/// A campaign as the ledger keeps it, its waves included, but for its rules: those may list many
/// users, and hardly any reader wants them. See [`crate::Ledger::rules`].
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Number within this ledger.
    pub no: CampaignNo,
    /// Public id.
    pub id: CampaignId,
    /// Title, as the organiser wrote it.
    pub title: String,
    /// ISO 4217 code.
    pub currency: String,
    /// When the first wave is due.
    pub starts_at: Timestamp,
    /// When the monitor closes it.
    pub ends_at: Timestamp,
    /// Seconds between two waves of the creation.
    pub interval_seconds: u32,
    /// How often one user may win. Never changes.
    pub win_limit: WinLimit,
    /// The secret from which every amount follows.
    pub seed: Seed,
    /// SHA-256 of the seed and the canonical parameters; public from the start.
    pub commitment: [u8; 32],
    /// What was issued under which split; index = tranche number.
    pub tranches: Vec<Tranche>,
    /// All waves by number, ascending; numbers count from 1 without a gap.
    pub waves: Vec<Wave>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// When its close was committed, the refund with it.
    pub closed_at: Option<Timestamp>,
    /// Why claims are stopped: an audit found a difference.
    pub halted: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Grows with every change of any campaign; see [`crate::Ledger::campaigns_since`].
    pub version: i64,
}

impl Campaign {
    /// All packets of all tranches.
    #[must_use]
    pub fn packets_total(&self) -> u64 {
        self.tranches.iter().map(|t| u64::from(t.packets)).sum()
    }

    /// The packets of the waves that are open.
    #[must_use]
    pub fn packets_issued(&self) -> u64 {
        let open = self.waves.iter().filter(|w| w.state == WaveState::Open);
        open.map(|w| u64::from(w.packets)).sum()
    }

    /// How often a wave has opened so far.
    #[must_use]
    pub fn openings(&self) -> u32 {
        self.waves
            .iter()
            .filter_map(|w| w.opening)
            .max()
            .unwrap_or(0)
    }

    /// When the next wave is due; `None` when all are open.
    #[must_use]
    pub fn next_wave_at(&self) -> Option<Timestamp> {
        let waiting = self.waves.iter().filter(|w| w.state != WaveState::Open);
        // A top-up before the start waits for the start.
        waiting.map(|w| w.due_at.max(self.starts_at)).min()
    }

    /// The label of tier `tier` of the tranche that `wave` belongs to.
    #[must_use]
    pub fn label(&self, wave: u32, tier: Option<u16>) -> Option<&str> {
        let wave = self
            .waves
            .get(usize::try_from(wave).ok()?.checked_sub(1)?)?;
        let tranche = self.tranches.get(usize::try_from(wave.tranche).ok()?)?;
        match &tranche.split {
            Split::Tiers { tiers } => Some(tiers.get(usize::from(tier?))?.label.as_str()),
            Split::Equal { .. } | Split::Lucky { .. } => None,
        }
    }
}

/// A wave of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// Number within the campaign, from 1.
    pub number: u32,
    /// The tranche its packets come from.
    pub tranche: u32,
    /// Its first packet's place in the shuffled tranche, from 0.
    pub offset: u32,
    /// How many packets.
    pub packets: u32,
    /// When it is to open.
    pub due_at: Timestamp,
    /// How far its issuing is.
    pub state: WaveState,
    /// Packets per bundle; 0 while planned.
    pub bundle_size: u32,
    /// Version of the splitting algorithm; 0 while planned.
    pub algorithm: u32,
    /// SHA-256 of its amounts, checked when they are made again; `None` while planned.
    pub digest: Option<[u8; 32]>,
    /// When it opened.
    pub opened_at: Option<Timestamp>,
    /// It was the n-th wave of the campaign to open, from 1.
    pub opening: Option<u32>,
}

/// How far the issuing of a wave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaveState {
    /// Scheduled; nothing was sent.
    Planned,
    /// Its bundles are being sent; after a crash they are sent again.
    Issuing,
    /// All its bundles were sent at least once; its packets can be won.
    Open,
}

/// What a new campaign is made of; the ledger gives it its number and version.
#[derive(Clone, Debug)]
pub struct NewCampaign {
    /// Public id.
    pub id: CampaignId,
    /// Title.
    pub title: String,
    /// ISO 4217 code.
    pub currency: String,
    /// When the first wave is due.
    pub starts_at: Timestamp,
    /// When the monitor closes it.
    pub ends_at: Timestamp,
    /// Seconds between two waves.
    pub interval_seconds: u32,
    /// How often one user may win.
    pub win_limit: WinLimit,
    /// Who may try.
    pub rules: Rules,
    /// The secret seed.
    pub seed: Seed,
    /// The public commitment.
    pub commitment: [u8; 32],
    /// Tranche 0.
    pub tranche: Tranche,
    /// Its waves, planned.
    pub waves: Vec<Wave>,
}

/// Makes a repeated organiser call safe: kept with what the first one did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The `Idempotency-Key` as sent, prefixed by the operation it belongs to.
    pub key: String,
    /// SHA-256 of the request body.
    pub body_digest: [u8; 32],
}

/// What became of a call under an [`Idempotency`] key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// Done now.
    Done(CampaignId),
    /// The same call was done before, on this campaign.
    Repeated(CampaignId),
    /// The key was used with another body.
    KeyReused,
}

/// Changes to a campaign; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct CampaignPatch {
    /// New title.
    pub title: Option<String>,
    /// New end.
    pub ends_at: Option<Timestamp>,
    /// New rules, whole.
    pub rules: Option<Rules>,
    /// The version of the campaign that the change was decided from, where it depends on one.
    pub version: Option<i64>,
}

/// What became of a change to a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// In force.
    Done,
    /// It was so already.
    Unchanged,
    /// The campaign is not the one any more that the change was decided from; nothing was done.
    Overtaken,
    /// The campaign is closed.
    Ended,
    /// There is no such campaign.
    NotFound,
}

/// Why a campaign takes no top-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopUpRefused {
    /// The campaign is closed.
    Ended,
    /// There is no such campaign.
    NotFound,
    /// The tranche makes no sense, or brings the campaign over a limit.
    Limit(rules::check::Refusal),
}

/// A run of packets of one wave that travels, is leased and is served together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleKey {
    /// The campaign.
    pub campaign: CampaignNo,
    /// The wave, from 1.
    pub wave: u32,
    /// The index of its first packet within the wave, from 1.
    pub first_index: u32,
    /// How many packets.
    pub packets: u32,
}

/// A grab node: who holds a bundle. Unique per process start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub u64);

/// The right to issue: what a leading monitor's writes must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Counts the leaders.
    pub epoch: i64,
    /// Until when it holds, unless renewed (ledger time).
    pub until: Timestamp,
}

/// How many claims of a campaign a node knows, by fence slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub [u64; SLOTS as usize]);

impl Seen {
    /// How many claims that are, over all slots.
    #[must_use]
    pub fn claims(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What became of a batch of asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// In the order of the asks.
    pub results: Vec<ClaimResult>,
    /// For each campaign with new wins, how many claims the slot had before and has with this
    /// batch: all between are the batch's own. Empty where no other process can claim.
    pub took: Vec<(CampaignNo, Range<u64>)>,
}

/// What an acknowledgement means on a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// In a sentence, for the log at start and `hongbao check`.
    pub meaning: String,
    /// The settings that let an acknowledged claim be lost, and what they should be; `None` when
    /// there are none such.
    pub weakness: Option<String>,
}

/// One wish to claim a packet.
#[derive(Clone, Debug)]
pub struct ClaimAsk {
    /// Made by the node; names this attempt for ever.
    pub id: ClaimId,
    /// The campaign.
    pub campaign: CampaignNo,
    /// Its `starts_at`, from which periods of seconds count.
    pub starts_at: Timestamp,
    /// Its win limit.
    pub win_limit: WinLimit,
    /// Who claims.
    pub user: UserId,
    /// What.
    pub packet: PacketId,
    /// What it holds.
    pub amount: Fen,
    /// Its tier within its tranche, for tiered splits.
    pub tier: Option<u16>,
    /// The tap; kept where [`WinLimit::several`].
    pub grab_id: Option<GrabId>,
    /// When the user asked (ledger time): an ask over 3 s old is dropped under the lock.
    pub asked_at: Timestamp,
}

/// A claim that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Win {
    /// The packet.
    pub packet: PacketId,
    /// What it holds.
    pub amount: Fen,
    /// Its tier within its tranche, for tiered splits.
    pub tier: Option<u16>,
    /// When it was claimed (ledger time).
    pub claimed_at: Timestamp,
    /// The period it counts towards.
    pub period: i64,
    /// It is the user's n-th win of that period, from 1.
    pub ordinal: u32,
    /// The tap that won it, where kept.
    pub grab_id: Option<GrabId>,
}

/// What became of one [`ClaimAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimResult {
    /// Durable, and new.
    Won(Win),
    /// The user's tap had won this before.
    SameGrab(Win),
    /// The user's wins of the period are used up; this is the latest of them.
    AtLimit(Win),
    /// Somebody else has the packet.
    PacketTaken,
    /// The campaign is closed.
    Closed,
    /// Claims of the campaign are stopped; see [`Campaign::halted`].
    Halted,
    /// The ask was over 3 s old when its turn came; nothing was written.
    TooLate,
    /// The database refuses this row, and this row alone, or another transaction holds it and does
    /// not end; nothing was written.
    Failed,
}

/// A user's win with the user's name, for lists and exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// Who.
    pub user: UserId,
    /// What and when.
    pub win: Win,
    /// When the packet was redeemed.
    pub redeemed_at: Option<Timestamp>,
}

/// A packet that is redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// Whose it is, and since when it is redeemed.
    pub winner: Winner,
    /// Whether somebody had redeemed it before this call.
    pub repeated: bool,
}

impl Redeemed {
    /// By this call, at `at`.
    pub(crate) fn now(winner: Winner, at: Timestamp) -> Self {
        Self {
            winner: Winner {
                redeemed_at: Some(at),
                ..winner
            },
            repeated: false,
        }
    }

    /// By an earlier call.
    pub(crate) fn before(winner: Winner) -> Self {
        Self {
            winner,
            repeated: true,
        }
    }
}

/// Which winners, and how many.
#[derive(Clone, Debug, Default)]
pub struct WinnersQuery {
    /// Only packets after this one (order: wave, index).
    pub after: Option<PacketId>,
    /// Only users whose id contains this text, or the packet with exactly this id.
    pub search: Option<String>,
    /// Only this user.
    pub user: Option<UserId>,
    /// At most so many.
    pub limit: u32,
}

/// Exact counts and sums of a campaign, of one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Claims, by the fence's counters.
    pub claims: u64,
    /// Their sum.
    pub claimed: Fen,
    /// Refunded packets.
    pub refunded_packets: u64,
    /// Their sum.
    pub refunded: Fen,
    /// Unclaimed packets in bundles whose hold has not ended.
    pub leased_packets: u64,
}

/// A refund: written once, by the close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund {
    /// How many packets were left.
    pub packets: u64,
    /// What they held.
    pub amount: Fen,
    /// When.
    pub refunded_at: Timestamp,
}

/// A claim as the audit reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditClaim {
    /// The packet.
    pub packet: PacketId,
    /// What the row says it holds.
    pub amount: Fen,
}

/// Everything an audit needs, read in one snapshot.
#[derive(Clone, Debug)]
pub struct AuditSnapshot {
    /// The campaign with its waves and tranches.
    pub campaign: Campaign,
    /// Every claim.
    pub claims: Vec<AuditClaim>,
    /// Packets with more than one claim.
    pub double_claims: u64,
    /// (user, period) pairs with more wins than the limit.
    pub over_limit: u64,
    /// The fence's counters: claims and sum over all slots.
    pub fence_claims: u64,
    /// See `fence_claims`.
    pub fence_sum: Fen,
    /// Every refund written; one at most is right.
    pub refunds: Vec<Refund>,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
}

/// Counts of grabs of one campaign, on one node, in one second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The campaign.
    pub campaign: CampaignNo,
    /// The second, counted from the Unix epoch (ledger time).
    pub second: i64,
    /// What was counted.
    pub tally: Tally,
}

/// A span in which a node died and at most the last second's counts were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last moment known to be counted.
    pub from: Timestamp,
    /// When the node was seen again.
    pub to: Timestamp,
}

/// A participant that the organiser imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Public id.
    pub id: UserId,
    /// Name, if given.
    pub name: Option<String>,
    /// When imported.
    pub created_at: Timestamp,
}

/// One line of an import: a user and the keyed hash of its identification code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// Public id.
    pub id: UserId,
    /// Keyed hash of the code; the code itself never reaches the ledger.
    pub code_hash: [u8; 32],
    /// Name, if given.
    pub name: Option<String>,
}

/// What became of an import; all lines or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// So many users were added, and so many changed.
    Done {
        /// New users.
        added: u64,
        /// Users whose code or name is another now.
        changed: u64,
    },
    /// This user's code belongs to another user already.
    CodeTaken(UserId),
}

/// An organiser's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organiser {
    /// Login name.
    pub username: String,
    /// Argon2 PHC string.
    pub password_hash: String,
}
