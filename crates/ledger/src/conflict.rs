//! What a claim that was not inserted means, decided purely from what was read back.
//!
//! Every database inserts with its own words; which key stands in the way, and what the user is
//! to be told, is decided here and nowhere else.

use rules::ClaimId;

use crate::{ClaimAsk, ClaimResult, Win};

/// What the ledger holds under the keys of one ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Who has the packet.
    pub packet: Option<(ClaimId, Win)>,
    /// What the user's tap has won.
    pub grab: Option<Win>,
    /// The user's wins of the period.
    pub period_wins: Vec<Win>,
}

/// What follows for an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is decided.
    Settled(ClaimResult),
    /// Nothing stands in the way of inserting it with this ordinal.
    Insert(u32),
}

/// Decides in the order of the design: own id, Grab-Id, packet, user.
pub(crate) fn resolve(ask: &ClaimAsk, standing: &Standing) -> Verdict {
    if let Some((id, win)) = &standing.packet
        && *id == ask.id
    {
        return Verdict::Settled(ClaimResult::Won(win.clone()));
    }
    if let Some(win) = &standing.grab {
        return Verdict::Settled(ClaimResult::SameGrab(win.clone()));
    }
    if standing.packet.is_some() {
        return Verdict::Settled(ClaimResult::PacketTaken);
    }
    let taken = |ordinal: &u32| standing.period_wins.iter().any(|w| w.ordinal == *ordinal);
    if let Some(free) = (1..=ask.win_limit.count).find(|ordinal| !taken(ordinal)) {
        return Verdict::Insert(free);
    }
    let latest = standing
        .period_wins
        .iter()
        .max_by_key(|w| (w.claimed_at, w.ordinal));
    Verdict::Settled(latest.map_or(ClaimResult::Failed, |win| ClaimResult::AtLimit(win.clone())))
}

#[cfg(test)]
mod tests {
    use rules::{CampaignId, Fen, GrabId, PacketId, Per, Timestamp, UserId, WinLimit};

    use super::*;
    use crate::CampaignNo;

    fn id(n: u8) -> ClaimId {
        let CampaignId(uuid) = CampaignId::new(Timestamp::from_micros(0), [n; 10]);
        ClaimId(uuid)
    }

    fn win(ordinal: u32, index: u32) -> Win {
        Win {
            packet: PacketId { wave: 1, index },
            amount: Fen::new(5).unwrap(),
            tier: None,
            claimed_at: Timestamp::from_micros(i64::from(ordinal)),
            period: 0,
            ordinal,
            grab_id: None,
        }
    }

    fn ask(count: u32) -> ClaimAsk {
        ClaimAsk {
            id: id(1),
            campaign: CampaignNo(1),
            starts_at: Timestamp::from_micros(0),
            win_limit: WinLimit {
                count,
                per: Per::Campaign,
            },
            user: UserId::trusted("ann"),
            packet: PacketId { wave: 1, index: 9 },
            amount: Fen::new(5).unwrap(),
            tier: None,
            grab_id: Some(GrabId(id(7).0)),
            asked_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn its_own_row_wins_over_everything() {
        let standing = Standing {
            packet: Some((id(1), win(1, 9))),
            grab: Some(win(1, 9)),
            period_wins: vec![win(1, 9)],
        };
        let won = Verdict::Settled(ClaimResult::Won(win(1, 9)));
        assert_eq!(resolve(&ask(1), &standing), won);
    }

    #[test]
    fn the_same_tap_wins_over_a_taken_packet() {
        let standing = Standing {
            packet: Some((id(2), win(1, 9))),
            grab: Some(win(1, 4)),
            period_wins: vec![win(1, 4)],
        };
        let same = Verdict::Settled(ClaimResult::SameGrab(win(1, 4)));
        assert_eq!(resolve(&ask(2), &standing), same);
    }

    #[test]
    fn a_taken_packet_wins_over_the_limit() {
        let standing = Standing {
            packet: Some((id(2), win(1, 9))),
            grab: None,
            period_wins: vec![win(1, 4)],
        };
        let taken = Verdict::Settled(ClaimResult::PacketTaken);
        assert_eq!(resolve(&ask(1), &standing), taken);
    }

    #[test]
    fn the_lowest_free_ordinal_is_next_and_the_latest_win_stands_at_the_limit() {
        let mut standing = Standing::default();
        assert_eq!(resolve(&ask(2), &standing), Verdict::Insert(1));
        standing.period_wins = vec![win(2, 5)];
        assert_eq!(resolve(&ask(2), &standing), Verdict::Insert(1));
        standing.period_wins = vec![win(2, 5), win(1, 4)];
        let limit = Verdict::Settled(ClaimResult::AtLimit(win(2, 5)));
        assert_eq!(resolve(&ask(2), &standing), limit);
    }
}
