//! Each check is seen to hold on honest books, and to fail when one thing is falsified.

use rules::{Timestamp, UserId};

use super::*;
use crate::audit::{
    Books, Changed, Marks, Packet, ServerAudit, ServerAuditPackets, Terms, TermsWave, TermsWaves,
    Told,
};

const BEGAN: i64 = 1_000_000_000;

fn fen(units: u64) -> Fen {
    Fen::new(units).unwrap()
}

fn packet(index: u32) -> PacketId {
    PacketId { wave: 1, index }
}

fn told(user: u32, index: u32, units: u64) -> Told {
    Told {
        user,
        packet: packet(index),
        amount: fen(units),
        fresh: 1,
        repeats: 2,
    }
}

fn winner(user: &str, index: u32, units: u64) -> Winner {
    Winner {
        packet: packet(index),
        user: UserId::trusted(user),
        amount: fen(units),
        claimed_at: Timestamp::from_micros(BEGAN + 500_000),
    }
}

fn audit() -> ServerAudit {
    ServerAudit {
        balanced: true,
        budget: fen(100),
        claimed: fen(30),
        unclaimed: fen(60),
        refunded: fen(10),
        packets: ServerAuditPackets {
            total: 10,
            claimed: 2,
            unclaimed: 7,
            refunded: 1,
        },
        double_claims: 0,
        over_limit: 0,
        wrong_amounts: 0,
    }
}

/// Users a, b and c; a won packet 1-1 with 10, b won packet 1-2 with 20.
fn honest() -> Evidence {
    let own = |index, units| Packet {
        id: packet(index),
        amount: fen(units),
    };
    Evidence {
        users: ["a", "b", "c"].map(UserId::trusted).into(),
        told: vec![told(0, 1, 10), told(1, 2, 20)],
        changed: Vec::new(),
        marks: vec![Marks(Marks::TAPPED); 3],
        without_answer: 0,
        run_began: Timestamp::from_micros(BEGAN),
        books: Books {
            terms: Source::Read(Terms {
                win_limit: Some(WinLimit::ONE),
                starts_at: Some(Timestamp::from_micros(BEGAN)),
                ..Terms::default()
            }),
            winners: Source::Read(vec![winner("a", 1, 10), winner("b", 2, 20)]),
            audits: Source::Read((audit(), audit())),
            own_wins: Source::Read(vec![
                (0, vec![own(1, 10)]),
                (1, vec![own(2, 20)]),
                (2, Vec::new()),
            ]),
        },
    }
}

fn winners(evidence: &mut Evidence) -> &mut Vec<Winner> {
    match &mut evidence.books.winners {
        Source::Read(winners) => winners,
        other => panic!("{other:?}"),
    }
}

fn audits(evidence: &mut Evidence) -> &mut (ServerAudit, ServerAudit) {
    match &mut evidence.books.audits {
        Source::Read(audits) => audits,
        other => panic!("{other:?}"),
    }
}

fn terms(evidence: &mut Evidence) -> &mut Terms {
    match &mut evidence.books.terms {
        Source::Read(terms) => terms,
        other => panic!("{other:?}"),
    }
}

fn failing(evidence: &Evidence) -> Vec<&'static str> {
    let checks = all(evidence);
    let failing = checks.iter().filter(|check| check.verdict.fails());
    failing.map(|check| check.name).collect()
}

/// Falsifies honest books by `lie` and expects exactly the checks `expected` to fail.
#[track_caller]
fn caught(lie: impl FnOnce(&mut Evidence), expected: &[&str]) {
    let mut evidence = honest();
    lie(&mut evidence);
    assert_eq!(failing(&evidence), expected);
}

#[test]
fn honest_books_hold_in_every_check() {
    for check in all(&honest()) {
        let holds = matches!(check.verdict, Verdict::Holds { examined } if examined > 0);
        assert!(holds, "{check:?}");
    }
}

#[test]
fn a_tap_without_an_answer() {
    caught(|e| e.without_answer = 1, &["all_answered"]);
}

#[test]
fn a_win_taken_back_or_changed_by_the_repeat() {
    for (fresh, then) in [
        (true, None),
        (true, Some(packet(9))),
        (false, None),
        (false, Some(packet(9))),
    ] {
        let changed = Changed {
            user: 0,
            first: packet(1),
            fresh,
            then,
        };
        caught(|e| e.changed.push(changed), &["repeats_agree"]);
        // Where a user can win again, another tap's win may be over when the repeat comes.
        let expected: &[_] = if fresh { &["repeats_agree"] } else { &[] };
        let several = |e: &mut Evidence| {
            e.changed.push(changed);
            terms(e).win_limit = Some(WinLimit {
                count: 1,
                per: Per::Seconds(60),
            });
        };
        caught(several, expected);
    }
}

#[test]
fn a_packet_told_as_new_twice() {
    caught(|e| e.told[0].fresh = 2, &["repeats_agree"]);
}

#[test]
fn a_packet_told_with_two_amounts() {
    caught(
        |e| e.told.push(told(0, 1, 11)),
        &["repeats_agree", "told_is_listed", "own_wins_agree"],
    );
}

#[test]
fn a_second_packet_told_to_a_user_who_may_win_one() {
    caught(
        |e| {
            e.told.push(told(0, 3, 5));
            let own = Packet {
                id: packet(3),
                amount: fen(5),
            };
            let Source::Read(sample) = &mut e.books.own_wins else {
                panic!("it was read");
            };
            sample[0].1.push(own);
            winners(e).push(winner("a", 3, 5));
            for audit in [0, 1] {
                let (before, after) = audits(e);
                let audit = if audit == 0 { before } else { after };
                audit.claimed = fen(35);
                audit.unclaimed = fen(55);
                audit.packets.claimed = 3;
                audit.packets.unclaimed = 6;
            }
        },
        &["repeats_agree", "win_limit"],
    );
}

#[test]
fn one_packet_told_to_two_users() {
    caught(
        |e| e.told.push(told(2, 1, 10)),
        &["own_packets_only", "told_is_listed", "own_wins_agree"],
    );
}

#[test]
fn a_win_that_is_lost_from_the_list() {
    caught(
        |e| {
            winners(e).remove(0);
        },
        &["told_is_listed", "sums_agree", "own_wins_agree"],
    );
}

#[test]
fn an_amount_that_is_changed_in_the_list() {
    caught(
        |e| winners(e)[1].amount = fen(21),
        &["told_is_listed", "sums_agree", "own_wins_agree"],
    );
}

#[test]
fn a_win_that_is_listed_for_another_user() {
    caught(
        |e| winners(e)[1].user = UserId::trusted("z"),
        &["told_is_listed", "own_wins_agree"],
    );
}

#[test]
fn a_win_that_nobody_was_told_of() {
    caught(
        |e| {
            e.told.remove(0);
        },
        &["listed_was_told"],
    );
}

#[test]
fn earlier_wins_and_those_of_unsettled_users_need_not_have_been_told() {
    let earlier = |e: &mut Evidence| {
        e.told.remove(0);
        winners(e)[0].claimed_at = Timestamp::from_micros(BEGAN - 1);
    };
    caught(earlier, &[]);
    let unsettled = |e: &mut Evidence| {
        e.told.remove(0);
        e.marks[0] = Marks(Marks::TAPPED | Marks::UNSETTLED);
    };
    caught(unsettled, &[]);
}

#[test]
fn a_packet_listed_twice() {
    caught(
        |e| {
            let again = winners(e)[0].clone();
            winners(e).push(Winner {
                user: UserId::trusted("z"),
                ..again
            });
        },
        &["no_packet_twice", "sums_agree"],
    );
}

#[test]
fn a_user_above_the_limit_per_seconds_and_per_wave() {
    let twice = |e: &mut Evidence| {
        winners(e)[1].user = UserId::trusted("a");
        e.books.own_wins = Source::NoKey;
        e.told.clear();
        e.marks = vec![Marks::default(); 3];
    };
    let per = |per| WinLimit { count: 1, per };
    caught(
        |e| {
            twice(e);
            terms(e).win_limit = Some(per(Per::Seconds(60)));
        },
        &["win_limit"],
    );
    caught(
        |e| {
            twice(e);
            winners(e)[1].claimed_at = Timestamp::from_micros(BEGAN + 61_000_000);
            terms(e).win_limit = Some(per(Per::Seconds(60)));
        },
        &[],
    );
    let opened = |seconds: i64| TermsWave {
        opened_at: Some(Timestamp::from_micros(BEGAN + seconds * 1_000_000)),
    };
    caught(
        |e| {
            twice(e);
            terms(e).win_limit = Some(per(Per::Wave));
            terms(e).waves = Some(TermsWaves::Listed(vec![opened(-10), opened(20)]));
        },
        &["win_limit"],
    );
}

#[test]
fn a_sum_or_count_that_is_not_the_audits() {
    caught(
        |e| {
            let (before, after) = audits(e);
            for audit in [before, after] {
                audit.claimed = fen(31);
                audit.unclaimed = fen(59);
            }
        },
        &["sums_agree"],
    );
    caught(
        |e| {
            let (before, after) = audits(e);
            for audit in [before, after] {
                audit.packets.claimed = 3;
                audit.packets.unclaimed = 6;
            }
        },
        &["sums_agree"],
    );
}

#[test]
fn a_claim_by_others_between_the_two_audits_is_no_fault() {
    caught(
        |e| {
            let (_, after) = audits(e);
            after.claimed = fen(40);
            after.unclaimed = fen(50);
            after.packets.claimed = 3;
            after.packets.unclaimed = 6;
        },
        &[],
    );
}

#[test]
fn a_server_whose_own_audit_does_not_balance() {
    type Lie = fn(&mut ServerAudit);
    let lies: [Lie; 6] = [
        |a| a.balanced = false,
        |a| a.double_claims = 1,
        |a| a.over_limit = 1,
        |a| a.wrong_amounts = 1,
        |a| a.budget = fen(101),
        |a| a.packets.total = 11,
    ];
    for lie in lies {
        caught(|e| lie(&mut audits(e).1), &["server_balanced"]);
    }
}

#[test]
fn own_wins_that_lack_a_win_or_show_a_foreign_one() {
    let sample = |e: &mut Evidence, wins: Vec<Packet>| {
        e.books.own_wins = Source::Read(vec![(0, wins)]);
    };
    caught(|e| sample(e, Vec::new()), &["own_wins_agree"]);
    let both = [(1, 10), (2, 20)].map(|(index, units)| Packet {
        id: packet(index),
        amount: fen(units),
    });
    caught(|e| sample(e, both.into()), &["own_wins_agree"]);
}

#[test]
fn books_that_cannot_be_read_fail_once_and_hide_nothing_else() {
    caught(
        |e| {
            e.books.winners = Source::Failed("the winners' list: 500".to_owned());
            e.told.push(told(2, 1, 10));
        },
        &["own_packets_only", "books_read", "own_wins_agree"],
    );
}

#[test]
fn without_a_key_what_was_not_checked_is_said() {
    let mut evidence = honest();
    evidence.books.terms = Source::NoKey;
    evidence.books.winners = Source::NoKey;
    evidence.books.audits = Source::NoKey;
    let not_checked: Vec<_> = all(&evidence)
        .into_iter()
        .filter_map(|check| match check.verdict {
            Verdict::NotChecked { why } if why.contains("organiser key") => Some(check.name),
            _ => None,
        })
        .collect();
    let expected = [
        "told_is_listed",
        "listed_was_told",
        "no_packet_twice",
        "win_limit",
        "sums_agree",
        "server_balanced",
    ];
    assert_eq!(not_checked, expected);
    assert_eq!(failing(&evidence), [""; 0]);
}
