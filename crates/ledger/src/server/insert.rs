//! Inserts claims: one statement for all rows of a round.
//!
//! A process that stalls in the midst of its transaction keeps its rows locked until the database
//! gives it up, and its users ask elsewhere meanwhile. Whoever has waited for such a row in vain
//! leaves it out and claims the others; for a while afterwards rows are not waited for.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

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

/// How long no claim waits for rows after one was found to be held.
const HELD_FOR: Duration = Duration::from_secs(3);

/// Whether a row of a claim was waited for in vain lately: another transaction holds it and does
/// not end.
pub(super) struct Held {
    found_at: Mutex<Option<Instant>>,
    /// Whether the database can be told not to wait. MySQL waits a second at the least, too long
    /// to find out which row it is.
    can_be_passed_over: bool,
}

impl Held {
    /// None was found yet.
    pub(super) fn new(can_be_passed_over: bool) -> Self {
        Self {
            found_at: Mutex::default(),
            can_be_passed_over,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.found_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With what care a batch is tried first.
    pub(super) fn care(&self) -> Care {
        match *self.lock() {
            Some(found) if found.elapsed() < HELD_FOR => Care::EachRow,
            _ => Care::Plain,
        }
    }

    /// With what a batch is tried again that waited in vain; `None` when it was not for a row, or
    /// when care does not help.
    pub(super) fn after(&self, care: Care) -> Option<Care> {
        let more = Some(self.care()).filter(|&more| more == Care::EachRow && more != care);
        if more.is_some() {
            metrics::counter!("hongbao_ledger_conflicts_total").increment(1);
        }
        more
    }

    /// One was waited for in vain just now.
    pub(super) fn found(&self) {
        if self.can_be_passed_over {
            *self.lock() = Some(Instant::now());
        }
    }
}

/// How a refused row is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It fails the transaction, and so does one whose key is there: nearly always none is, and
    /// this costs a database least. (MySQL does not tell how many rows it has passed over, and to
    /// count them costs nearly half as much as to insert them.)
    Plain,
    /// It fails the transaction; rows whose key is there are passed over.
    Usual,
    /// The statement is taken back and halved until the row stands alone. A row that another
    /// transaction holds is refused, too, and not waited for.
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
    /// Places in the slice of rows that the database refused for what is in them, or that another
    /// transaction holds.
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
    let mut inserted = match (tx.dialect(), care) {
        (_, Care::Plain) => Inserted::all(tx.insert_rows(INSERT, &values, "").await?),
        (Dialect::MySql, Care::Usual) => Inserted::all(with_count(tx, fence, &values).await?),
        (Dialect::MySql, Care::EachRow) => {
            let tried = halving(tx, &values).await?;
            let rows = count(tx.script(counting(fence)).await?.pop())?;
            Inserted { rows, ..tried }
        }
        (Dialect::Postgres, Care::Usual) => {
            let tail = tx.dialect().passing_over("campaign_no");
            Inserted::all(tx.insert_rows(INSERT, &values, &tail).await?)
        }
        (Dialect::Postgres, Care::EachRow) => halving(tx, &values).await?,
    };
    if tx.dialect() == Dialect::MySql && care != Care::Plain {
        // Counted over all rounds of the batch.
        inserted.rows = inserted.rows.saturating_sub(already);
    }
    Ok(inserted)
}

impl Inserted {
    /// All rows but those whose key is there.
    fn all(rows: u64) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }
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

/// Inserts without waiting for a row. MySQL, which takes MariaDB's words for a comment, waits.
async fn at_once(tx: &mut Tx, rows: &[Vec<Value>]) -> Result<u64, Fail> {
    let tail = tx.dialect().passing_over("campaign_no");
    let head = match tx.dialect() {
        Dialect::MySql => {
            format!("/*M!100300 SET STATEMENT innodb_lock_wait_timeout = 0 FOR */ {INSERT}")
        }
        Dialect::Postgres => INSERT.to_owned(),
    };
    tx.insert_rows(&head, rows, &tail).await
}

/// The rows inserted, as far as the database tells, and which it refused.
async fn halving(tx: &mut Tx, rows: &[Vec<Value>]) -> Result<Inserted, Fail> {
    if tx.dialect() == Dialect::Postgres {
        // For this transaction, which has its other locks.
        tx.raw("SET LOCAL lock_timeout = '1ms'".into()).await?;
    }
    let mut inserted = Inserted::default();
    let mut waiting: Vec<Range<usize>> = Vec::new();
    waiting.push(0..rows.len());
    while let Some(range) = waiting.pop() {
        tx.raw("SAVEPOINT rows_of_claims".into()).await?;
        match at_once(tx, &rows[range.clone()]).await {
            Ok(count) => inserted.rows += count,
            Err(fail) if matches!(fail.fault(), Fault::Row | Fault::Waited) => {
                tx.raw("ROLLBACK TO SAVEPOINT rows_of_claims".into())
                    .await?;
                if range.len() == 1 {
                    inserted.refused.push(range.start);
                    if fail.fault() == Fault::Waited {
                        metrics::counter!("hongbao_claims_held_total").increment(1);
                    } else {
                        let error = fail.judge();
                        tracing::warn!(%error, "a claim is refused by the database");
                    }
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
