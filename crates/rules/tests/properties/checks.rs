//! What an organiser may enter: each refusal names its field.

use proptest::prelude::*;
use rules::{
    Eligible, Per, Refusal, Rules, Split, Tier, Timestamp, Tranche, UserId, WinLimit,
    check::{self, exponent},
    limits::{
        AHEAD_SECONDS_MAX, AMOUNT_MAX, INTERVAL_SECONDS_MAX, LABEL_CHARS_MAX, LISTED_USERS_MAX,
        PACKETS_MAX, TITLE_CHARS_MAX, WAVES_MAX, WIN_COUNT_MAX, WINDOW_SECONDS_MAX,
    },
};

use crate::terms::{equal, fen, lucky, tiers, wild};

fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, field: &str, why: &str) {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.field, field, "{refusal}");
    assert!(refusal.reason.contains(why), "{refusal}");
}

proptest! {
    #[test]
    fn a_title_is_taken_whole_or_refused(text in "\\PC{0,130}|[ \\t\\na-c]{0,9}") {
        match check::title(&text) {
            Ok(title) => {
                prop_assert_eq!(&title, text.trim());
                prop_assert!((1..=TITLE_CHARS_MAX).contains(&title.chars().count()));
                prop_assert!(!title.chars().any(char::is_control));
            }
            Err(refusal) => prop_assert_eq!(refusal.field, "title"),
        }
    }

    #[test]
    fn a_tranche_is_refused_for_the_split_s_reasons(tranche in wild()) {
        match (check::tranche(&tranche), tranche.budget()) {
            (Ok(checked), Ok(budget)) => prop_assert_eq!(checked, budget),
            (Err(refusal), Err(why)) => {
                prop_assert_eq!(refusal.field, why.field());
                prop_assert_eq!(refusal.reason, why.to_string());
            }
            (checked, budget) => prop_assert!(false, "{checked:?} but {budget:?}"),
        }
    }

    #[test]
    fn probabilities_lie_between_0_and_1(discard_probability in any::<f64>()) {
        let rules = Rules { discard_probability, ..Rules::default() };
        let possible = discard_probability.clamp(0.0, 1.0) == discard_probability;
        prop_assert_eq!(check::rules(&rules).is_ok(), possible);
    }
}

#[test]
fn titles() {
    assert_eq!(check::title("  新年快乐 🧧 "), Ok("新年快乐 🧧".into()));
    assert!(check::title(&"红".repeat(TITLE_CHARS_MAX)).is_ok());
    refused(
        check::title(&"红".repeat(TITLE_CHARS_MAX + 1)),
        "title",
        "at most 120",
    );
    refused(check::title(" \t"), "title", "empty");
    refused(check::title("a\u{7}b"), "title", "control");
}

#[test]
fn currencies() {
    for (code, decimals) in [
        ("CNY", 2),
        ("USD", 2),
        ("EUR", 2),
        ("GBP", 2),
        ("HKD", 2),
        ("TWD", 2),
        ("SGD", 2),
        ("JPY", 0),
        ("KRW", 0),
        ("KWD", 3),
    ] {
        assert_eq!(exponent(code), Some(decimals), "{code}");
        assert_eq!(check::currency(code), Ok(code.into()));
    }
    for code in ["", "cny", "CNY ", "XXX", "RMB", "¥"] {
        refused(check::currency(code), "currency", "ISO 4217");
    }
}

#[test]
fn waves() {
    assert_eq!(check::waves(10, 3, 2), Ok(vec![4, 3, 3]));
    assert!(check::waves(10, 1, 0).is_ok());
    assert!(check::waves(PACKETS_MAX, WAVES_MAX, INTERVAL_SECONDS_MAX).is_ok());
    refused(check::waves(0, 3, 2), "packets", "at least 1");
    refused(check::waves(PACKETS_MAX + 1, 3, 2), "packets", "at most");
    refused(check::waves(10, 0, 2), "batches", "at least 1");
    refused(check::waves(10, 11, 2), "batches", "no wave may be empty");
    refused(
        check::waves(10, 3, INTERVAL_SECONDS_MAX + 1),
        "interval_seconds",
        "at most 2592000",
    );
}

#[test]
fn times() {
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let at = |seconds| now.plus_seconds(seconds);
    assert_eq!(check::times(now, at(4), at(86_404), now), Ok(()));
    // A start in the past counts as due now; an end before the last wave refunds what is left.
    assert_eq!(check::times(at(-60), at(4), at(1), now), Ok(()));
    let too_far = at(AHEAD_SECONDS_MAX + 1);
    refused(
        check::times(too_far, too_far, too_far, now),
        "starts_at",
        "later than",
    );
    refused(
        check::times(now, too_far, at(9), now),
        "interval_seconds",
        "shorter",
    );
    refused(
        check::times(now, at(4), too_far, now),
        "ends_at",
        "not be later",
    );
    refused(
        check::times(at(5), at(5), at(5), now),
        "ends_at",
        "`starts_at`",
    );
    refused(check::times(at(-5), at(-1), at(0), now), "ends_at", "now");
    refused(check::end(at(-5), at(-1), now), "ends_at", "later than now");
}

#[test]
fn win_limits() {
    let limit = |count, per| check::win_limit(WinLimit { count, per });
    assert_eq!(check::win_limit(WinLimit::ONE), Ok(WinLimit::ONE));
    assert!(limit(WIN_COUNT_MAX, Per::Seconds(WINDOW_SECONDS_MAX)).is_ok());
    refused(
        limit(0, Per::Wave),
        "win_limit.count",
        "from 1 to 1000, not 0",
    );
    refused(
        limit(WIN_COUNT_MAX + 1, Per::Campaign),
        "win_limit.count",
        "1001",
    );
    refused(limit(1, Per::Seconds(0)), "win_limit.per.seconds", "from 1");
    refused(
        limit(1, Per::Seconds(WINDOW_SECONDS_MAX + 1)),
        "win_limit.per.seconds",
        "2592001",
    );
}

#[test]
fn rules() {
    let none = Rules::default;
    assert_eq!(check::rules(&none()), Ok(()));
    let window = |seconds| {
        check::rules(&Rules {
            attempt_window_seconds: Some(seconds),
            ..none()
        })
    };
    assert_eq!(window(1), Ok(()));
    refused(window(0), "rules.attempt_window_seconds", "from 1");
    refused(
        window(WINDOW_SECONDS_MAX + 1),
        "rules.attempt_window_seconds",
        "2592001",
    );
    for discard_probability in [-0.001, 1.001, f64::NAN, f64::INFINITY] {
        let rules = Rules {
            discard_probability,
            ..none()
        };
        refused(
            check::rules(&rules),
            "rules.discard_probability",
            "from 0 to 1",
        );
    }
    let too_many = vec![UserId::new("alice").unwrap(); LISTED_USERS_MAX + 1];
    let eligible = Rules {
        eligible: Eligible::Listed(too_many.clone()),
        ..none()
    };
    refused(check::rules(&eligible), "rules.eligible", "100001");
    let blocked = Rules {
        blocked: too_many,
        ..none()
    };
    refused(check::rules(&blocked), "rules.blocked", "100001");
}

#[test]
fn labels() {
    let labelled = |label: &str| {
        let tier = |label: &str| Tier {
            label: label.into(),
            count: 1,
            amount: fen(1),
        };
        check::tranche(&Tranche {
            number: 0,
            packets: 2,
            split: Split::Tiers {
                tiers: vec![tier("First"), tier(label)],
            },
        })
    };
    assert_eq!(labelled("一等奖"), Ok(fen(2)));
    let field = "split.tiers[1].label";
    refused(labelled(""), field, "empty");
    refused(labelled(" a"), field, "blank");
    refused(labelled("a\nb"), field, "control");
    refused(
        labelled(&"a".repeat(LABEL_CHARS_MAX + 1)),
        field,
        "at most 64",
    );
}

#[test]
fn top_ups() {
    let issued = [lucky(10, 1_000, 1, None)];
    let half = AMOUNT_MAX / 2;
    assert_eq!(
        check::top_up(&issued, 3, &lucky(5, 500, 1, None)),
        Ok(fen(500))
    );
    // Fields are those of the top-up's own body.
    refused(
        check::top_up(&issued, 3, &lucky(5, 4, 1, None)),
        "total",
        "at least 5",
    );
    refused(
        check::top_up(&issued, 3, &tiers(5, &[(4, 1)])),
        "tiers",
        "add up to",
    );
    refused(
        check::top_up(&issued, 3, &equal(0, 1)),
        "packets",
        "at least 1",
    );
    refused(
        check::top_up(&issued, 3, &equal(PACKETS_MAX - 9, 1)),
        "packets",
        "at most 9999990",
    );
    refused(
        check::top_up(&issued, usize::try_from(WAVES_MAX).unwrap(), &equal(1, 1)),
        "packets",
        "10000 waves",
    );
    let rich = [equal(1, half), equal(1, half)];
    assert!(check::top_up(&rich, 2, &equal(1, 1)).is_ok());
    for (added, field) in [
        (equal(2, 1), "packets"),
        (lucky(1, 2, 1, None), "total"),
        (tiers(1, &[(1, 2)]), "tiers"),
    ] {
        refused(check::top_up(&rich, 2, &added), field, "budget over");
    }
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let refusal = check::title("").unwrap_err();
    assert_eq!(refusal.to_string(), "title must not be empty");
}
