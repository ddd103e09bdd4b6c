//! What an organiser's calls amount to, decided purely: sums, a top-up's wave, the refund.

use rules::{
    CampaignId, Fen, Timestamp, Tranche,
    check::{self, Refusal},
};

use crate::{LedgerError, Refund, Wave, WaveState, api::Result, codec, codec::corrupt};

/// The sum of `tranches`, which were checked before they came here.
pub(crate) fn budget_of(tranches: &[Tranche]) -> Result<Fen> {
    let mut sum = Fen::ZERO;
    for tranche in tranches {
        let budget = tranche.budget().map_err(|refusal| {
            let (number, field) = (tranche.number, refusal.field());
            corrupt(format!("tranche {number}: {field} {refusal}"))
        })?;
        let over = || corrupt("the tranches hold more than an amount can be".into());
        sum = sum.checked_add(budget).ok_or_else(over)?;
    }
    Ok(sum)
}

/// A top-up as it is written.
pub(crate) struct TopUp {
    /// The tranche with its number.
    pub(crate) tranche: Tranche,
    /// Its one wave.
    pub(crate) wave: Wave,
    /// The budget of all tranches.
    pub(crate) budget: Fen,
}

/// Appends `tranche` to the `tranches` that are there, as wave `last_wave + 1`, due at once;
/// refused when that would be more than a campaign may have.
pub(crate) fn top_up(
    mut tranches: Vec<Tranche>,
    tranche: Tranche,
    last_wave: i64,
    paused_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<std::result::Result<TopUp, Refusal>> {
    let waves = usize::try_from(last_wave).unwrap_or(usize::MAX);
    let checked = check::top_up(&tranches, waves, &tranche);
    if let Err(refusal) = checked {
        return Ok(Err(refusal));
    }
    let number = codec::to_column(tranches.len() as u64)?;
    let number = codec::small(number, "a tranche's number")?;
    let wave = Wave {
        number: codec::small(last_wave + 1, "a wave's number")?,
        tranche: number,
        offset: 0,
        packets: tranche.packets,
        // The resume moves planned waves on by the whole pause: so this one is due then.
        due_at: paused_at.unwrap_or(now),
        state: WaveState::Planned,
        bundle_size: 0,
        algorithm: 0,
        digest: None,
        opened_at: None,
        opening: None,
    };
    let tranche = Tranche { number, ..tranche };
    tranches.push(tranche.clone());
    let budget = budget_of(&tranches)?;
    Ok(Ok(TopUp {
        tranche,
        wave,
        budget,
    }))
}

/// Which campaigns a close is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closes {
    /// Any: the organiser wants it.
    Always,
    /// One whose end has come. It may have been put off since whoever closes has read it, and a
    /// refund by books that an audit found wrong is for a person to decide.
    Ended,
}

impl Closes {
    /// Whether it is meant for a campaign with this end.
    pub(crate) fn is_meant_for(self, ends_at: Timestamp, halted: bool, now: Timestamp) -> bool {
        match self {
            Self::Always => true,
            Self::Ended => ends_at <= now && !halted,
        }
    }
}

/// What a close gives back: the budget of `tranches` without the `claims`.
pub(crate) fn refund(
    id: CampaignId,
    tranches: &[Tranche],
    (claims, claimed): (u64, Fen),
    refunded_at: Timestamp,
) -> Result<Refund, LedgerError> {
    let budget = budget_of(tranches)?;
    let issued: u64 = tranches.iter().map(|t| u64::from(t.packets)).sum();
    let over = || corrupt(format!("campaign {id} has given out more than its budget"));
    Ok(Refund {
        packets: issued.checked_sub(claims).ok_or_else(over)?,
        amount: budget.checked_sub(claimed).ok_or_else(over)?,
        refunded_at,
    })
}

/// How much later everything planned is after a pause, in microseconds. A clock set back over a
/// restart may not have caught up with the pause's beginning yet.
pub(crate) fn pause_micros(paused_at: Timestamp, now: Timestamp) -> i64 {
    now.since(paused_at).max(0)
}

#[cfg(test)]
mod tests {
    use rules::Split;
    use uuid::Uuid;

    use super::*;

    fn tranche(number: u32, packets: u32) -> Tranche {
        let amount = Fen::new(5).unwrap();
        let split = Split::Equal { amount };
        Tranche {
            number,
            packets,
            split,
        }
    }

    #[test]
    fn a_top_up_has_the_next_numbers() {
        let (now, paused_at) = (Timestamp::from_micros(9), Timestamp::from_micros(4));
        let added = top_up(vec![tranche(0, 10)], tranche(77, 3), 4, None, now)
            .unwrap()
            .unwrap();
        assert_eq!(added.tranche, tranche(1, 3));
        let wave = &added.wave;
        assert_eq!((wave.number, wave.tranche, wave.packets), (5, 1, 3));
        assert_eq!((wave.due_at, added.budget.units()), (now, 65));
        let both = vec![tranche(0, 10), added.tranche];
        let paused = top_up(both, tranche(0, 3), 5, Some(paused_at), now)
            .unwrap()
            .unwrap();
        assert_eq!((paused.wave.tranche, paused.wave.due_at), (2, paused_at));
    }

    #[test]
    fn a_refund_is_never_negative() {
        let id = CampaignId(Uuid::from_u128(1));
        let at = Timestamp::from_micros(9);
        let fen = |units| Fen::new(units).unwrap();
        let left = refund(id, &[tranche(0, 10)], (3, fen(15)), at).unwrap();
        assert_eq!((left.packets, left.amount), (7, fen(35)));
        assert!(refund(id, &[tranche(0, 10)], (11, fen(15)), at).is_err());
        assert!(refund(id, &[tranche(0, 10)], (3, fen(51)), at).is_err());
    }

    #[test]
    fn a_pause_is_never_negative() {
        let at = Timestamp::from_micros;
        assert_eq!(pause_micros(at(5), at(12)), 7);
        assert_eq!(pause_micros(at(12), at(5)), 0);
    }
}
