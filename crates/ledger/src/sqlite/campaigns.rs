//! Campaigns as they are created and read, with their tranches and waves.

use rules::{CampaignId, Rules, Seed, Timestamp, Tranche};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{fault::Fail, open::Inner};
use crate::{
    Campaign, CampaignNo, Idempotency, NewCampaign, Once, SLOTS, Wave, codec, issue::budget_of,
};

/// `SELECT` of a campaign's columns, in the order that [`whole`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT no, id, title, currency, starts_at, ends_at, interval_seconds, win_limit, ",
            "seed, commitment, paused_at, closed_at, halted, created_at, version ",
            "FROM campaigns ",
            $rest
        )
    };
}

/// Pages that a change of a campaign touches, roughly.
pub(super) const PAGES_OF_A_CHANGE: u64 = 8;

/// See [`crate::Ledger::create_campaign`].
pub(super) async fn create(
    inner: &Inner,
    new: &NewCampaign,
    once: Option<&Idempotency>,
) -> Result<Once, Fail> {
    let budget = budget_of(std::slice::from_ref(&new.tranche))?;
    let mut write = inner.writer.begin().await?;
    if let Some(once) = once
        && let Some(before) = done_before(write.conn(), once).await?
    {
        write.rollback().await?;
        return Ok(before);
    }
    let now = inner.now();
    let conn = write.conn();
    let version = next_version(conn).await?;
    let no: i64 = sqlx::query_scalar(
        "INSERT INTO campaigns (id, title, currency, starts_at, ends_at, interval_seconds, \
         win_limit, rules, seed, commitment, packets, budget, created_at, version) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no",
    )
    .bind(&new.id.0.as_bytes()[..])
    .bind(&new.title)
    .bind(&new.currency)
    .bind(new.starts_at.micros())
    .bind(new.ends_at.micros())
    .bind(i64::from(new.interval_seconds))
    .bind(codec::json(&new.win_limit)?)
    .bind(codec::json(&new.rules)?)
    .bind(&new.seed.0[..])
    .bind(&new.commitment[..])
    .bind(i64::from(new.tranche.packets))
    .bind(codec::amount_to_column(budget))
    .bind(now.micros())
    .bind(version)
    .fetch_one(&mut *conn)
    .await?;
    let no = CampaignNo(no);
    insert_tranche(conn, no, &new.tranche).await?;
    for wave in &new.waves {
        insert_wave(conn, no, wave).await?;
    }
    for slot in 0..SLOTS {
        sqlx::query("INSERT INTO fence (campaign_no, slot) VALUES (?, ?)")
            .bind(no.0)
            .bind(i64::from(slot))
            .execute(&mut *conn)
            .await?;
    }
    if let Some(once) = once {
        remember(conn, once, new.id, now).await?;
    }
    write.commit(PAGES_OF_A_CHANGE).await?;
    Ok(Once::Done(new.id))
}

/// See [`crate::Ledger::done_before`].
pub(super) async fn done(inner: &Inner, once: &Idempotency) -> Result<Option<Once>, Fail> {
    done_before(&mut *inner.snapshot().await?, once).await
}

/// What an earlier call under the same key has done.
pub(super) async fn done_before(
    conn: &mut SqliteConnection,
    once: &Idempotency,
) -> Result<Option<Once>, Fail> {
    let row = sqlx::query("SELECT body_digest, campaign_id FROM idempotency WHERE key = ?")
        .bind(&once.key)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<&[u8], _>(0)? != once.body_digest {
        return Ok(Some(Once::KeyReused));
    }
    Ok(Some(Once::Repeated(codec::campaign_id(row.try_get(1)?)?)))
}

/// Keeps what a call under a key has done, in the transaction that does it.
pub(super) async fn remember(
    conn: &mut SqliteConnection,
    once: &Idempotency,
    campaign: CampaignId,
    now: Timestamp,
) -> Result<(), Fail> {
    sqlx::query(
        "INSERT INTO idempotency (key, body_digest, campaign_id, created_at) VALUES (?, ?, ?, ?)",
    )
    .bind(&once.key)
    .bind(&once.body_digest[..])
    .bind(&campaign.0.as_bytes()[..])
    .bind(now.micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// The next number of the ledger-wide version, for a change in the same transaction.
pub(super) async fn next_version(conn: &mut SqliteConnection) -> Result<i64, Fail> {
    let next = "UPDATE meta SET value = value + 1 WHERE key = 'version' RETURNING value";
    Ok(sqlx::query_scalar(next).fetch_one(conn).await?)
}

pub(super) async fn insert_tranche(
    conn: &mut SqliteConnection,
    no: CampaignNo,
    tranche: &Tranche,
) -> Result<(), Fail> {
    sqlx::query("INSERT INTO tranches (campaign_no, number, packets, split) VALUES (?, ?, ?, ?)")
        .bind(no.0)
        .bind(i64::from(tranche.number))
        .bind(i64::from(tranche.packets))
        .bind(codec::json(&tranche.split)?)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn insert_wave(
    conn: &mut SqliteConnection,
    no: CampaignNo,
    wave: &Wave,
) -> Result<(), Fail> {
    sqlx::query(
        "INSERT INTO waves (campaign_no, number, tranche, first, packets, due_at) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(no.0)
    .bind(i64::from(wave.number))
    .bind(i64::from(wave.tranche))
    .bind(i64::from(wave.offset))
    .bind(i64::from(wave.packets))
    .bind(wave.due_at.micros())
    .execute(conn)
    .await?;
    Ok(())
}

/// See [`crate::Ledger::campaign`].
pub(super) async fn by_id(inner: &Inner, id: CampaignId) -> Result<Option<Campaign>, Fail> {
    read_by_id(&mut *inner.snapshot().await?, id).await
}

/// The campaign of this id, within a transaction.
pub(super) async fn read_by_id(
    conn: &mut SqliteConnection,
    id: CampaignId,
) -> Result<Option<Campaign>, Fail> {
    let sql = select!("WHERE id = ?");
    let row = sqlx::query(sql)
        .bind(&id.0.as_bytes()[..])
        .fetch_optional(&mut *conn)
        .await?;
    match row {
        Some(row) => Ok(Some(whole(conn, &row).await?)),
        None => Ok(None),
    }
}

/// See [`crate::Ledger::rules`].
pub(super) async fn rules(inner: &Inner, campaign: CampaignNo) -> Result<Rules, Fail> {
    let row = sqlx::query("SELECT rules FROM campaigns WHERE no = ?")
        .bind(campaign.0)
        .fetch_one(&mut *inner.reader().await?)
        .await?;
    Ok(codec::from_json(row.try_get(0)?, "a campaign's rules")?)
}

/// See [`crate::Ledger::campaigns`].
pub(super) async fn page(
    inner: &Inner,
    before: Option<CampaignNo>,
    limit: u32,
) -> Result<Vec<Campaign>, Fail> {
    let mut snapshot = inner.snapshot().await?;
    let rows = sqlx::query(select!("WHERE no < ? ORDER BY no DESC LIMIT ?"))
        .bind(before.map_or(i64::MAX, |no| no.0))
        .bind(i64::from(limit))
        .fetch_all(&mut *snapshot)
        .await?;
    all_whole(&mut snapshot, &rows).await
}

/// See [`crate::Ledger::campaigns_since`].
pub(super) async fn since(inner: &Inner, version: i64) -> Result<Vec<Campaign>, Fail> {
    let mut snapshot = inner.snapshot().await?;
    let rows = sqlx::query(select!("WHERE version > ? ORDER BY version"))
        .bind(version)
        .fetch_all(&mut *snapshot)
        .await?;
    all_whole(&mut snapshot, &rows).await
}

async fn all_whole(conn: &mut SqliteConnection, rows: &[SqliteRow]) -> Result<Vec<Campaign>, Fail> {
    let mut campaigns = Vec::with_capacity(rows.len());
    for row in rows {
        campaigns.push(whole(conn, row).await?);
    }
    Ok(campaigns)
}

/// A selected row with the tranches and waves that belong to it.
async fn whole(conn: &mut SqliteConnection, row: &SqliteRow) -> Result<Campaign, Fail> {
    let no = CampaignNo(row.try_get(0)?);
    let time = |column: usize| row.try_get(column).map(Timestamp::from_micros);
    let maybe_time = |column: usize| {
        let micros: Result<Option<i64>, _> = row.try_get(column);
        micros.map(|micros| micros.map(Timestamp::from_micros))
    };
    Ok(Campaign {
        no,
        id: codec::campaign_id(row.try_get(1)?)?,
        title: row.try_get(2)?,
        currency: row.try_get(3)?,
        starts_at: time(4)?,
        ends_at: time(5)?,
        interval_seconds: codec::small(row.try_get(6)?, "an interval")?,
        win_limit: codec::from_json(row.try_get(7)?, "a win limit")?,
        seed: Seed(codec::bytes32(row.try_get(8)?, "a seed")?),
        commitment: codec::bytes32(row.try_get(9)?, "a commitment")?,
        paused_at: maybe_time(10)?,
        closed_at: maybe_time(11)?,
        halted: row.try_get(12)?,
        created_at: time(13)?,
        version: row.try_get(14)?,
        tranches: tranches(conn, no).await?,
        waves: super::waves::of_campaign(conn, no).await?,
    })
}

/// The tranches of a campaign by number.
pub(super) async fn tranches(
    conn: &mut SqliteConnection,
    no: CampaignNo,
) -> Result<Vec<Tranche>, Fail> {
    let sql = "SELECT number, packets, split FROM tranches WHERE campaign_no = ? ORDER BY number";
    let rows = sqlx::query(sql).bind(no.0).fetch_all(conn).await?;
    let tranche = |row: &SqliteRow| {
        Ok(Tranche {
            number: codec::small(row.try_get(0)?, "a tranche's number")?,
            packets: codec::small(row.try_get(1)?, "a tranche's packets")?,
            split: codec::from_json(row.try_get(2)?, "a split")?,
        })
    };
    rows.iter().map(tranche).collect()
}
