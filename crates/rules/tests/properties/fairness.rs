//! Statistics under fixed seeds: no place in a tranche is better than another, and amounts are
//! spread as the double-mean rule says. They are exact repetitions, so a limit that holds once
//! holds for ever; the limits are four standard deviations or more from what is expected.

use rules::{Seed, Shares, Tranche, split};

use crate::terms::{lucky, tiers};

const ROUNDS: u32 = 8_000;

fn rounds(tranche: &Tranche) -> impl Iterator<Item = Shares> {
    (0..ROUNDS).map(|round| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&round.to_le_bytes());
        split(&Seed(seed), tranche).unwrap()
    })
}

/// Without the shuffle the last places of a lucky tranche vary far more than the first ones,
/// and with a bound their mean is another too.
#[test]
fn every_place_has_the_same_mean_and_spread() {
    for tranche in [
        lucky(10, 10_000, 1, None),
        lucky(10, 10_000, 500, Some(1_500)),
    ] {
        let mut sums = [0.0_f64; 10];
        let mut squares = [0.0_f64; 10];
        for shares in rounds(&tranche) {
            for place in 0..10 {
                let amount = f64::from(u32::try_from(shares.amount(place).units()).unwrap());
                sums[place] += amount - 1_000.0;
                squares[place] += (amount - 1_000.0).powi(2);
            }
        }
        let n = f64::from(ROUNDS);
        let variance = squares.iter().sum::<f64>() / n / 10.0;
        for place in 0..10 {
            let mean = sums[place] / n;
            assert!(
                mean.abs() < 4.5 * (variance / n).sqrt(),
                "place {place}: mean off by {mean} of variance {variance}"
            );
            let spread = squares[place] / n / variance;
            assert!(
                (0.9..1.1).contains(&spread),
                "place {place}: spread {spread}"
            );
        }
    }
}

/// The greatest packet, and the only first prize, are anywhere equally often: chi-square with
/// nine degrees of freedom stays below 33.7 but once in ten thousand times.
#[test]
fn the_best_packet_is_anywhere() {
    for tranche in [
        lucky(10, 10_000, 1, None),
        tiers(10, &[(1, 5_000), (2, 100), (7, 1)]),
    ] {
        let mut best = [0_u32; 10];
        for shares in rounds(&tranche) {
            let place = (0..10).max_by_key(|place| shares.amount(*place)).unwrap();
            best[place] += 1;
        }
        let expected = f64::from(ROUNDS) / 10.0;
        let chi: f64 = best
            .iter()
            .map(|n| (f64::from(*n) - expected).powi(2) / expected)
            .sum();
        assert!(chi < 33.7, "{best:?}: chi-square {chi}");
    }
}

/// Two packets are drawn uniformly from 1 to total − 1: the rule at its simplest.
#[test]
fn two_packets_are_uniform() {
    let tranche = lucky(2, 11, 1, None);
    let mut seen = [0_u32; 11];
    for shares in rounds(&tranche) {
        seen[usize::try_from(shares.amount(0).units()).unwrap()] += 1;
    }
    assert_eq!(seen[0], 0);
    let expected = f64::from(ROUNDS) / 10.0;
    let chi: f64 = seen[1..]
        .iter()
        .map(|n| (f64::from(*n) - expected).powi(2) / expected)
        .sum();
    assert!(chi < 33.7, "{seen:?}: chi-square {chi}");
}

/// Neighbours after a shuffle know nothing of each other but what the fixed sum makes them.
#[test]
fn neighbours_are_independent() {
    let tranche = lucky(10, 10_000, 1, None);
    let (mut products, mut squares) = (0.0_f64, 0.0_f64);
    for shares in rounds(&tranche) {
        let off = |place: usize| {
            f64::from(u32::try_from(shares.amount(place).units()).unwrap()) - 1_000.0
        };
        for place in 0..10 {
            products += off(place) * off((place + 1) % 10);
            squares += off(place).powi(2);
        }
    }
    // Ten numbers of a fixed sum that are otherwise alike correlate by −1/9.
    let correlation = products / squares;
    assert!((correlation + 1.0 / 9.0).abs() < 0.015, "{correlation}");
}
