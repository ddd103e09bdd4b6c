//! Waves, bundles and periods.

use proptest::prelude::*;
use rules::{
    Per, ScheduleRefusal, Timestamp, WinLimit, bundle_size, bundles,
    limits::{BUNDLE_PACKETS_MAX, PACKETS_MAX, WAVES_MAX, WINDOW_SECONDS_MAX},
    wave_sizes,
};

proptest! {
    #[test]
    fn waves_add_up_and_differ_by_one_at_most(packets in 1..=PACKETS_MAX, any in any::<u32>()) {
        let batches = 1 + any % packets.min(WAVES_MAX);
        let sizes = wave_sizes(packets, batches).unwrap();
        prop_assert_eq!(sizes.len(), usize::try_from(batches).unwrap());
        prop_assert_eq!(sizes.iter().sum::<u32>(), packets);
        prop_assert!(sizes.is_sorted_by(|a, b| a >= b));
        prop_assert!(sizes[0] - sizes[sizes.len() - 1] <= 1);
        prop_assert!(sizes[sizes.len() - 1] >= 1);
    }

    #[test]
    fn impossible_waves_are_refused(packets in any::<u32>(), batches in any::<u32>()) {
        let possible = (1..=PACKETS_MAX).contains(&packets)
            && (1..=WAVES_MAX.min(packets)).contains(&batches);
        prop_assert_eq!(wave_sizes(packets, batches).is_ok(), possible);
    }

    #[test]
    fn bundles_cover_each_packet_once(
        packets in prop_oneof![0..=1_000_u32, 0..=20_000_u32],
        replicas in prop_oneof![0..=20_u32, any::<u32>()],
    ) {
        let size = bundle_size(packets, replicas);
        prop_assert!((1..=BUNDLE_PACKETS_MAX).contains(&size));
        let mut next = 1;
        for (first, count) in bundles(packets, size) {
            prop_assert_eq!(first, next);
            prop_assert!((1..=size).contains(&count));
            next += count;
            prop_assert!(count == size || next == packets + 1);
        }
        prop_assert_eq!(next, packets + 1);
    }

    #[test]
    fn bundles_of_any_size_cover_each_packet_once(packets in 0..=3_000_u32, size in any::<u32>()) {
        let sizes = [size, size % 300];
        for size in sizes {
            prop_assert_eq!(bundles(packets, size).map(|(_, count)| count).sum::<u32>(), packets);
        }
    }

    #[test]
    fn periods_are_monotone_and_as_long_as_they_say(
        seconds in 1..=WINDOW_SECONDS_MAX,
        starts in any::<i64>(),
        at in any::<i64>(),
        later in any::<u64>(),
    ) {
        let limit = WinLimit { count: 2, per: Per::Seconds(seconds) };
        // Times that people can enter are far from the ends of 64 bits.
        let (starts, at) = (Timestamp::from_micros(starts / 4), Timestamp::from_micros(at / 4));
        let length = i64::from(seconds) * 1_000_000;
        let period = limit.period(at, starts, 0);
        let begin = starts.plus_micros(period * length);
        prop_assert!(begin <= at && at.since(begin) < length);
        prop_assert_eq!(limit.period(at.plus_micros(length), starts, 9), period + 1);
        let later = at.plus_micros(i64::try_from(later >> 3).unwrap());
        prop_assert!(limit.period(later, starts, 0) >= period);
    }

    #[test]
    fn no_period_overflows(seconds in any::<u32>(), starts in any::<i64>(), at in any::<i64>(), openings in any::<u32>()) {
        let (starts, at) = (Timestamp::from_micros(starts), Timestamp::from_micros(at));
        let period = |per| WinLimit { count: 1, per }.period(at, starts, openings);
        prop_assert_eq!(period(Per::Campaign), 0);
        prop_assert_eq!(period(Per::Wave), i64::from(openings));
        prop_assert_eq!(period(Per::Seconds(seconds)) < 0, at < starts);
    }
}

#[test]
fn the_largest_wave_is_covered_too() {
    for replicas in [1, 1_000_000] {
        let size = bundle_size(PACKETS_MAX, replicas);
        let counts = bundles(PACKETS_MAX, size).map(|(_, count)| count);
        assert_eq!(counts.sum::<u32>(), PACKETS_MAX);
        let last = bundles(PACKETS_MAX, size).last().unwrap();
        assert_eq!(last.0 + last.1, PACKETS_MAX + 1);
    }
}

#[test]
fn the_mission_s_example() {
    assert_eq!(wave_sizes(10, 3), Ok(vec![4, 3, 3]));
}

#[test]
fn every_refusal_says_which_field() {
    for (packets, batches, field, why) in [
        (0, 1, "packets", "at least 1"),
        (PACKETS_MAX + 1, 1, "packets", "at most 10000000"),
        (10, 0, "batches", "at least 1"),
        (PACKETS_MAX, WAVES_MAX + 1, "batches", "at most 10000"),
        (10, 11, "batches", "no wave may be empty"),
    ] {
        let refusal: ScheduleRefusal = wave_sizes(packets, batches).unwrap_err();
        assert_eq!(refusal.field(), field);
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
}

#[test]
fn bundle_sizes_follow_wave_and_replicas() {
    assert_eq!(bundle_size(4, 1), 1);
    assert_eq!(bundle_size(80, 1), 10);
    assert_eq!(bundle_size(80, 2), 5);
    assert_eq!(bundle_size(100_000, 1), 256);
    assert_eq!(bundle_size(100_000, 0), 256);
    assert_eq!(bundle_size(u32::MAX, u32::MAX), 1);
    assert_eq!(bundles(5, 2).collect::<Vec<_>>(), [(1, 2), (3, 2), (5, 1)]);
}

#[test]
fn a_period_of_seconds_rounds_down_before_the_start_too() {
    let limit = WinLimit {
        count: 1,
        per: Per::Seconds(60),
    };
    let starts = Timestamp::from_micros(1_000_000_000);
    for (micros, period) in [
        (0, 0),
        (59_999_999, 0),
        (60_000_000, 1),
        (-1, -1),
        (-60_000_000, -1),
        (-60_000_001, -2),
    ] {
        assert_eq!(limit.period(starts.plus_micros(micros), starts, 5), period);
    }
}
