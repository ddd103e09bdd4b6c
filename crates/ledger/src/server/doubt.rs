//! What became of a claim in doubt, and looks that miss no commit: both wait for the slots' locks.

use std::time::{Duration, Instant};

use rules::UserId;

use super::{fault::Fail, fence, open::Inner, standing, value::values, wins};
use crate::{CampaignNo, ClaimAsk, Win, claiming::Spoilt};

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
    // Once through every lock: what was being committed is committed, or never will be. Rolled
    // back, because a commit would wait for the disk, though nothing was written.
    let mut tx = inner.begin().await?;
    tx.fetch_all(
        "SELECT slot FROM fence WHERE campaign_no = ? ORDER BY slot FOR UPDATE",
        &values![campaign.0],
    )
    .await?;
    tx.rollback().await?;
    wins::of_users(&mut inner.reader().await?, campaign, users).await
}
