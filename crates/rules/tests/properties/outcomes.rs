//! Outcomes, their slots, and the latency buckets.

use proptest::prelude::*;
use rules::{
    Outcome, Tally,
    outcome::{LATENCY_BUCKETS, latency_bucket, latency_bucket_end_micros},
};

use crate::terms::up_to;

proptest! {
    #[test]
    fn buckets_are_monotone_and_end_above_what_they_hold(a in up_to(0, u64::MAX), b in up_to(0, u64::MAX)) {
        let (low, high) = (a.min(b), a.max(b));
        prop_assert!(latency_bucket(low) <= latency_bucket(high));
        let bucket = latency_bucket(low);
        prop_assert!(bucket < LATENCY_BUCKETS);
        if bucket + 1 < LATENCY_BUCKETS {
            prop_assert!(low < latency_bucket_end_micros(bucket));
        }
        if bucket > 0 {
            prop_assert!(low >= latency_bucket_end_micros(bucket - 1));
        }
    }

    /// A percentile is above the true one, and by half of it at most.
    #[test]
    fn percentiles_are_of_the_bucket(
        mut micros in prop::collection::vec(up_to(2, 1 << 23), 1..200),
        q in 0.0..=1.0_f64,
    ) {
        let mut tally = Tally::default();
        prop_assert_eq!(tally.latency_micros(q), None);
        for latency in &micros {
            tally.latencies[latency_bucket(*latency)] += 1;
        }
        micros.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among at most 200"
        )]
        let rank = ((micros.len() as f64 * q).ceil() as usize).clamp(1, micros.len());
        let exact = micros[rank - 1];
        let reported = tally.latency_micros(q).unwrap();
        prop_assert!(exact < reported && reported <= exact + exact / 2 + 1, "{} for {}", reported, exact);
    }

    #[test]
    fn adding_tallies_adds_every_count(n in prop::collection::vec(0..1_u64 << 40, Outcome::COUNT + LATENCY_BUCKETS)) {
        let mut tally = Tally::default();
        prop_assert!(tally.is_empty());
        tally.outcomes.copy_from_slice(&n[..Outcome::COUNT]);
        tally.latencies.copy_from_slice(&n[Outcome::COUNT..]);
        let mut twice = tally.clone();
        twice.add(&tally);
        twice.add(&Tally::default());
        let mut both = twice.outcomes.iter().chain(&twice.latencies).zip(&n);
        prop_assert!(both.all(|(sum, n)| *sum == 2 * n));
        prop_assert_eq!(twice.is_empty(), n[..Outcome::COUNT].iter().all(|n| *n == 0));
    }
}

#[test]
fn bucket_ends_grow() {
    let ends: Vec<_> = (0..LATENCY_BUCKETS)
        .map(latency_bucket_end_micros)
        .collect();
    assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
}

#[test]
fn every_outcome_has_a_slot_of_its_own() {
    let slots: Vec<_> = Outcome::all().map(Outcome::slot).collect();
    assert_eq!(slots, (0..Outcome::COUNT).collect::<Vec<_>>());
}

/// The names of the API are those that are written in JSON.
#[test]
fn reasons_are_written_as_the_api_says() {
    for outcome in Outcome::all() {
        let (text, json) = match outcome {
            Outcome::Missed(reason) => (reason.as_str(), serde_json::to_value(reason).unwrap()),
            Outcome::Rejected(reason) => (reason.as_str(), serde_json::to_value(reason).unwrap()),
            Outcome::Won | Outcome::Repeated | Outcome::Unavailable => continue,
        };
        assert_eq!(json, text);
    }
}
