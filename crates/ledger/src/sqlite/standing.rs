//! Reads what stands under the keys of asks: one statement for all of them by each key.

use std::collections::HashMap;

use sqlx::{Row as _, SqliteConnection};

use super::{fault::Fail, wins};
use crate::{ClaimAsk, codec, conflict::Standing};

/// Which keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Those of the user: the wins of the period, and the Grab-Id.
    User,
    /// These and the packet's.
    All,
}

/// What stands under the keys of each `(ask, period)`, in the same order.
pub(super) async fn read(
    conn: &mut SqliteConnection,
    asks: &[(&ClaimAsk, i64)],
    keys: Keys,
) -> Result<Vec<Standing>, Fail> {
    let mut standings = vec![Standing::default(); asks.len()];
    if asks.is_empty() {
        return Ok(standings);
    }
    if keys == Keys::All {
        packets(conn, asks, &mut standings).await?;
    }
    users(conn, asks, &mut standings).await?;
    grabs(conn, asks, &mut standings).await?;
    Ok(standings)
}

/// `SELECT` of the claims under keys given as JSON rows, with the place of each key first. The
/// index is named, because the planner knows nothing of how many claims a campaign has, and was
/// seen to read them all.
macro_rules! claims_under {
    ($index:literal, $condition:literal) => {
        concat!(
            "SELECT k.key, c.claim_id, ",
            wins::columns!("c."),
            " FROM json_each(?) AS k CROSS JOIN claims AS c ",
            $index,
            " WHERE ",
            $condition
        )
    };
}

async fn packets(
    conn: &mut SqliteConnection,
    asks: &[(&ClaimAsk, i64)],
    standings: &mut [Standing],
) -> Result<(), Fail> {
    let keys: Vec<_> = asks
        .iter()
        .map(|(ask, _)| (ask.campaign.0, ask.packet.wave, ask.packet.index))
        .collect();
    let rows = sqlx::query(claims_under!(
        "",
        "c.campaign_no = k.value ->> 0 AND c.wave = k.value ->> 1 AND c.idx = k.value ->> 2"
    ))
    .bind(codec::json(&keys)?)
    .fetch_all(conn)
    .await?;
    for row in rows {
        let place: usize = codec::small(row.try_get(0)?, "a key's place")?;
        let id = codec::claim_id(row.try_get(1)?)?;
        standings[place].packet = Some((id, wins::win(&row, 2)?));
    }
    Ok(())
}

async fn users(
    conn: &mut SqliteConnection,
    asks: &[(&ClaimAsk, i64)],
    standings: &mut [Standing],
) -> Result<(), Fail> {
    let keys: Vec<_> = asks
        .iter()
        .map(|(ask, period)| (ask.campaign.0, ask.user.as_str(), period))
        .collect();
    let rows = sqlx::query(claims_under!(
        "INDEXED BY claims_by_user",
        "c.campaign_no = k.value ->> 0 AND c.user = k.value ->> 1 AND c.period = k.value ->> 2"
    ))
    .bind(codec::json(&keys)?)
    .fetch_all(conn)
    .await?;
    for row in rows {
        let place: usize = codec::small(row.try_get(0)?, "a key's place")?;
        standings[place].period_wins.push(wins::win(&row, 2)?);
    }
    Ok(())
}

async fn grabs(
    conn: &mut SqliteConnection,
    asks: &[(&ClaimAsk, i64)],
    standings: &mut [Standing],
) -> Result<(), Fail> {
    let mut places = HashMap::new();
    let mut keys = Vec::new();
    for (place, (ask, _)) in asks.iter().enumerate() {
        if let Some(grab) = ask.grab_id {
            places.insert(keys.len(), place);
            let hex = grab.0.simple().to_string();
            keys.push((ask.campaign.0, ask.user.as_str(), hex));
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(claims_under!(
        "INDEXED BY claims_by_grab",
        "c.campaign_no = k.value ->> 0 AND c.user = k.value ->> 1 \
         AND c.grab_id = unhex(k.value ->> 2) AND c.grab_id IS NOT NULL"
    ))
    .bind(codec::json(&keys)?)
    .fetch_all(conn)
    .await?;
    for row in rows {
        let key: usize = codec::small(row.try_get(0)?, "a key's place")?;
        standings[places[&key]].grab = Some(wins::win(&row, 2)?);
    }
    Ok(())
}
