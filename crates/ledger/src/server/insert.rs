//! Inserts claims: one statement for all rows of a round.

use std::ops::Range;

use super::{
    bind::rows_text,
    dialect::Dialect,
    fault::{Fail, Fault},
    fence::Fence,
    sql::{Answer, Tx},
    value::{Value, values},
};
use crate::{claiming::NewClaim, codec};

const INSERT: &str = "INSERT INTO claims (campaign_no, wave, idx, claim_id, user_id, amount, \
     tier, claimed_at, period, ordinal, grab_id, slot, slot_seq)";

/// How a refused row is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It fails the transaction, and so does one whose key is there: nearly always none is, and
    /// this costs a database least. (MySQL does not tell how many rows it has passed over, and to
    /// count them costs nearly half as much as to insert them.)
    Plain,
    /// It fails the transaction; rows whose key is there are passed over.
    Usual,
    /// The statement is taken back and halved until the row stands alone.
    EachRow,
}

impl Care {
    /// With what a batch is tried again after a row's `fault`; `None` when care does not help.
    /// The transaction is rolled back first: PostgreSQL does no more in it, and on MySQL a plain
    /// insert that met a key keeps a shared lock on it, over which two could wait for each other.
    pub(super) fn after(self, fault: Fault) -> Option<Self> {
        match (fault, self) {
            (Fault::Unique, Self::Plain) => Some(Self::Usual),
            (Fault::Row, Self::Plain | Self::Usual) => Some(Self::EachRow),
            _ => None,
        }
    }
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
    let (inserted, refused) = match (tx.dialect(), care) {
        (_, Care::Plain) => (tx.insert_rows(INSERT, &values, "").await?, Vec::new()),
        (Dialect::MySql, Care::Usual) => (with_count(tx, fence, &values).await?, Vec::new()),
        (Dialect::MySql, Care::EachRow) => {
            let (_, refused) = halving(tx, &values).await?;
            (count(tx.script(counting(fence)).await?.pop())?, refused)
        }
        (Dialect::Postgres, Care::Usual) => (statement(tx, &values).await?, Vec::new()),
        (Dialect::Postgres, Care::EachRow) => halving(tx, &values).await?,
    };
    Ok(Inserted {
        rows: match (tx.dialect(), care) {
            // Counted over all rounds of the batch.
            (Dialect::MySql, Care::Usual | Care::EachRow) => inserted.saturating_sub(already),
            (_, Care::Plain) | (Dialect::Postgres, _) => inserted,
        },
        refused,
    })
}

/// Inserts and counts in one round trip. MySQL counts rows that were there as touched; the
/// slot's own numbering tells them apart.
async fn with_count(tx: &mut Tx, fence: &Fence, rows: &[Vec<Value>]) -> Result<u64, Fail> {
    let tail = tx.dialect().passing_over("campaign_no");
    let insert = rows_text(INSERT, rows, &tail);
    let answers = tx.script(format!("{insert};{}", counting(fence))).await?;
    count(answers.into_iter().last())
}

fn counting(fence: &Fence) -> String {
    Dialect::MySql.rewrite(&fence.counting())
}

fn count(answer: Option<Answer>) -> Result<u64, Fail> {
    let counted = answer.as_ref().and_then(|answer| answer.rows.first());
    let counted = counted.ok_or_else(|| codec::corrupt("a count counts nothing".into()))?;
    Ok(codec::count(counted.int(0)?)?)
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
