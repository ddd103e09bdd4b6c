//! Reading claims: one user's, page by page; and redeeming one.

use std::collections::HashMap;

use rules::{ClaimId, Fen, PacketId, Timestamp, UserId};

use super::{
    dialect::Dialect,
    fault::Fail,
    open::Inner,
    sql::Conn,
    value::{Row, Value, values},
};
use crate::{CampaignNo, Redeemed, Win, Winner, WinnersQuery, codec, search};

/// The columns of a [`Win`], in the order that [`win`] reads them.
macro_rules! columns {
    () => {
        "wave, idx, amount, tier, claimed_at, period, ordinal, grab_id"
    };
}
pub(super) use columns;

/// The win whose columns start at `first`.
pub(super) fn win(row: &Row, first: usize) -> Result<Win, Fail> {
    let tier = row.maybe_int(first + 3)?;
    let grab_id = row.maybe_bytes(first + 7)?;
    Ok(Win {
        packet: packet(row, first)?,
        amount: codec::amount(row.int(first + 2)?)?,
        tier: tier.map(|t| codec::small(t, "a tier")).transpose()?,
        claimed_at: Timestamp::from_micros(row.int(first + 4)?),
        period: row.int(first + 5)?,
        ordinal: codec::small(row.int(first + 6)?, "an ordinal")?,
        grab_id: grab_id.map(codec::grab_id).transpose()?,
    })
}

/// The packet whose columns start at `first`.
pub(super) fn packet(row: &Row, first: usize) -> Result<PacketId, Fail> {
    Ok(PacketId {
        wave: codec::small(row.int(first)?, "a claim's wave")?,
        index: codec::small(row.int(first + 1)?, "a claim's index")?,
    })
}

/// The condition for claims of a campaign after a packet, by [`after`]'s values: once as
/// PostgreSQL finds the place in the key, once as MySQL does.
macro_rules! after_packet {
    () => {
        "campaign_no = ? AND (wave, idx) > (?, ?) AND (wave > ? OR (wave = ? AND idx > ?))"
    };
}
pub(super) use after_packet;

/// The values of [`after_packet!`].
pub(super) fn after(campaign: CampaignNo, packet: Option<PacketId>) -> Vec<Value> {
    let PacketId { wave, index } = packet.unwrap_or(PacketId { wave: 0, index: 0 });
    values![campaign.0, wave, index, wave, wave, index].to_vec()
}

/// `SELECT` of winners; the user and the redemption come first.
macro_rules! select_winners {
    () => {
        concat!(
            "SELECT user_id, redeemed_at, ",
            columns!(),
            " FROM claims WHERE "
        )
    };
    ($rest:expr) => {
        concat!(select_winners!(), $rest)
    };
}

fn winner(row: &Row) -> Result<Winner, Fail> {
    Ok(Winner {
        user: row.user(0)?,
        win: win(row, 2)?,
        redeemed_at: row.maybe_int(1)?.map(Timestamp::from_micros),
    })
}

/// The wins of each of `users`, by time.
pub(super) async fn of_users(
    conn: &mut Conn,
    campaign: CampaignNo,
    users: &[UserId],
) -> Result<Vec<Vec<Win>>, Fail> {
    let keys: Vec<_> = users.iter().map(Value::from).collect();
    let sql = concat!(
        "SELECT user_id, ",
        columns!(),
        " FROM claims WHERE campaign_no = ? AND user_id {IN} ORDER BY claimed_at, period, ordinal"
    );
    let mut wins: HashMap<UserId, Vec<Win>> = HashMap::new();
    for row in conn.fetch_in(sql, &values![campaign.0], &keys).await? {
        wins.entry(row.user(0)?).or_default().push(win(&row, 1)?);
    }
    let of = |user| wins.get(user).cloned().unwrap_or_default();
    Ok(users.iter().map(of).collect())
}

/// See [`crate::Ledger::wins`].
pub(super) async fn of_user(
    inner: &Inner,
    campaign: CampaignNo,
    user: &UserId,
) -> Result<Vec<Winner>, Fail> {
    let sql =
        select_winners!("campaign_no = ? AND user_id = ? ORDER BY claimed_at, period, ordinal");
    let mut reader = inner.reader().await?;
    let rows = reader.fetch_all(sql, &values![campaign.0, user]).await?;
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
    let mut sql = select_winners!(after_packet!()).to_owned();
    let mut values = after(campaign, query.after);
    if let Some(text) = &query.search {
        let exact = search::exact(query).unwrap_or(PacketId { wave: 0, index: 0 });
        sql.push_str(" AND (");
        sql.push_str(id_contains(inner.dialect()));
        sql.push_str(" OR (wave = ? AND idx = ?))");
        values.extend(values![search::containing(text), exact.wave, exact.index]);
    }
    sql.push_str(" ORDER BY wave, idx LIMIT ?");
    values.push(Value::from(query.limit));
    let mut reader = inner.scanner().await?;
    let rows = reader.fetch_all(&sql, &values).await?;
    rows.iter().map(winner).collect()
}

/// The condition for users whose id contains a text, the case of ASCII letters aside (on MySQL,
/// of all letters). Both sides are made small by the database itself, so that what is typed as
/// it stands in the id is always found.
fn id_contains(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => {
            "LOWER(CONVERT(user_id USING utf8mb4)) COLLATE utf8mb4_bin \
             LIKE LOWER(CONVERT(? USING utf8mb4)) COLLATE utf8mb4_bin ESCAPE '!'"
        }
        Dialect::Postgres => {
            "lower(convert_from(user_id, 'UTF8') COLLATE \"C\") \
             LIKE lower(? COLLATE \"C\") ESCAPE '!'"
        }
    }
}

/// See [`crate::Ledger::redeem`].
pub(super) async fn redeem(
    inner: &Inner,
    campaign: CampaignNo,
    packet: PacketId,
) -> Result<Option<Redeemed>, Fail> {
    let mut tx = inner.begin().await?;
    let sql = select_winners!("campaign_no = ? AND wave = ? AND idx = ? FOR UPDATE");
    let values = values![campaign.0, packet.wave, packet.index];
    let row = tx.fetch_optional(sql, &values).await?;
    let found = match row.as_ref().map(winner).transpose()? {
        Some(found) if found.redeemed_at.is_none() => found,
        other => {
            tx.rollback().await?;
            return Ok(other.map(Redeemed::before));
        }
    };
    let redeemed_at = inner.now();
    let sql = "UPDATE claims SET redeemed_at = ? WHERE campaign_no = ? AND wave = ? AND idx = ?";
    let at = redeemed_at.micros();
    tx.execute(sql, &values![at, campaign.0, packet.wave, packet.index])
        .await?;
    tx.commit().await?;
    Ok(Some(Redeemed::now(found, redeemed_at)))
}

/// See [`crate::Ledger::has_claim`]. Reads the whole campaign: claims have no index by id.
pub(super) async fn has_claim(
    inner: &Inner,
    campaign: CampaignNo,
    id: ClaimId,
) -> Result<bool, Fail> {
    let sql = "SELECT idx FROM claims WHERE campaign_no = ? AND claim_id = ? LIMIT 1";
    let values = values![campaign.0, id.0.as_bytes()];
    let mut reader = inner.scanner().await?;
    let found = reader.fetch_optional(sql, &values).await?;
    Ok(found.is_some())
}

/// See [`crate::Ledger::amounts_claimed`].
pub(super) async fn amounts(inner: &Inner, campaign: CampaignNo) -> Result<Vec<(Fen, u64)>, Fail> {
    let sql = "SELECT amount, count(*) FROM claims WHERE campaign_no = ? \
               GROUP BY amount ORDER BY amount";
    let mut reader = inner.scanner().await?;
    let rows = reader.fetch_all(sql, &values![campaign.0]).await?;
    let pair = |row: &Row| {
        let (amount, count) = (row.int(0)?, row.int(1)?);
        Ok((codec::amount(amount)?, codec::count(count)?))
    };
    rows.iter().map(pair).collect()
}
