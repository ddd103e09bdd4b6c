//! Reads what stands under the keys of asks: one statement for all of them by each key.
//!
//! Asks of one campaign mostly share wave and period, so keys are grouped by these, and each
//! group is one list.

use std::collections::{BTreeMap, HashMap};

use rules::{ClaimId, UserId};

use super::{
    fault::Fail,
    sql::Conn,
    value::{Row, Value, values},
    wins,
};
use crate::{CampaignNo, ClaimAsk, Win, codec, conflict::Standing};

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
    conn: &mut Conn,
    asks: &[(&ClaimAsk, i64)],
    keys: Keys,
) -> Result<Vec<Standing>, Fail> {
    let mut standings = vec![Standing::default(); asks.len()];
    if keys == Keys::All {
        let places: Vec<_> = asks.iter().map(|(ask, _)| *ask).collect();
        for (standing, packet) in standings.iter_mut().zip(packets(conn, &places).await?) {
            standing.packet = packet;
        }
    }
    users(conn, asks, &mut standings).await?;
    grabs(conn, asks, &mut standings).await?;
    Ok(standings)
}

/// Who has the packet of each ask, in the same order.
pub(super) async fn packets(
    conn: &mut Conn,
    asks: &[&ClaimAsk],
) -> Result<Vec<Option<(ClaimId, Win)>>, Fail> {
    let mut groups: BTreeMap<(CampaignNo, u32), Vec<usize>> = BTreeMap::new();
    for (place, ask) in asks.iter().enumerate() {
        let wave = (ask.campaign, ask.packet.wave);
        groups.entry(wave).or_default().push(place);
    }
    let mut found = vec![None; asks.len()];
    for ((campaign, wave), places) in groups {
        let keys: Vec<Value> = places
            .iter()
            .map(|&place| asks[place].packet.index.into())
            .collect();
        let rows = conn
            .fetch_in(
                concat!(
                    "SELECT claim_id, ",
                    wins::columns!(),
                    " FROM claims {BY PRIMARY} WHERE campaign_no = ? AND wave = ? AND idx {IN}"
                ),
                &values![campaign.0, wave],
                &keys,
            )
            .await?;
        let mut by_index = HashMap::with_capacity(rows.len());
        for row in &rows {
            let win = wins::win(row, 1)?;
            by_index.insert(win.packet.index, (codec::claim_id(row.bytes(0)?)?, win));
        }
        for place in places {
            // Cloned: two asks may want one packet.
            found[place] = by_index.get(&asks[place].packet.index).cloned();
        }
    }
    Ok(found)
}

async fn users(
    conn: &mut Conn,
    asks: &[(&ClaimAsk, i64)],
    standings: &mut [Standing],
) -> Result<(), Fail> {
    let mut groups: BTreeMap<(CampaignNo, i64), Vec<usize>> = BTreeMap::new();
    for (place, (ask, period)) in asks.iter().enumerate() {
        let period = (ask.campaign, *period);
        groups.entry(period).or_default().push(place);
    }
    for ((campaign, period), places) in groups {
        let keys: Vec<Value> = places.iter().map(|&n| (&asks[n].0.user).into()).collect();
        let rows = conn
            .fetch_in(
                concat!(
                    "SELECT user_id, ",
                    wins::columns!(),
                    " FROM claims {BY claims_by_user} \
                     WHERE campaign_no = ? AND period = ? AND user_id {IN}"
                ),
                &values![campaign.0, period],
                &keys,
            )
            .await?;
        let by_user = by_user(&rows)?;
        for place in places {
            if let Some(wins) = by_user.get(&asks[place].0.user) {
                standings[place].period_wins.clone_from(wins);
            }
        }
    }
    Ok(())
}

/// Only where taps are kept, which is where a user can win more than once.
async fn grabs(
    conn: &mut Conn,
    asks: &[(&ClaimAsk, i64)],
    standings: &mut [Standing],
) -> Result<(), Fail> {
    let mut groups: BTreeMap<CampaignNo, Vec<usize>> = BTreeMap::new();
    for (place, (ask, _)) in asks.iter().enumerate() {
        if ask.grab_id.is_some() && ask.win_limit.several() {
            groups.entry(ask.campaign).or_default().push(place);
        }
    }
    for (campaign, places) in groups {
        let users: Vec<Value> = places.iter().map(|&n| (&asks[n].0.user).into()).collect();
        let taps: Vec<Value> = places
            .iter()
            .map(|&n| Value::from(asks[n].0.grab_id.as_ref().map(|grab| grab.0.as_bytes())))
            .collect();
        let rows = conn
            .fetch_in_all(
                concat!(
                    "SELECT user_id, ",
                    wins::columns!(),
                    " FROM claims {BY claims_by_grab} WHERE campaign_no = ? \
                     AND grab_id IS NOT NULL AND user_id {IN} AND grab_id {IN}"
                ),
                &values![campaign.0],
                &[&users, &taps],
            )
            .await?;
        let by_user = by_user(&rows)?;
        for place in places {
            let ask = asks[place].0;
            let wins = by_user.get(&ask.user).into_iter().flatten();
            // The lists are not pairs: another user's tap may have this id.
            let mut of_tap = wins.filter(|win| win.grab_id == ask.grab_id);
            standings[place].grab = of_tap.next().cloned();
        }
    }
    Ok(())
}

/// Rows of a user and a win.
fn by_user(rows: &[Row]) -> Result<HashMap<UserId, Vec<Win>>, Fail> {
    let mut by_user: HashMap<UserId, Vec<Win>> = HashMap::with_capacity(rows.len());
    for row in rows {
        let wins = by_user.entry(row.user(0)?).or_default();
        wins.push(wins::win(row, 1)?);
    }
    Ok(by_user)
}
