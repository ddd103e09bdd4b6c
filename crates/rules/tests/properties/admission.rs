//! Admission as a state machine: random taps, repeats and pauses of one user against a model.

use proptest::prelude::*;
use rules::{
    Attempt, CampaignId, Eligible, GrabId, Rejected, RuleSet, Rules, Timestamp, UserId, Verdict,
};
use uuid::Uuid;

const KEY: [u8; 32] = [5; 32];
const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(77));
const DISCARDED: Verdict = Verdict::Rejected(Rejected::Discarded);
const TOO_FREQUENT: Verdict = Verdict::Rejected(Rejected::TooFrequent);

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn grab(number: u128) -> Option<GrabId> {
    Some(GrabId(Uuid::from_u128(number)))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus_seconds(seconds)
}

fn rule_set(window: Option<u32>, discard_probability: f64) -> RuleSet {
    RuleSet::new(&Rules {
        attempt_window_seconds: window,
        discard_probability,
        ..Rules::default()
    })
}

fn first(rules: &RuleSet, name: &str, grab_id: Option<GrabId>, now: Timestamp) -> Verdict {
    rules
        .attempt(&KEY, CAMPAIGN, &user(name), grab_id, now, None)
        .0
}

proptest! {
    /// One user's taps in any order of new ones, repeats and pauses.
    #[test]
    fn a_verdict_belongs_to_its_tap_and_a_window_never_moves(
        window in 1..=20_u32,
        probability in prop_oneof![Just(0.0), Just(0.5), Just(1.0)],
        taps in prop::collection::vec((0..8_u128, 0..=12_000_000_i64), 1..60),
    ) {
        let rules = rule_set(Some(window), probability);
        let alice = user("alice");
        let length = i64::from(window) * 1_000_000;
        let mut now = at(0);
        let mut last: Option<Attempt> = None;
        let mut first_of_window = None;
        for (number, pause) in taps {
            now = now.plus_micros(pause);
            // Every eighth tap comes from a client that names none.
            let grab_id = grab(number).filter(|_| number > 0);
            let (verdict, new) = rules.attempt(&KEY, CAMPAIGN, &alice, grab_id, now, last);
            let coin = rules.attempt(&KEY, CAMPAIGN, &alice, grab_id, now, None).0;
            match last.filter(|last| now.since(last.at) < length) {
                None => {
                    let new = new.expect("an attempt outside any window begins one");
                    prop_assert_eq!((new.at, new.grab_id), (now, grab_id));
                    prop_assert_eq!(new.discarded, verdict == DISCARDED);
                    prop_assert_eq!(verdict, coin);
                    first_of_window = Some(verdict);
                }
                Some(last) => {
                    prop_assert_eq!(new, None, "a window moved");
                    if grab_id.is_some() && grab_id == last.grab_id {
                        prop_assert_eq!(Some(verdict), first_of_window);
                    } else {
                        prop_assert_eq!(verdict, TOO_FREQUENT);
                    }
                }
            }
            if probability < 0.1 {
                prop_assert_ne!(verdict, DISCARDED);
            } else if probability > 0.9 {
                prop_assert_ne!(verdict, Verdict::Admitted);
            }
            last = new.or(last);
        }
    }

    #[test]
    fn without_a_window_nothing_is_remembered_and_the_coin_stays(
        probability in 0.0..=1.0_f64,
        number in any::<u128>(),
        seconds in 0..1_000_000_i64,
    ) {
        let rules = rule_set(None, probability);
        let bob = user("bob");
        let (verdict, new) = rules.attempt(&KEY, CAMPAIGN, &bob, grab(number), at(0), None);
        prop_assert_eq!(new, None);
        let old = Attempt { at: at(0), grab_id: None, discarded: true };
        let again = rules.attempt(&KEY, CAMPAIGN, &bob, grab(number), at(seconds), Some(old));
        prop_assert_eq!(again, (verdict, None));
    }

    /// A coin that falls for a probability falls for every greater one.
    #[test]
    fn more_probability_never_spares_more(p in 0.0..=1.0_f64, q in 0.0..=1.0_f64, number in any::<u128>()) {
        let verdict = |p| first(&rule_set(None, p), "carol", grab(number), at(0));
        if verdict(p.min(q)) == DISCARDED {
            prop_assert_eq!(verdict(p.max(q)), DISCARDED);
        }
    }
}

/// 10,000 tosses at ⅓ under a fixed key; five standard deviations are 236.
#[test]
fn the_coin_is_as_heavy_as_it_says() {
    let rules = rule_set(None, 1.0 / 3.0);
    let by_grab = (0..10_000)
        .filter(|number| first(&rules, "dan", grab(*number), at(0)) == DISCARDED)
        .count();
    let by_time = (0..10_000)
        .filter(|second| first(&rules, "dan", None, at(*second)) == DISCARDED)
        .count();
    let by_user = (0..10_000)
        .filter(|number| first(&rules, &format!("user {number}"), grab(1), at(0)) == DISCARDED)
        .count();
    for discarded in [by_grab, by_time, by_user] {
        assert!((3_098..=3_569).contains(&discarded), "{discarded}");
    }
}

#[test]
fn the_coin_depends_on_key_and_campaign() {
    let rules = rule_set(None, 0.5);
    let eve = user("eve");
    let verdicts = |key: [u8; 32], campaign| {
        (0..64)
            .map(|number| {
                rules
                    .attempt(&key, campaign, &eve, grab(number), at(0), None)
                    .0
            })
            .collect::<Vec<_>>()
    };
    let other = CampaignId(Uuid::from_u128(78));
    assert_ne!(verdicts(KEY, CAMPAIGN), verdicts([6; 32], CAMPAIGN));
    assert_ne!(verdicts(KEY, CAMPAIGN), verdicts(KEY, other));
    assert_eq!(verdicts(KEY, CAMPAIGN), verdicts(KEY, CAMPAIGN));
}

/// Nodes of other versions must toss alike, or a repeat through another node would differ.
#[test]
fn the_coin_is_frozen() {
    let rules = rule_set(None, 0.5);
    let by_grab: Vec<_> = (0..12)
        .map(|number| first(&rules, "用户", grab(number), at(0)) == DISCARDED)
        .collect();
    let by_time: Vec<_> = (0..12)
        .map(|second| first(&rules, "用户", None, at(second)) == DISCARDED)
        .collect();
    assert_eq!(by_grab, FROZEN_BY_GRAB);
    assert_eq!(by_time, FROZEN_BY_TIME);
}

/// A rule changed in mid-rain does not change the verdict of a tap that has one.
#[test]
fn a_repeat_keeps_its_verdict_when_the_rules_change() {
    let frank = user("frank");
    let discarding = rule_set(Some(10), 1.0);
    let (_, last) = discarding.attempt(&KEY, CAMPAIGN, &frank, grab(1), at(0), None);
    let lenient = rule_set(Some(10), 0.0);
    let again = lenient.attempt(&KEY, CAMPAIGN, &frank, grab(1), at(5), last);
    assert_eq!(again, (DISCARDED, None));
    let shorter = rule_set(Some(3), 0.0);
    let (verdict, new) = shorter.attempt(&KEY, CAMPAIGN, &frank, grab(2), at(5), last);
    assert_eq!(verdict, Verdict::Admitted);
    assert!(new.is_some());
}

#[test]
fn time_that_goes_back_opens_no_window() {
    let rules = rule_set(Some(10), 0.0);
    let grace = user("grace");
    let (_, last) = rules.attempt(&KEY, CAMPAIGN, &grace, grab(1), at(0), None);
    let earlier = rules.attempt(&KEY, CAMPAIGN, &grace, grab(2), at(-100), last);
    assert_eq!(earlier, (TOO_FREQUENT, None));
    let end = rules.attempt(&KEY, CAMPAIGN, &grace, grab(2), at(10), last);
    assert_eq!(end.0, Verdict::Admitted);
}

#[test]
fn blocked_comes_before_not_eligible() {
    let rules = |eligible| {
        RuleSet::new(&Rules {
            eligible,
            blocked: vec![user("mallory")],
            ..Rules::default()
        })
    };
    let unasked = || -> bool { panic!("only a campaign for imported users asks") };
    let anyone = rules(Eligible::Anyone);
    assert_eq!(anyone.listed(&user("alice"), unasked), None);
    assert_eq!(
        anyone.listed(&user("mallory"), unasked),
        Some(Rejected::Blocked)
    );
    // Ids are compared as bytes.
    assert_eq!(anyone.listed(&user("Mallory"), unasked), None);

    let registered = rules(Eligible::Registered);
    assert_eq!(registered.listed(&user("alice"), || true), None);
    assert_eq!(
        registered.listed(&user("alice"), || false),
        Some(Rejected::NotEligible)
    );
    assert_eq!(
        registered.listed(&user("mallory"), unasked),
        Some(Rejected::Blocked)
    );

    let listed = rules(Eligible::Listed(vec![user("alice"), user("mallory")]));
    assert_eq!(listed.listed(&user("alice"), unasked), None);
    assert_eq!(
        listed.listed(&user("bob"), unasked),
        Some(Rejected::NotEligible)
    );
    assert_eq!(
        listed.listed(&user("mallory"), unasked),
        Some(Rejected::Blocked)
    );
    let nobody = rules(Eligible::Listed(Vec::new()));
    assert_eq!(
        nobody.listed(&user("alice"), unasked),
        Some(Rejected::NotEligible)
    );
}

const FROZEN_BY_GRAB: [bool; 12] = [
    false, true, false, false, false, false, true, true, false, false, true, true,
];
const FROZEN_BY_TIME: [bool; 12] = [
    true, true, false, true, false, false, false, false, true, false, false, true,
];
