//! Inserts claims: one statement for all rows of a round.

use std::ops::Range;

use super::{
    claims::{Locked, count_new},
    dialect::Dialect,
    fault::{Fail, Fault},
    sql::Tx,
    value::{Value, values},
};
use crate::{claiming::NewClaim, codec};

const INSERT: &str = "INSERT INTO claims (campaign_no, wave, idx, claim_id, user_id, amount, \
     tier, claimed_at, period, ordinal, grab_id, slot, slot_seq)";

/// How a refused row is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It fails the transaction.
    Usual,
    /// The statement is taken back and halved until the row stands alone.
    EachRow,
}

/// What became of the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inserted {
    /// How many are in the table now that were not before.
    pub(super) rows: u64,
    /// Places in the slice of rows that the database refused for what is in them.
    pub(super) refused: Vec<usize>,
}

/// Inserts `rows`, after `already` that this batch has inserted; conflicts are passed over.
pub(super) async fn insert(
    tx: &mut Tx,
    (slot, locked): (u8, &Locked),
    rows: &[NewClaim<'_>],
    care: Care,
    already: u64,
) -> Result<Inserted, Fail> {
    let values: Vec<Vec<Value>> = rows.iter().map(|row| columns(row, slot, locked)).collect();
    let mut inserted = match care {
        Care::Usual => Inserted {
            rows: statement(tx, &values).await?,
            refused: Vec::new(),
        },
        Care::EachRow => halving(tx, &values).await?,
    };
    if tx.dialect() == Dialect::MySql {
        inserted.rows = count_new(tx, slot, locked).await?.saturating_sub(already);
    }
    Ok(inserted)
}

async fn statement(tx: &mut Tx, rows: &[Vec<Value>]) -> Result<u64, Fail> {
    let tail = tx.dialect().passing_over("campaign_no");
    tx.insert_rows(INSERT, rows, &tail).await
}

async fn halving(tx: &mut Tx, rows: &[Vec<Value>]) -> Result<Inserted, Fail> {
    let mut inserted = Inserted::default();
    let mut waiting: Vec<Range<usize>> = Vec::new();
    waiting.push(0..rows.len());
    while let Some(range) = waiting.pop() {
        tx.raw("SAVEPOINT rows_of_claims".into()).await?;
        match statement(tx, &rows[range.clone()]).await {
            Ok(count) => inserted.rows += count,
            Err(fail) if fail.fault() == Fault::Row => {
                tx.raw("ROLLBACK TO SAVEPOINT rows_of_claims".into())
                    .await?;
                if range.len() == 1 {
                    let error = fail.judge();
                    tracing::warn!(%error, "a claim is refused by the database");
                    inserted.refused.push(range.start);
                } else {
                    let middle = range.start + range.len() / 2;
                    waiting.push(middle..range.end);
                    waiting.push(range.start..middle);
                }
            }
            Err(fail) => return Err(fail),
        }
    }
    Ok(inserted)
}

fn columns(row: &NewClaim<'_>, slot: u8, locked: &Locked) -> Vec<Value> {
    let ask = row.ask;
    let (_, claims_before) = locked[&ask.campaign];
    let grab_id = row.grab_id();
    values![
        ask.campaign.0,
        ask.packet.wave,
        ask.packet.index,
        ask.id.0.as_bytes(),
        &ask.user,
        codec::amount_to_column(ask.amount),
        ask.tier.map(i64::from),
        row.claimed_at.micros(),
        row.period,
        row.ordinal,
        grab_id.as_ref().map(|grab| grab.0.as_bytes()),
        i64::from(slot),
        claims_before + 1,
    ]
    .into()
}
