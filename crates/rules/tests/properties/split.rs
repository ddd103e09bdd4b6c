//! Splits: the exact sum, every bound, no empty packet, no overflow; and what is refused.

use proptest::prelude::*;
use rules::{
    Fen, Seed, Shares, Split, SplitRefusal, Tranche,
    limits::{AMOUNT_MAX, PACKETS_MAX, TIERS_MAX},
    split,
};

use crate::terms::{equal, fen, legal, legal_lucky, lucky, seeds, tiers, wild};

/// All that must hold of the packets of a tranche.
fn assert_fits(tranche: &Tranche, shares: &Shares) {
    assert_eq!(shares.len(), usize::try_from(tranche.packets).unwrap());
    let sum = Fen::checked_sum(shares.amounts().iter().copied());
    assert_eq!(sum, Some(tranche.budget().unwrap()));
    assert!(shares.amounts().iter().all(|amount| *amount >= Fen::ONE));
    match &tranche.split {
        Split::Equal { amount } => {
            assert!(shares.amounts().iter().all(|share| share == amount));
            assert_eq!(shares.tier(0), None);
        }
        Split::Lucky { total, min, max } => {
            assert_eq!(sum, Some(*total));
            let max = max.unwrap_or(*total);
            assert!(
                shares
                    .amounts()
                    .iter()
                    .all(|share| (*min..=max).contains(share))
            );
            assert_eq!(shares.tier(0), None);
        }
        Split::Tiers { tiers } => {
            let mut counts = vec![0_u32; tiers.len()];
            for place in 0..shares.len() {
                let tier = usize::from(shares.tier(place).unwrap());
                counts[tier] += 1;
                assert_eq!(shares.amount(place), tiers[tier].amount);
            }
            assert!(counts.iter().zip(tiers).all(|(n, tier)| *n == tier.count));
            assert_eq!(shares.tier(shares.len()), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_legal_tranche_is_split_exactly(seed in seeds(), tranche in legal()) {
        assert_fits(&tranche, &split(&seed, &tranche).unwrap());
    }

    #[test]
    fn the_seed_and_the_terms_decide_alone(seed in seeds(), tranche in legal()) {
        prop_assert_eq!(split(&seed, &tranche), split(&seed, &tranche));
    }

    /// A refusal comes for exactly the reasons there are, and never as a panic.
    #[test]
    fn what_is_refused_is_what_cannot_be_split(seed in seeds(), tranche in wild()) {
        let n = u128::from(tranche.packets);
        let all = |each: Fen| u128::from(each.units()) * n;
        let most = u128::from(AMOUNT_MAX);
        let possible = (1..=PACKETS_MAX).contains(&tranche.packets) && match &tranche.split {
            Split::Equal { amount } => *amount > Fen::ZERO && all(*amount) <= most,
            Split::Lucky { total, min, max } => {
                let total = u128::from(total.units());
                *min > Fen::ZERO && max.is_none_or(|max| *min <= max && total <= all(max))
                    && all(*min) <= total
            }
            Split::Tiers { tiers } => {
                !tiers.is_empty()
                    && tiers.iter().all(|tier| tier.count > 0 && tier.amount > Fen::ZERO)
                    && tiers.iter().map(|tier| u128::from(tier.count)).sum::<u128>() == n
                    && tiers.iter()
                        .map(|tier| u128::from(tier.count) * u128::from(tier.amount.units()))
                        .sum::<u128>() <= most
            }
        };
        match tranche.budget() {
            Ok(_) => {
                prop_assert!(possible);
                if tranche.packets < 10_000 {
                    assert_fits(&tranche, &split(&seed, &tranche).unwrap());
                }
            }
            Err(refusal) => {
                prop_assert!(!possible, "{}", refusal);
                prop_assert_eq!(split(&seed, &tranche).unwrap_err(), refusal);
            }
        }
    }

    #[test]
    fn digests_tell_ranges_apart(seed in seeds(), tranche in legal_lucky(), a in 0..4000_u32, b in 1..4000_u32) {
        let shares = split(&seed, &tranche).unwrap();
        let n = tranche.packets;
        let (offset, packets) = (a % n, 1 + b % n);
        let digest = shares.range_digest(offset, packets);
        prop_assert_eq!(shares.range_digest(offset, packets), digest);
        if offset + packets <= n {
            prop_assert_ne!(shares.range_digest(offset, packets - 1), digest);
        } else {
            prop_assert_eq!(shares.range_digest(offset, n - offset), digest);
        }
        prop_assert_eq!(shares.range_digest(n, packets), shares.range_digest(u32::MAX, u32::MAX));
    }
}

#[test]
fn the_largest() {
    let seed = Seed([9; 32]);
    let n = u64::from(PACKETS_MAX);
    let large = [
        lucky(1, AMOUNT_MAX, 1, None),
        lucky(2, AMOUNT_MAX, 1, Some(AMOUNT_MAX)),
        lucky(2, AMOUNT_MAX, AMOUNT_MAX / 2, Some(AMOUNT_MAX / 2 + 1)),
        lucky(100_000, AMOUNT_MAX, 1, None),
        lucky(100_000, AMOUNT_MAX, AMOUNT_MAX / 100_000, None),
        lucky(100_000, 100_000, 1, None),
        lucky(1_000_000, 1_000_000 * 50 - 1, 1, Some(50)),
        equal(100_000, AMOUNT_MAX / 100_000),
        tiers(300_000, &[(1, AMOUNT_MAX / 2), (299_999, 1)]),
    ];
    for tranche in large {
        assert_fits(&tranche, &split(&seed, &tranche).unwrap());
    }
    // The budgets at the limit of packets; making all of them would only take time.
    assert_eq!(
        equal(PACKETS_MAX, AMOUNT_MAX / n).budget(),
        Ok(fen(AMOUNT_MAX / n * n))
    );
    assert_eq!(
        lucky(PACKETS_MAX, AMOUNT_MAX, AMOUNT_MAX / n, Some(AMOUNT_MAX)).budget(),
        Ok(Fen::MAX)
    );
}

#[test]
fn no_room_leaves_no_choice() {
    let seed = Seed([1; 32]);
    for tranche in [
        lucky(50, 350, 7, None),
        lucky(50, 350, 1, Some(7)),
        lucky(50, 350, 7, Some(7)),
    ] {
        let shares = split(&seed, &tranche).unwrap();
        assert!(shares.amounts().iter().all(|amount| *amount == fen(7)));
    }
}

#[test]
fn seeds_and_tranches_give_other_amounts() {
    let tranche = lucky(100, 1_000_000, 1, None);
    let next = Tranche {
        number: 1,
        ..tranche.clone()
    };
    let shares = split(&Seed([0; 32]), &tranche).unwrap();
    assert_ne!(split(&Seed([1; 32]), &tranche).unwrap(), shares);
    assert_ne!(split(&Seed([0; 32]), &next).unwrap(), shares);
}

/// Each refusal with the field to blame and a word of its reason.
#[test]
fn every_refusal_says_which_field_and_why() {
    let prize_over_limit = vec![(1, 1); TIERS_MAX + 1];
    let cases = [
        (equal(0, 5), "packets", "at least 1"),
        (equal(PACKETS_MAX + 1, 5), "packets", "at most 10000000"),
        (equal(5, 0), "split.amount", "no packet may be empty"),
        (equal(2, AMOUNT_MAX), "split.amount", "too large"),
        (
            lucky(5, 100, 0, None),
            "split.min",
            "no packet may be empty",
        ),
        (lucky(5, 100, 9, Some(8)), "split.max", "at least `min` (9)"),
        (lucky(5, 100, 1, Some(0)), "split.max", "at least `min` (1)"),
        (lucky(5, 4, 1, None), "split.total", "at least 5"),
        (lucky(5, 0, 1, None), "split.total", "at least 5"),
        (lucky(5, 101, 1, Some(20)), "split.total", "at most 100"),
        (
            lucky(PACKETS_MAX, AMOUNT_MAX, AMOUNT_MAX, None),
            "split.total",
            "at least 90071992547409910000000",
        ),
        (tiers(5, &[]), "split.tiers", "at least one prize"),
        (
            tiers(1001, &prize_over_limit),
            "split.tiers",
            "at most 1000",
        ),
        (tiers(5, &[(5, 1), (0, 9)]), "split.tiers", "prize 2 is 0"),
        (tiers(5, &[(5, 0)]), "split.tiers", "prize 1 is 0"),
        (tiers(5, &[(2, 1), (2, 9)]), "split.tiers", "add up to 4"),
        (
            tiers(2, &[(u32::MAX, 1), (u32::MAX, 9)]),
            "split.tiers",
            "add up to 8589934590",
        ),
        (
            tiers(2, &[(2, AMOUNT_MAX)]),
            "split.tiers",
            "are worth more",
        ),
        (
            tiers(2, &[(1, AMOUNT_MAX), (1, 1)]),
            "split.tiers",
            "are worth more",
        ),
    ];
    for (tranche, field, why) in cases {
        let refusal: SplitRefusal = tranche.budget().unwrap_err();
        assert_eq!(refusal.field(), field, "{refusal}");
        assert!(refusal.to_string().contains(why), "{field} {refusal}");
    }
}
