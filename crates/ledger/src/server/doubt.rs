//! What became of a claim in doubt, and looks that miss no commit: both wait for the slots' locks.

use std::time::{Duration, Instant};

use rules::UserId;

use super::{fault::Fail, fence, open::Inner, standing, wins};
use crate::{CampaignNo, ClaimAsk, SLOTS, Win, claiming::Spoilt};

/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long one try to settle may take.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// See [`crate::Ledger::settle`]. The lock is had once the transaction in doubt has ended: it
/// held the same row until then. The connection is another, since that one was closed.
pub(super) async fn settle(
    inner: &Inner,
    slot: u8,
    asks: &[ClaimAsk],
) -> Result<Vec<Option<Win>>, Fail> {
    let campaigns = asks.iter().map(|ask| ask.campaign).collect();
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    // What may be wrong with a campaign's state does not matter here, nor whether it is closed.
    let mut spoilt = Spoilt::new();
    let (mut tx, _, _) = fence::begin(inner, slot, campaigns, &mut spoilt, deadline).await?;
    let asks: Vec<_> = asks.iter().collect();
    let found = standing::packets(&mut tx, &asks).await?;
    tx.rollback().await?;
    let own = |(found, ask): (Option<(rules::ClaimId, Win)>, &&ClaimAsk)| {
        let (id, win) = found?;
        (id == ask.id).then_some(win)
    };
    Ok(found.into_iter().zip(&asks).map(own).collect())
}

/// See [`crate::Ledger::look`].
pub(super) async fn look(
    inner: &Inner,
    campaign: CampaignNo,
    users: &[UserId],
) -> Result<Vec<Vec<Win>>, Fail> {
    let deadline = Instant::now() + LOOK_TIMEOUT;
    let locks = inner.dialect().rewrite(&each_lock_in_turn(campaign));
    let (mut tx, _) = inner.begin_with(&locks, deadline).await?;
    // In the same transaction: behind its locks no proxy sends a read to a server that lags.
    let wins = wins::of_users(&mut tx, campaign, users).await?;
    // A commit would wait for the disk, though nothing was written.
    tx.rollback().await?;
    Ok(wins)
}

/// Once through every lock, so that what was being committed is committed, or never will be. Each
/// is let go before the next is asked for: held together, those in front of one that somebody
/// keeps would keep every other claim out, too.
fn each_lock_in_turn(campaign: CampaignNo) -> String {
    let lock = |slot: u8| {
        let no = campaign.0;
        format!(
            "SELECT slot FROM fence {{BY PRIMARY}} WHERE campaign_no = {no} AND slot = {slot} \
             FOR UPDATE"
        )
    };
    let locks: Vec<_> = (0..SLOTS).map(lock).collect();
    locks.join("; ROLLBACK; START TRANSACTION; ")
}
