//! Campaigns as they are created and read, with their tranches and waves.
//!
//! Every change takes its version from one row, whose lock it holds until it is committed: so
//! versions become visible in their order, and whoever asks for later ones misses none. The row
//! is locked last, after the campaign's own (a creation has none yet).

use std::collections::HashMap;

use rules::{CampaignId, Rules, Seed, Timestamp, Tranche};

use super::{
    fault::Fail,
    open::Inner,
    sql::Conn,
    value::{Row, Value, values},
    waves,
};
use crate::{
    Campaign, CampaignNo, Idempotency, NewCampaign, Once, SLOTS, Wave, codec, issue::budget_of,
};

/// `SELECT` of a campaign's columns, in the order that [`campaign`] reads them.
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

/// Rows of one statement.
const CHUNK: usize = 500;

/// See [`crate::Ledger::create_campaign`].
pub(super) async fn create(
    inner: &Inner,
    new: &NewCampaign,
    once: Option<&Idempotency>,
) -> Result<Once, Fail> {
    let budget = budget_of(std::slice::from_ref(&new.tranche))?;
    let mut tx = inner.begin().await?;
    // First of all: under this lock creations come one by one, so a key is used once.
    let version = next_version(&mut tx).await?;
    if let Some(once) = once
        && let Some(before) = done_before(&mut tx, once).await?
    {
        tx.rollback().await?;
        return Ok(before);
    }
    let now = inner.now();
    let no = CampaignNo(next(&mut tx, "campaigns").await?);
    tx.execute(
        "INSERT INTO campaigns (no, id, title, currency, starts_at, ends_at, interval_seconds, \
         win_limit, rules, seed, commitment, packets, budget, created_at, version) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        &values![
            no.0,
            new.id.0.as_bytes(),
            &new.title,
            &new.currency,
            new.starts_at.micros(),
            new.ends_at.micros(),
            new.interval_seconds,
            codec::json(&new.win_limit)?,
            codec::json(&new.rules)?,
            &new.seed.0,
            &new.commitment,
            new.tranche.packets,
            codec::amount_to_column(budget),
            now.micros(),
            version,
        ],
    )
    .await?;
    insert_tranche(&mut tx, no, &new.tranche).await?;
    insert_waves(&mut tx, no, &new.waves).await?;
    let slots: Vec<_> = (0..SLOTS)
        .map(|slot| values![no.0, i64::from(slot)].to_vec())
        .collect();
    tx.insert_rows("INSERT INTO fence (campaign_no, slot)", &slots, "")
        .await?;
    if let Some(once) = once {
        remember(&mut tx, once, new.id, now).await?;
    }
    tx.commit().await?;
    Ok(Once::Done(new.id))
}

/// See [`crate::Ledger::done_before`].
pub(super) async fn done(inner: &Inner, once: &Idempotency) -> Result<Option<Once>, Fail> {
    done_before(&mut inner.reader().await?, once).await
}

/// What an earlier call under the same key has done.
pub(super) async fn done_before(conn: &mut Conn, once: &Idempotency) -> Result<Option<Once>, Fail> {
    let sql = "SELECT body_digest, campaign_id FROM idempotency WHERE once_key = ?";
    let key = values![once.key.as_bytes()];
    let Some(row) = conn.fetch_optional(sql, &key).await? else {
        return Ok(None);
    };
    if row.bytes(0)? != once.body_digest {
        return Ok(Some(Once::KeyReused));
    }
    Ok(Some(Once::Repeated(codec::campaign_id(row.bytes(1)?)?)))
}

/// Keeps what a call under a key has done, in the transaction that does it.
pub(super) async fn remember(
    conn: &mut Conn,
    once: &Idempotency,
    campaign: CampaignId,
    now: Timestamp,
) -> Result<(), Fail> {
    conn.execute(
        "INSERT INTO idempotency (once_key, body_digest, campaign_id, created_at) \
         VALUES (?, ?, ?, ?)",
        &values![
            once.key.as_bytes(),
            &once.body_digest,
            campaign.0.as_bytes(),
            now.micros()
        ],
    )
    .await?;
    Ok(())
}

/// Counts on one of the ledger's numbers, and holds its lock until the transaction ends.
async fn next(conn: &mut Conn, name: &str) -> Result<i64, Fail> {
    let sql = "UPDATE meta SET value = value + 1 WHERE name = ?";
    conn.execute(sql, &values![name]).await?;
    let sql = "SELECT value FROM meta WHERE name = ?";
    conn.fetch_one(sql, &values![name]).await?.int(0)
}

/// The next version, for a change in the same transaction. Until its end no other change gets
/// one, nor is any [`Idempotency`] key used.
pub(super) async fn next_version(conn: &mut Conn) -> Result<i64, Fail> {
    next(conn, "version").await
}

/// Gives a changed campaign, which is locked, the next version: the last thing of a change.
pub(super) async fn set_version(conn: &mut Conn, no: CampaignNo) -> Result<(), Fail> {
    let version = next_version(conn).await?;
    let sql = "UPDATE campaigns SET version = ? WHERE no = ?";
    conn.execute(sql, &values![version, no.0]).await?;
    Ok(())
}

pub(super) async fn insert_tranche(
    conn: &mut Conn,
    no: CampaignNo,
    tranche: &Tranche,
) -> Result<(), Fail> {
    conn.execute(
        "INSERT INTO tranches (campaign_no, number, packets, split) VALUES (?, ?, ?, ?)",
        &values![
            no.0,
            tranche.number,
            tranche.packets,
            codec::json(&tranche.split)?
        ],
    )
    .await?;
    Ok(())
}

/// Writes planned waves.
pub(super) async fn insert_waves(
    conn: &mut Conn,
    no: CampaignNo,
    waves: &[Wave],
) -> Result<(), Fail> {
    for chunk in waves.chunks(CHUNK) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|wave| {
                let due_at = wave.due_at.micros();
                let (number, tranche) = (wave.number, wave.tranche);
                values![no.0, number, tranche, wave.offset, wave.packets, due_at].to_vec()
            })
            .collect();
        let head = "INSERT INTO waves (campaign_no, number, tranche, first, packets, due_at)";
        conn.insert_rows(head, &rows, "").await?;
    }
    Ok(())
}

/// See [`crate::Ledger::campaign`].
pub(super) async fn by_id(inner: &Inner, id: CampaignId) -> Result<Option<Campaign>, Fail> {
    let mut snapshot = inner.snapshot().await?;
    let campaign = read_by_id(&mut snapshot, id).await?;
    snapshot.rollback().await?;
    Ok(campaign)
}

/// The campaign of this id, within a snapshot.
pub(super) async fn read_by_id(conn: &mut Conn, id: CampaignId) -> Result<Option<Campaign>, Fail> {
    let id = values![id.0.as_bytes()];
    let rows = conn.fetch_all(select!("WHERE id = ?"), &id).await?;
    Ok(whole(conn, &rows).await?.pop())
}

/// See [`crate::Ledger::rules`].
pub(super) async fn rules(inner: &Inner, campaign: CampaignNo) -> Result<Rules, Fail> {
    let sql = "SELECT rules FROM campaigns WHERE no = ?";
    let mut reader = inner.reader().await?;
    let row = reader.fetch_one(sql, &values![campaign.0]).await?;
    Ok(codec::from_json(row.text(0)?, "a campaign's rules")?)
}

/// See [`crate::Ledger::campaigns`].
pub(super) async fn page(
    inner: &Inner,
    before: Option<CampaignNo>,
    limit: u32,
) -> Result<Vec<Campaign>, Fail> {
    let before = before.map_or(i64::MAX, |no| no.0);
    let sql = select!("WHERE no < ? ORDER BY no DESC LIMIT ?");
    read(inner, sql, &values![before, limit]).await
}

/// See [`crate::Ledger::campaigns_since`].
pub(super) async fn since(inner: &Inner, version: i64) -> Result<Vec<Campaign>, Fail> {
    // Every replica asks this several times a second, and hardly ever is there anything new.
    let sql = "SELECT value FROM meta WHERE name = 'version'";
    let latest = inner.reader().await?.fetch_one(sql, &[]).await?.int(0)?;
    if latest <= version {
        return Ok(Vec::new());
    }
    let sql = select!("WHERE version > ? ORDER BY version");
    read(inner, sql, &values![version]).await
}

/// The campaigns that a [`select!`] gives, of one instant.
async fn read(inner: &Inner, sql: &'static str, values: &[Value]) -> Result<Vec<Campaign>, Fail> {
    let mut snapshot = inner.snapshot().await?;
    let rows = snapshot.fetch_all(sql, values).await?;
    let campaigns = whole(&mut snapshot, &rows).await?;
    snapshot.rollback().await?;
    Ok(campaigns)
}

/// Selected rows with the tranches and waves that belong to them.
async fn whole(conn: &mut Conn, rows: &[Row]) -> Result<Vec<Campaign>, Fail> {
    let mut numbers = Vec::with_capacity(rows.len());
    for row in rows {
        numbers.push(Value::from(row.int(0)?));
    }
    let mut tranches = tranches_of(conn, &numbers).await?;
    let mut waves = waves::of_campaigns(conn, &numbers).await?;
    let mut campaigns = Vec::with_capacity(rows.len());
    for row in rows {
        let mut campaign = campaign(row)?;
        campaign.tranches = tranches.remove(&campaign.no).unwrap_or_default();
        campaign.waves = waves.remove(&campaign.no).unwrap_or_default();
        campaigns.push(campaign);
    }
    Ok(campaigns)
}

/// A selected row, without tranches and waves.
fn campaign(row: &Row) -> Result<Campaign, Fail> {
    let time = |column: usize| row.int(column).map(Timestamp::from_micros);
    let maybe_time = |column: usize| {
        let micros = row.maybe_int(column)?;
        Ok::<_, Fail>(micros.map(Timestamp::from_micros))
    };
    Ok(Campaign {
        no: CampaignNo(row.int(0)?),
        id: codec::campaign_id(row.bytes(1)?)?,
        title: row.text(2)?.to_owned(),
        currency: row.text(3)?.to_owned(),
        starts_at: time(4)?,
        ends_at: time(5)?,
        interval_seconds: codec::small(row.int(6)?, "an interval")?,
        win_limit: codec::from_json(row.text(7)?, "a win limit")?,
        seed: Seed(codec::bytes32(row.bytes(8)?, "a seed")?),
        commitment: codec::bytes32(row.bytes(9)?, "a commitment")?,
        paused_at: maybe_time(10)?,
        closed_at: maybe_time(11)?,
        halted: row.maybe_text(12)?.map(str::to_owned),
        created_at: time(13)?,
        version: row.int(14)?,
        tranches: Vec::new(),
        waves: Vec::new(),
    })
}

/// The tranches of a campaign by number.
pub(super) async fn tranches(conn: &mut Conn, no: CampaignNo) -> Result<Vec<Tranche>, Fail> {
    let mut tranches = tranches_of(conn, &[Value::from(no.0)]).await?;
    Ok(tranches.remove(&no).unwrap_or_default())
}

async fn tranches_of(
    conn: &mut Conn,
    numbers: &[Value],
) -> Result<HashMap<CampaignNo, Vec<Tranche>>, Fail> {
    let sql = "SELECT campaign_no, number, packets, split FROM tranches \
               WHERE campaign_no {IN} ORDER BY campaign_no, number";
    let mut tranches: HashMap<CampaignNo, Vec<Tranche>> = HashMap::new();
    for row in conn.fetch_in(sql, &[], numbers).await? {
        let of = tranches.entry(CampaignNo(row.int(0)?)).or_default();
        of.push(Tranche {
            number: codec::small(row.int(1)?, "a tranche's number")?,
            packets: codec::small(row.int(2)?, "a tranche's packets")?,
            split: codec::from_json(row.text(3)?, "a split")?,
        });
    }
    Ok(tranches)
}
