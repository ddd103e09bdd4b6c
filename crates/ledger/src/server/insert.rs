//! Inserts claims: one statement for all rows of a round.

use std::ops::Range;

use super::{
    dialect::Dialect,
    fault::{Fail, Fault},
    fence::Fence,
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
    fence: &Fence,
    rows: &[NewClaim<'_>],
    care: Care,
    already: u64,
) -> Result<Inserted, Fail> {
    let values: Vec<Vec<Value>> = rows.iter().map(|row| columns(row, fence)).collect();
    let (mut inserted, refused) = match care {
        Care::Usual => (statement(tx, &values).await?, Vec::new()),
        Care::EachRow => halving(tx, &values).await?,
    };
    if tx.dialect() == Dialect::MySql {
        // It counts rows that were there as touched. The slot's own numbering tells them apart.
        let counting = Dialect::MySql.rewrite(&fence.counting());
        let counted = tx.fetch_one(&counting, &[]).await?.int(0)?;
        inserted = codec::count(counted)?.saturating_sub(already);
    }
    Ok(Inserted {
        rows: inserted,
        refused,
    })
}

async fn statement(tx: &mut Tx, rows: &[Vec<Value>]) -> Result<u64, Fail> {
    let tail = tx.dialect().passing_over("campaign_no");
    tx.insert_rows(INSERT, rows, &tail).await
}

/// Rows inserted, as far as the database tells, and the places of those refused.
async fn halving(tx: &mut Tx, rows: &[Vec<Value>]) -> Result<(u64, Vec<usize>), Fail> {
    let (mut inserted, mut refused) = (0, Vec::new());
    let mut waiting: Vec<Range<usize>> = Vec::new();
    waiting.push(0..rows.len());
    while let Some(range) = waiting.pop() {
        tx.raw("SAVEPOINT rows_of_claims".into()).await?;
        match statement(tx, &rows[range.clone()]).await {
            Ok(count) => inserted += count,
            Err(fail) if fail.fault() == Fault::Row => {
                tx.raw("ROLLBACK TO SAVEPOINT rows_of_claims".into())
                    .await?;
                if range.len() == 1 {
                    let error = fail.judge();
                    tracing::warn!(%error, "a claim is refused by the database");
                    refused.push(range.start);
                } else {
                    let middle = range.start + range.len() / 2;
                    waiting.push(middle..range.end);
                    waiting.push(range.start..middle);
                }
            }
            Err(fail) => return Err(fail),
        }
    }
    Ok((inserted, refused))
}

fn columns(row: &NewClaim<'_>, fence: &Fence) -> Vec<Value> {
    let ask = row.ask;
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
        i64::from(fence.slot()),
        fence.number(ask.campaign),
    ]
    .into()
}
