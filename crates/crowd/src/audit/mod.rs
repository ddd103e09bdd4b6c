//! The audit of the books against what the users were told.
//!
//! [`gather`] fetches what the server keeps; [`checks`] judges, by pure functions over the
//! [`Evidence`], so that each check can be seen to fail.

pub mod checks;
pub(crate) mod gather;
mod periods;

use rules::{Fen, PacketId, Timestamp, UserId};
use serde::Serialize;

pub use crate::http::contract::{
    Packet, ServerAudit, ServerAuditPackets, Terms, TermsWave, TermsWaves, Winner,
};

/// A win that a user was told of, however often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The user's number within the crowd, from 0.
    pub user: u32,
    /// Which packet.
    pub packet: PacketId,
    /// What it was said to hold.
    pub amount: Fen,
    /// How often it was told as a new win.
    pub fresh: u32,
    /// How often it was told as a repeated one.
    pub repeats: u32,
}

/// A tap whose repeat was answered otherwise than its first reply, which was a win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The user's number within the crowd, from 0.
    pub user: u32,
    /// What the first reply said was won.
    pub first: PacketId,
    /// Whether it said so as of a new win, which is then this tap's own; a win repeated to it
    /// may belong to an earlier tap and to a period that is over when the repeat comes.
    pub fresh: bool,
    /// What the repeat said was won; `None` when it was no win.
    pub then: Option<PacketId>,
}

/// What is known of one user's taps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub(crate) u8);

impl Marks {
    /// A request was sent for this user.
    pub(crate) const TAPPED: u8 = 1;
    /// A tap of this user stayed without an answer.
    pub(crate) const UNSETTLED: u8 = 2;

    /// Whether a request was sent for this user.
    #[must_use]
    pub const fn tapped(self) -> bool {
        self.0 & Self::TAPPED != 0
    }

    /// Whether a tap of this user stayed without an answer.
    #[must_use]
    pub const fn unsettled(self) -> bool {
        self.0 & Self::UNSETTLED != 0
    }
}

/// Something that the audit reads from the server.
#[derive(Clone, Debug)]
pub enum Source<T> {
    /// It was read.
    Read(T),
    /// It needs an organiser key, and there is none.
    NoKey,
    /// It could not be read, and why.
    Failed(String),
}

/// What the server keeps.
#[derive(Clone, Debug)]
pub struct Books {
    /// The campaign's terms.
    pub terms: Source<Terms>,
    /// Every winner.
    pub winners: Source<Vec<Winner>>,
    /// The server's own audit just before and just after the winners were read.
    pub audits: Source<(ServerAudit, ServerAudit)>,
    /// The own wins of some users of the crowd, each with the user's number.
    pub own_wins: Source<Vec<(u32, Vec<Packet>)>>,
}

/// All that the checks compare.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The users' public ids by their number within the crowd.
    pub users: Vec<UserId>,
    /// Every win that a user was told of.
    pub told: Vec<Told>,
    /// Taps whose repeat took back or changed a win.
    pub changed: Vec<Changed>,
    /// What is known of each user's taps, by number.
    pub marks: Vec<Marks>,
    /// Taps that were not answered with an outcome.
    pub without_answer: u64,
    /// The server's time before the first tap.
    pub run_began: Timestamp,
    /// What the server keeps.
    pub books: Books,
}

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable, `snake_case`.
    pub name: &'static str,
    /// What must hold, in words.
    pub what: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It holds for everything that was looked at.
    Holds {
        /// How many things were looked at.
        examined: u64,
    },
    /// It does not hold.
    Fails {
        /// How many things break it.
        violations: u64,
        /// The first of them, in words.
        examples: Vec<String>,
    },
    /// It was not looked at.
    NotChecked {
        /// Why not.
        why: String,
    },
}

impl Verdict {
    /// Whether the check was made and does not hold.
    #[must_use]
    pub const fn fails(&self) -> bool {
        matches!(self, Self::Fails { .. })
    }
}
