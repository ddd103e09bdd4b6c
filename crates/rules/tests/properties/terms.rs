//! Arbitrary terms: legal tranches from every corner of the range, and wild ones.

use proptest::prelude::*;
use rules::{Fen, Seed, Split, Tier, Tranche, limits::AMOUNT_MAX};

/// The most packets of one generated case, for time's sake; `split::the_largest` has the rest.
const PACKETS_FEW: u32 = 3_000;

pub(crate) fn fen(units: u64) -> Fen {
    Fen::new(units).unwrap()
}

pub(crate) fn seeds() -> impl Strategy<Value = Seed> {
    any::<[u8; 32]>().prop_map(Seed)
}

pub(crate) fn lucky(packets: u32, total: u64, min: u64, max: Option<u64>) -> Tranche {
    Tranche {
        number: 0,
        packets,
        split: Split::Lucky {
            total: fen(total),
            min: fen(min),
            max: max.map(fen),
        },
    }
}

pub(crate) fn equal(packets: u32, amount: u64) -> Tranche {
    Tranche {
        number: 0,
        packets,
        split: Split::Equal {
            amount: fen(amount),
        },
    }
}

pub(crate) fn tiers(packets: u32, prizes: &[(u32, u64)]) -> Tranche {
    let tiers = prizes.iter().enumerate();
    let tiers = tiers.map(|(number, &(count, amount))| Tier {
        label: format!("prize {number}"),
        count,
        amount: fen(amount),
    });
    Tranche {
        number: 0,
        packets,
        split: Split::Tiers {
            tiers: tiers.collect(),
        },
    }
}

fn packets() -> impl Strategy<Value = u32> {
    prop_oneof![1..=4_u32, 1..=100_u32, 1..=PACKETS_FEW]
}

/// Numbers up to `most` of every order of magnitude, the ends among them.
pub(crate) fn up_to(least: u64, most: u64) -> BoxedStrategy<u64> {
    assert!(least <= most);
    let by_magnitude = (0..=most.ilog2(), any::<u64>())
        .prop_map(move |(bits, any)| (any >> (63 - bits)).clamp(least, most));
    prop_oneof![
        1 => Just(least),
        1 => Just(most),
        2 => least..=most,
        4 => by_magnitude,
    ]
    .boxed()
}

/// Every legal lucky tranche: min, then max no less, then a total that both allow.
pub(crate) fn legal_lucky() -> impl Strategy<Value = Tranche> {
    packets()
        .prop_flat_map(|n| {
            let min = up_to(1, AMOUNT_MAX / u64::from(n));
            (Just(n), min)
        })
        .prop_flat_map(|(n, min)| {
            let max = prop_oneof![
                Just(None),
                Just(Some(min)),
                Just(Some(min + 1).filter(|max| *max <= AMOUNT_MAX)),
                up_to(min, AMOUNT_MAX).prop_map(Some),
                Just(Some(AMOUNT_MAX)),
            ];
            (Just(n), Just(min), max)
        })
        .prop_flat_map(|(n, min, max)| {
            let least = min * u64::from(n);
            let most = max.map_or(AMOUNT_MAX, |max| {
                max.saturating_mul(u64::from(n)).min(AMOUNT_MAX)
            });
            (Just(n), Just(min), Just(max), up_to(least, most))
        })
        .prop_map(|(n, min, max, total)| lucky(n, total, min, max))
}

/// Every legal equal tranche.
pub(crate) fn legal_equal() -> impl Strategy<Value = Tranche> {
    packets()
        .prop_flat_map(|n| (Just(n), up_to(1, AMOUNT_MAX / u64::from(n))))
        .prop_map(|(n, amount)| equal(n, amount))
}

/// Legal tiered tranches of up to a dozen prizes; each may be worth its part of the greatest
/// sum.
pub(crate) fn legal_tiers() -> impl Strategy<Value = Tranche> {
    prop::collection::vec((1..=300_u32, 0.0..=1.0_f64), 1..=12).prop_map(|prizes| {
        let parts = u64::try_from(prizes.len()).unwrap();
        let prizes: Vec<_> = prizes
            .into_iter()
            .map(|(count, share)| {
                let most = AMOUNT_MAX / parts / u64::from(count);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "any amount in the range will do"
                )]
                let amount = (most as f64).powf(share) as u64;
                (count, amount.clamp(1, most))
            })
            .collect();
        tiers(prizes.iter().map(|(count, _)| count).sum(), &prizes)
    })
}

/// Every legal tranche, of any number.
pub(crate) fn legal() -> impl Strategy<Value = Tranche> {
    let split = prop_oneof![
        3 => legal_lucky().boxed(),
        1 => legal_equal().boxed(),
        1 => legal_tiers().boxed(),
    ];
    (split, any::<u32>()).prop_map(|(tranche, number)| Tranche { number, ..tranche })
}

/// Any terms that the types can hold, most of them nonsense.
pub(crate) fn wild() -> impl Strategy<Value = Tranche> {
    let amount = || up_to(0, AMOUNT_MAX);
    let max = prop_oneof![Just(None), amount().prop_map(Some)];
    let count = || up_to(0, u64::from(u32::MAX)).prop_map(|n| u32::try_from(n).unwrap());
    let few = || prop_oneof![0..=5_u32, 0..=PACKETS_FEW];
    prop_oneof![
        (few(), amount()).prop_map(|(n, each)| equal(n, each)),
        (few(), amount(), amount(), max).prop_map(|(n, total, min, max)| lucky(n, total, min, max)),
        (few(), prop::collection::vec((few(), amount()), 0..4))
            .prop_map(|(n, prizes)| tiers(n, &prizes)),
        prop::collection::vec((few(), 0..9_u64), 0..4)
            .prop_map(|prizes| { tiers(prizes.iter().map(|(count, _)| count).sum(), &prizes) }),
        // Budgets only: packets of these numbers are never made.
        (count(), prop::collection::vec((count(), amount()), 0..4))
            .prop_map(|(n, prizes)| tiers(n, &prizes)),
    ]
}
