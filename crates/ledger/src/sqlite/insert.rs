//! Inserts claims with few statements.
//!
//! Rows go in statements of a few fixed sizes, so that each is prepared once for ever; that a
//! statement inserted as many rows as it was given proves every one of them.

use std::{ops::Range, sync::LazyLock};

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::{Fail, Fault, fault};
use crate::{claiming::NewClaim, codec};

/// Rows per statement, largest first; the last is 1, so that any number can be made up.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

static STATEMENTS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| SIZES.map(statement));

fn statement(rows: usize) -> String {
    let row = "(?,?,?,?,?,?,?,?,?,?,?)";
    let rows = vec![row; rows].join(",");
    format!(
        "INSERT INTO claims (campaign_no, wave, idx, claim_id, user, amount, tier, claimed_at, \
         period, ordinal, grab_id) VALUES {rows} ON CONFLICT DO NOTHING"
    )
}

/// What became of the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inserted {
    /// How many are in the table now that were not before.
    pub(super) rows: u64,
    /// Places in the slice of rows that the database refused for what is in them.
    pub(super) refused: Vec<usize>,
}

/// Inserts `rows`; conflicts are passed over. A statement with a row that is refused for
/// another reason is halved until that row stands alone.
pub(super) async fn insert(
    conn: &mut SqliteConnection,
    rows: &[NewClaim<'_>],
) -> Result<Inserted, Fail> {
    let mut inserted = Inserted::default();
    let mut waiting: Vec<Range<usize>> = Vec::new();
    waiting.push(0..rows.len());
    while let Some(range) = waiting.pop() {
        let Some((statement, size)) = largest_fitting(range.len()) else {
            continue;
        };
        if size < range.len() {
            waiting.push(range.start + size..range.end);
        }
        let chunk = range.start..range.start + size;
        match insert_chunk(conn, statement, &rows[chunk.clone()]).await {
            Ok(count) => inserted.rows += count,
            Err(error) if fault(&error) == Fault::Row => {
                tracing::warn!(%error, rows = size, "a claim is refused by the database");
                if size == 1 {
                    inserted.refused.push(chunk.start);
                } else {
                    let middle = chunk.start + size / 2;
                    waiting.push(middle..chunk.end);
                    waiting.push(chunk.start..middle);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(inserted)
}

fn largest_fitting(rows: usize) -> Option<(&'static str, usize)> {
    let fitting = SIZES.iter().position(|&size| size <= rows)?;
    Some((&STATEMENTS[fitting], SIZES[fitting]))
}

async fn insert_chunk(
    conn: &mut SqliteConnection,
    statement: &'static str,
    rows: &[NewClaim<'_>],
) -> Result<u64, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for row in rows {
        let ask = row.ask;
        query = query
            .bind(ask.campaign.0)
            .bind(i64::from(ask.packet.wave))
            .bind(i64::from(ask.packet.index))
            .bind(&ask.id.0.as_bytes()[..])
            .bind(ask.user.as_str())
            .bind(codec::amount_to_column(ask.amount))
            .bind(ask.tier.map(i64::from))
            .bind(row.claimed_at.micros())
            .bind(row.period)
            .bind(i64::from(row.ordinal));
        query = query.bind(row.grab_id().map(|grab| grab.0.as_bytes().to_vec()));
    }
    Ok(query.execute(conn).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_made_up_of_the_fixed_sizes() {
        for rows in 1..2_000 {
            let (mut left, mut statements) = (rows, 0);
            while let Some((statement, size)) = largest_fitting(left) {
                assert_eq!(statement.matches("(?").count(), size);
                left -= size;
                statements += 1;
            }
            assert_eq!(left, 0, "{rows} rows");
            assert!(statements <= rows.div_ceil(256) + 12, "{rows} rows");
        }
    }
}
