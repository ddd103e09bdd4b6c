//! Troubles that the offline MNS makes: too many calls, as the service has it, and on request
//! failures, lost and doubled and delayed messages, all by a seed.

use std::collections::HashMap;

use super::{
    refusal::{Refusal, Result},
    request::Ask,
};
use crate::mns::Code;

/// How likely each trouble is, for each call or message, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// A call fails with 500 and does nothing.
    pub fail: f64,
    /// A call does its work and fails with 500 all the same.
    pub lose_answer: f64,
    /// A call is refused because there were too many.
    pub throttle: f64,
    /// A message that is sent is lost.
    pub lose: f64,
    /// A message that is sent arrives twice.
    pub double: f64,
    /// A message that is sent is delayed by a second.
    pub delay: f64,
}

impl Faults {
    /// Each of them with this likelihood.
    #[must_use]
    pub fn all(likelihood: f64) -> Self {
        Self {
            fail: likelihood,
            lose_answer: likelihood,
            throttle: likelihood,
            lose: likelihood,
            double: likelihood,
            delay: likelihood,
        }
    }
}

/// What becomes of a call.
pub(super) enum Trouble {
    None,
    AnswerLost,
}

/// Makes the troubles.
pub(super) struct Troubles {
    faults: Faults,
    /// The state of a generator of chance (SplitMix64).
    chance: u64,
    calls_max: u32,
    /// The second that is counted, and the calls of each queue in it.
    second: u64,
    calls: HashMap<String, u32>,
}

impl Troubles {
    pub(super) fn new(calls_max: u32) -> Self {
        Self {
            faults: Faults::default(),
            chance: 0,
            calls_max,
            second: 0,
            calls: HashMap::new(),
        }
    }

    pub(super) fn set(&mut self, faults: Faults, seed: u64) {
        self.faults = faults;
        self.chance = seed;
    }

    /// What becomes of `ask`, which may be changed: messages in it may be lost, doubled or
    /// delayed.
    pub(super) fn next(&mut self, ask: &mut Ask, now_ms: u64) -> Result<Trouble> {
        let throttled = || {
            let message = "The QPS of the queue is beyond its limit.";
            Refusal::new(Code::QpsLimitExceeded, message)
        };
        if self.is_one_too_many(ask, now_ms) || self.happens(self.faults.throttle) {
            return Err(throttled());
        }
        if self.happens(self.faults.fail) {
            return Err(Refusal::internal("Trouble was asked for."));
        }
        if let Ask::Send(_, messages, _) = ask {
            for message in messages.iter_mut().flatten() {
                if self.happens(self.faults.delay) {
                    message.delay_seconds.get_or_insert(1);
                }
                message.copies = match self.happens(self.faults.lose) {
                    true => 0,
                    false => 1 + u32::from(self.happens(self.faults.double)),
                };
            }
        }
        Ok(match self.happens(self.faults.lose_answer) {
            true => Trouble::AnswerLost,
            false => Trouble::None,
        })
    }

    /// Counts a call, and whether the second has had enough of them for its queue.
    fn is_one_too_many(&mut self, ask: &Ask, now_ms: u64) -> bool {
        let (name, weight) = match ask {
            Ask::List(_) => return false,
            Ask::Send(name, messages, _) => (name, messages.len()),
            Ask::Create(name, _)
            | Ask::SetAttributes(name, _)
            | Ask::Attributes(name)
            | Ask::DeleteQueue(name)
            | Ask::Receive(name, _)
            | Ask::Peek(name, _)
            | Ask::Delete(name, _)
            | Ask::DeleteBatch(name, _)
            | Ask::ChangeVisibility(name, ..) => (name, 1),
        };
        if self.second != now_ms / 1_000 {
            self.second = now_ms / 1_000;
            self.calls.clear();
        }
        let calls = self.calls.entry(name.clone()).or_default();
        let counted = calls.saturating_add(u32::try_from(weight).unwrap_or(u32::MAX));
        if counted > self.calls_max {
            return true;
        }
        *calls = counted;
        false
    }

    fn happens(&mut self, likelihood: f64) -> bool {
        if likelihood <= 0.0 {
            return false;
        }
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64 <= likelihood
    }
}
