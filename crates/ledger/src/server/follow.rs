//! Following the wins of other processes: how many each fence slot has, and those after a count.
//!
//! A slot's count and the claims it counts are committed together, and a claim's place in its
//! slot is given under the slot's lock; so whoever read a count can read every claim it counts,
//! without a snapshot and whatever the clocks say. Whether it did is checked: behind a proxy that
//! divides reads among servers the claims may come from one that lags behind the counts.

use std::collections::HashMap;

use rules::UserId;

use super::{
    fault::Fail,
    open::Inner,
    sql::Conn,
    value::{Value, values},
    wins::{columns, win},
};
use crate::{CampaignNo, Seen, Win, codec};

/// Wins that one statement reads, or one batch more.
const PAGE: u64 = 4_096;

/// See [`crate::Ledger::seen`].
pub(super) async fn seen(inner: &Inner, campaigns: &[CampaignNo]) -> Result<Vec<Seen>, Fail> {
    seen_of(&mut inner.reader().await?, campaigns).await
}

async fn seen_of(conn: &mut Conn, campaigns: &[CampaignNo]) -> Result<Vec<Seen>, Fail> {
    let keys: Vec<_> = campaigns.iter().map(|no| Value::from(no.0)).collect();
    let sql = "SELECT campaign_no, slot, claims FROM fence WHERE claims > 0 AND campaign_no {IN}";
    let mut seen: HashMap<CampaignNo, Seen> = HashMap::new();
    for row in conn.fetch_in(sql, &[], &keys).await? {
        let slots = seen.entry(CampaignNo(row.int(0)?)).or_default();
        let slot: u8 = codec::small(row.int(1)?, "a slot")?;
        let count = slots.0.get_mut(usize::from(slot));
        let count = count.ok_or_else(|| codec::corrupt(format!("there is a slot {slot}")))?;
        *count = codec::count(row.int(2)?)?;
    }
    let of = |no| seen.get(no).copied().unwrap_or_default();
    Ok(campaigns.iter().map(of).collect())
}

/// See [`crate::Ledger::wins_after`].
pub(super) async fn after(
    inner: &Inner,
    campaign: CampaignNo,
    seen: &Seen,
) -> Result<(Vec<(UserId, Win)>, Seen), Fail> {
    let mut reader = inner.reader().await?;
    let now = seen_of(&mut reader, &[campaign]).await?;
    let now = now.first().copied().unwrap_or_default();
    let pages = pages(seen, &now);
    let mut wins = Vec::new();
    for spans in &pages {
        let (sql, values) = select(campaign, spans)?;
        for row in reader.fetch_all(&sql, &values).await? {
            wins.push((row.user(0)?, win(&row, 1)?));
        }
    }
    let counted = pages.iter().flatten().map(|span| span.to - span.from);
    let (read, counted) = (wins.len() as u64, counted.sum::<u64>());
    if read != counted {
        // One campaign's trouble: the others are followed on.
        let why = format!(
            "{read} claims were read where {counted} are counted: the books are damaged, or reads go \
             to a server that lags behind the primary"
        );
        return Err(codec::corrupt(why).into());
    }
    Ok((wins, now))
}

/// Claims of one slot: those whose place is above `from` and at most `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    slot: usize,
    from: u64,
    to: u64,
}

/// What came from `before` to `now`, at most [`PAGE`] claims together. Where a count is lower
/// than before, the books are others than those that were seen: all of that slot.
fn pages(before: &Seen, now: &Seen) -> Vec<Vec<Span>> {
    let (mut pages, mut page, mut room) = (Vec::new(), Vec::new(), PAGE);
    for (slot, (&before, &now)) in before.0.iter().zip(&now.0).enumerate() {
        let mut from = if before > now { 0 } else { before };
        while from < now {
            let to = now.min(from + room);
            page.push(Span { slot, from, to });
            room -= to - from;
            from = to;
            if room == 0 {
                pages.push(std::mem::take(&mut page));
                room = PAGE;
            }
        }
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

/// The statement for a page. The claims of a batch share one place, that of its first: spans
/// that follow one another divide them without a gap all the same.
fn select(campaign: CampaignNo, spans: &[Span]) -> Result<(String, Vec<Value>), Fail> {
    let mut values = values![campaign.0].to_vec();
    for span in spans {
        let slot = codec::to_column(span.slot as u64)?;
        let (from, to) = (codec::to_column(span.from)?, codec::to_column(span.to)?);
        values.extend(values![slot, from, to]);
    }
    let span = "(slot = ? AND slot_seq > ? AND slot_seq <= ?)";
    let spans = vec![span; spans.len()].join(" OR ");
    let head = concat!("SELECT user_id, ", columns!(), " FROM claims");
    Ok((
        format!("{head} WHERE campaign_no = ? AND ({spans})"),
        values,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(counts: &[(usize, u64)]) -> Seen {
        let mut seen = Seen::default();
        for &(slot, count) in counts {
            seen.0[slot] = count;
        }
        seen
    }

    #[test]
    fn what_came_is_read_once_and_in_pages() {
        let before = seen(&[(0, 5), (3, 10)]);
        let now = seen(&[(0, 7), (3, 10), (9, 2 * PAGE)]);
        let pages = pages(&before, &now);
        let sizes: Vec<u64> = pages
            .iter()
            .map(|page| page.iter().map(|span| span.to - span.from).sum())
            .collect();
        assert_eq!(sizes, [PAGE, PAGE, 2]);
        let mut reached = before;
        for span in pages.iter().flatten() {
            assert_eq!(reached.0[span.slot], span.from, "without a gap");
            reached.0[span.slot] = span.to;
        }
        assert_eq!(reached, now);
    }

    #[test]
    fn nothing_new_is_nothing_read_and_other_books_are_read_whole() {
        let now = seen(&[(2, 4)]);
        assert!(pages(&now, &now).is_empty());
        let span = Span {
            slot: 2,
            from: 0,
            to: 4,
        };
        assert_eq!(pages(&seen(&[(2, 9)]), &now), [[span]]);
    }
}
