//! Attempts in Redis, where all replicas of the account service share them.
//!
//! One key for each campaign and user, which expires with the window that the attempt began. In
//! a cluster a campaign's users are spread over [`PARTS`] slots, and those of one slot travel
//! together. What is lost with a Redis lets some users try again too early; no win limit
//! depends on it.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use queue::redis::{Link, LinkError, OpenError, Script, Value};
use rules::{CampaignId, UserId};
use uuid::Uuid;

use super::{
    Attempts, AttemptsError, Swap, Swapped,
    encoded::{decode, encode},
};

/// How long a call may take: shorter than those wait who ask the account service.
const CALL_TIMEOUT: Duration = Duration::from_millis(400);
/// Over how many slots one campaign's users are spread. Another number forgets all attempts.
const PARTS: u32 = 64;
/// The most attempts in one script; a server does nothing else meanwhile.
const SWAPS_PER_SCRIPT: usize = 1_024;
/// How much longer than its window an attempt is kept, so that it never ends before that for
/// a clock that is a little behind. The rules know when it ends.
const KEPT_LONGER: Duration = Duration::from_secs(1);

/// Users' last attempts in one Redis or one cluster.
pub struct RedisAttempts {
    link: Link,
    swap: Script,
}

impl From<LinkError> for AttemptsError {
    fn from(error: LinkError) -> Self {
        Self(error.to_string())
    }
}

impl RedisAttempts {
    /// The attempts in the Redis at `url` (as [`queue::RedisQueue::open`] takes it), which need
    /// not be there yet. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Ok(Self {
            link: Link::open(url, CALL_TIMEOUT, "hongbao_attempts_calls_total")?,
            swap: Script::new(include_str!("swap.lua")),
        })
    }

    /// Tries these swaps in order, as many in one script as may be.
    async fn swap_some(&self, swaps: Vec<&Swap>) -> Vec<Result<Swapped, AttemptsError>> {
        let mut swapped = Vec::with_capacity(swaps.len());
        for swaps in swaps.chunks(SWAPS_PER_SCRIPT) {
            match self.swap_at_once(swaps).await {
                Ok(some) => swapped.extend(some.into_iter().map(Ok)),
                Err(error) => swapped.extend(swaps.iter().map(|_| Err(error.clone()))),
            }
        }
        swapped
    }

    async fn swap_at_once(&self, swaps: &[&Swap]) -> Result<Vec<Swapped>, AttemptsError> {
        let keys: Vec<String> = swaps.iter().map(|s| key(s.campaign, &s.user)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut args = Vec::with_capacity(swaps.len() * 3);
        for swap in swaps {
            let keep_for = swap.keep_for + KEPT_LONGER;
            args.push(encode(swap.from));
            args.push(encode(swap.to));
            args.push(Bytes::from(keep_for.as_millis().to_string()));
        }
        let reply = self.link.script("swap", &self.swap, &keys, &args).await?;
        let swapped = match reply {
            Value::Array(swapped) if swapped.len() == swaps.len() => swapped,
            other => return Err(strange(&other)),
        };
        let swapped = swapped.into_iter().map(|one| match one {
            Value::Int(1) => Ok(Swapped::Done),
            Value::BulkString(found) => Ok(Swapped::Found(decode(&found)?)),
            other => Err(strange(&other)),
        });
        swapped.collect()
    }
}

#[async_trait]
impl Attempts for RedisAttempts {
    async fn ping(&self) -> Result<(), AttemptsError> {
        Ok(self.link.ping().await?)
    }

    async fn swap(&self, swaps: &[Swap]) -> Vec<Result<Swapped, AttemptsError>> {
        if !self.link.is_cluster() {
            return self.swap_some(swaps.iter().collect()).await;
        }
        let mut by_slot: BTreeMap<(Uuid, u32), Vec<usize>> = BTreeMap::new();
        for (at, swap) in swaps.iter().enumerate() {
            let slot = (swap.campaign.0, part(&swap.user));
            by_slot.entry(slot).or_default().push(at);
        }
        let in_slots = by_slot.into_values().map(async |places| {
            let some = places.iter().map(|&at| &swaps[at]).collect();
            let swapped = self.swap_some(some).await;
            places.into_iter().zip(swapped)
        });
        let mut swapped: Vec<_> = join_all(in_slots).await.into_iter().flatten().collect();
        swapped.sort_by_key(|(at, _)| *at);
        swapped.into_iter().map(|(_, swapped)| swapped).collect()
    }
}

fn key(campaign: CampaignId, user: &UserId) -> String {
    let (campaign, part) = (campaign.0.simple(), part(user));
    format!("hongbao:attempt:{{{campaign}.{part}}}:{}", user.as_str())
}

/// Which of the parts `user` is in: FNV-1a (Fowler, Noll and Vo 1991), the same everywhere.
fn part(user: &UserId) -> u32 {
    let hash = user.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % PARTS
}

fn strange(what: &dyn std::fmt::Debug) -> AttemptsError {
    AttemptsError(format!("Redis holds something strange: {what:?}"))
}
