//! Reading claims: one user's, all, page by page; and redeeming one.

use rules::{ClaimId, Fen, PacketId, Timestamp, UserId};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{fault::Fail, open::Inner, packed};
use crate::{
    CampaignNo, Redeemed, Seen, Win, Winner, WinnersQuery, api::Result as LedgerResult, codec,
    search,
};

/// The columns of a [`Win`], in the order that [`win`] reads them.
macro_rules! columns {
    ($table:literal) => {
        concat!(
            $table,
            "wave, ",
            $table,
            "idx, ",
            $table,
            "amount, ",
            $table,
            "tier, ",
            $table,
            "claimed_at, ",
            $table,
            "period, ",
            $table,
            "ordinal, ",
            $table,
            "grab_id"
        )
    };
}
pub(super) use columns;

/// The win whose columns start at `first`.
pub(super) fn win(row: &SqliteRow, first: usize) -> Result<Win, Fail> {
    let tier: Option<i64> = row.try_get(first + 3)?;
    let grab_id: Option<&[u8]> = row.try_get(first + 7)?;
    Ok(Win {
        packet: packet(row.try_get(first)?, row.try_get(first + 1)?)?,
        amount: codec::amount(row.try_get(first + 2)?)?,
        tier: tier.map(|t| codec::small(t, "a tier")).transpose()?,
        claimed_at: Timestamp::from_micros(row.try_get(first + 4)?),
        period: row.try_get(first + 5)?,
        ordinal: codec::small(row.try_get(first + 6)?, "an ordinal")?,
        grab_id: grab_id.map(codec::grab_id).transpose()?,
    })
}

/// The packet of these columns.
pub(super) fn packet(wave: i64, index: i64) -> LedgerResult<PacketId> {
    Ok(PacketId {
        wave: codec::small(wave, "a claim's wave")?,
        index: codec::small(index, "a claim's index")?,
    })
}

/// `SELECT` of winners; the user and the redemption come first.
macro_rules! select_winners {
    ($rest:literal) => {
        concat!(
            "SELECT user, redeemed_at, ",
            columns!(""),
            " FROM claims ",
            $rest
        )
    };
}

fn winner(row: &SqliteRow) -> Result<Winner, Fail> {
    let redeemed_at: Option<i64> = row.try_get(1)?;
    Ok(Winner {
        user: UserId::trusted(row.try_get(0)?),
        win: win(row, 2)?,
        redeemed_at: redeemed_at.map(Timestamp::from_micros),
    })
}

/// The wins of each of `users`, by time.
pub(super) async fn of_users(
    inner: &Inner,
    campaign: CampaignNo,
    users: &[UserId],
) -> Result<Vec<Vec<Win>>, Fail> {
    let names: Vec<_> = users.iter().map(UserId::as_str).collect();
    let rows = sqlx::query(concat!(
        "SELECT k.key, ",
        columns!("c."),
        " FROM json_each(?) AS k CROSS JOIN claims AS c INDEXED BY claims_by_user \
         WHERE c.campaign_no = ? AND c.user = k.value \
         ORDER BY c.claimed_at, c.period, c.ordinal"
    ))
    .bind(codec::json(&names)?)
    .bind(campaign.0)
    .fetch_all(&mut *inner.reader().await?)
    .await?;
    let mut wins = vec![Vec::new(); users.len()];
    for row in rows {
        let place: usize = codec::small(row.try_get(0)?, "a user's place")?;
        wins[place].push(win(&row, 1)?);
    }
    Ok(wins)
}

/// See [`crate::Ledger::seen`].
pub(super) async fn seen(inner: &Inner, campaigns: &[CampaignNo]) -> Result<Vec<Seen>, Fail> {
    let mut conn = inner.snapshot().await?;
    let mut all = Vec::with_capacity(campaigns.len());
    for campaign in campaigns {
        all.push(seen_of(&mut conn, *campaign).await?);
    }
    Ok(all)
}

async fn seen_of(conn: &mut SqliteConnection, campaign: CampaignNo) -> Result<Seen, Fail> {
    let rows = sqlx::query("SELECT slot, claims FROM fence WHERE campaign_no = ?")
        .bind(campaign.0)
        .fetch_all(conn)
        .await?;
    let mut seen = Seen::default();
    for row in rows {
        let slot: usize = codec::small(row.try_get(0)?, "a slot")?;
        seen.0[slot] = codec::count(row.try_get(1)?)?;
    }
    Ok(seen)
}

/// See [`crate::Ledger::wins_after`]. Only the process that has the file claims, and it knows
/// its own wins; so this reads all of them, or, when nothing came after, none.
pub(super) async fn after(
    inner: &Inner,
    campaign: CampaignNo,
    seen: &Seen,
) -> Result<(Vec<(UserId, Win)>, Seen), Fail> {
    let mut snapshot = inner.snapshot().await?;
    let now = seen_of(&mut snapshot, campaign).await?;
    if now == *seen {
        return Ok((Vec::new(), now));
    }
    Ok((packed::wins(&mut snapshot, campaign).await?, now))
}

/// See [`crate::Ledger::wins`].
pub(super) async fn of_user(
    inner: &Inner,
    campaign: CampaignNo,
    user: &UserId,
) -> Result<Vec<Winner>, Fail> {
    let rows = sqlx::query(select_winners!(
        "INDEXED BY claims_by_user WHERE campaign_no = ? AND user = ? \
         ORDER BY claimed_at, period, ordinal"
    ))
    .bind(campaign.0)
    .bind(user.as_str())
    .fetch_all(&mut *inner.reader().await?)
    .await?;
    rows.iter().map(winner).collect()
}

/// See [`crate::Ledger::winners`].
pub(super) async fn page(
    inner: &Inner,
    campaign: CampaignNo,
    query: &WinnersQuery,
) -> Result<Vec<Winner>, Fail> {
    if let Some(user) = &query.user {
        let wins = of_user(inner, campaign, user).await?;
        return Ok(search::page_of_user(wins, query));
    }
    let after = query.after.unwrap_or(PacketId { wave: 0, index: 0 });
    let exact = search::exact(query);
    let rows = sqlx::query(select_winners!(
        "WHERE campaign_no = ?1 AND (wave, idx) > (?2, ?3) \
         AND (?4 IS NULL OR user LIKE ?4 ESCAPE '!' OR (wave = ?5 AND idx = ?6)) \
         ORDER BY wave, idx LIMIT ?7"
    ))
    .bind(campaign.0)
    .bind(i64::from(after.wave))
    .bind(i64::from(after.index))
    .bind(query.search.as_deref().map(search::containing))
    .bind(exact.map(|packet| i64::from(packet.wave)))
    .bind(exact.map(|packet| i64::from(packet.index)))
    .bind(i64::from(query.limit))
    .fetch_all(&mut *inner.scanner().await?)
    .await?;
    rows.iter().map(winner).collect()
}

/// See [`crate::Ledger::redeem`].
pub(super) async fn redeem(
    inner: &Inner,
    campaign: CampaignNo,
    packet: PacketId,
) -> Result<Option<Redeemed>, Fail> {
    let mut write = inner.writer.begin().await?;
    let Some(found) = claimed(write.conn(), campaign, packet).await? else {
        write.rollback().await?;
        return Ok(None);
    };
    if found.redeemed_at.is_some() {
        write.rollback().await?;
        return Ok(Some(Redeemed::before(found)));
    }
    let redeemed_at = inner.now();
    sqlx::query(
        "UPDATE claims SET redeemed_at = ? \
         WHERE campaign_no = ? AND wave = ? AND idx = ? AND redeemed_at IS NULL",
    )
    .bind(redeemed_at.micros())
    .bind(campaign.0)
    .bind(i64::from(packet.wave))
    .bind(i64::from(packet.index))
    .execute(write.conn())
    .await?;
    write.commit(1).await?;
    Ok(Some(Redeemed::now(found, redeemed_at)))
}

async fn claimed(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
    packet: PacketId,
) -> Result<Option<Winner>, Fail> {
    let row = sqlx::query(select_winners!(
        "WHERE campaign_no = ? AND wave = ? AND idx = ?"
    ))
    .bind(campaign.0)
    .bind(i64::from(packet.wave))
    .bind(i64::from(packet.index))
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(winner).transpose()
}

/// See [`crate::Ledger::has_claim`]. Reads the whole campaign: claims have no index by id.
pub(super) async fn has_claim(
    inner: &Inner,
    campaign: CampaignNo,
    id: ClaimId,
) -> Result<bool, Fail> {
    let found = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM claims WHERE campaign_no = ? AND claim_id = ?)",
    )
    .bind(campaign.0)
    .bind(&id.0.as_bytes()[..])
    .fetch_one(&mut *inner.scanner().await?)
    .await?;
    Ok(found)
}

/// See [`crate::Ledger::amounts_claimed`].
pub(super) async fn amounts(inner: &Inner, campaign: CampaignNo) -> Result<Vec<(Fen, u64)>, Fail> {
    let rows = sqlx::query(
        "SELECT amount, count(*) FROM claims WHERE campaign_no = ? GROUP BY amount ORDER BY amount",
    )
    .bind(campaign.0)
    .fetch_all(&mut *inner.scanner().await?)
    .await?;
    let pair = |row: &SqliteRow| {
        Ok((
            codec::amount(row.try_get(0)?)?,
            codec::count(row.try_get(1)?)?,
        ))
    };
    rows.iter().map(pair).collect()
}
