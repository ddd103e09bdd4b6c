//! Conservation: books that come from packets balance; one unit moved unbalances them.

use proptest::prelude::*;
use rules::{Books, Fen, Imbalance, split};

use crate::terms::{fen, legal, seeds};

/// Books of a real tranche in which the packets picked by `claimed` are claimed, and the rest
/// refunded when `closed`.
fn books(amounts: &[Fen], claimed: &[bool], closed: bool) -> Books {
    let mut books = Books::default();
    for (place, amount) in amounts.iter().enumerate() {
        let (sum, packets) = if claimed[place % claimed.len()] {
            (&mut books.claimed, &mut books.packets_claimed)
        } else if closed {
            (&mut books.refunded, &mut books.packets_refunded)
        } else {
            (&mut books.unclaimed, &mut books.packets_unclaimed)
        };
        *sum = sum.checked_add(*amount).unwrap();
        *packets += 1;
        books.budget = books.budget.checked_add(*amount).unwrap();
        books.packets_total += 1;
    }
    books
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_put_in_is_there(
        seed in seeds(),
        tranche in legal(),
        claimed in prop::collection::vec(any::<bool>(), 1..50),
        closed in any::<bool>(),
    ) {
        let shares = split(&seed, &tranche).unwrap();
        let books = books(shares.amounts(), &claimed, closed);
        prop_assert_eq!(books.check(), Ok(()));
        prop_assert_eq!(books.budget, tranche.budget().unwrap());

        // One unit or one packet too many, anywhere, is seen.
        let sums: [fn(&mut Books) -> &mut Fen; 4] =
            [|b| &mut b.budget, |b| &mut b.claimed, |b| &mut b.refunded, |b| &mut b.unclaimed];
        for sum in sums {
            let mut wrong = books;
            let sum = sum(&mut wrong);
            if let Some(more) = sum.checked_add(Fen::ONE) {
                *sum = more;
                let seen = matches!(wrong.check(), Err(Imbalance::Money { .. }));
prop_assert!(seen);
            }
        }
        let packets: [fn(&mut Books) -> &mut u64; 4] = [
            |b| &mut b.packets_total,
            |b| &mut b.packets_claimed,
            |b| &mut b.packets_refunded,
            |b| &mut b.packets_unclaimed,
        ];
        for packets in packets {
            let mut wrong = books;
            *packets(&mut wrong) += 1;
            let seen = matches!(wrong.check(), Err(Imbalance::Packets { .. }));
prop_assert!(seen);
        }
    }

    #[test]
    fn no_books_overflow(n in any::<[u64; 8]>()) {
        let money = |n: u64| fen(n >> 11);
        let books = Books {
            budget: money(n[0]),
            claimed: money(n[1]),
            refunded: money(n[2]),
            unclaimed: money(n[3]),
            packets_total: n[4],
            packets_claimed: n[5],
            packets_refunded: n[6],
            packets_unclaimed: n[7],
        };
        let sum = [n[1], n[2], n[3]].iter().map(|n| u128::from(n >> 11)).sum::<u128>();
        if sum != u128::from(n[0] >> 11) {
            let unbalanced = matches!(books.check(), Err(Imbalance::Money { .. }));
            prop_assert!(unbalanced);
        }
    }
}

#[test]
fn a_refund_leaves_nothing() {
    let books = Books {
        budget: fen(30),
        claimed: fen(10),
        refunded: fen(10),
        unclaimed: fen(10),
        packets_total: 3,
        packets_claimed: 1,
        packets_refunded: 1,
        packets_unclaimed: 1,
    };
    assert_eq!(
        books.check(),
        Err(Imbalance::LeftAfterRefund {
            refunded: 1,
            unclaimed: 1
        })
    );
}

#[test]
fn packets_and_money_belong_together() {
    let balanced = Books {
        budget: fen(30),
        claimed: fen(30),
        packets_total: 3,
        packets_claimed: 3,
        ..Books::default()
    };
    assert_eq!(balanced.check(), Ok(()));
    let money_without_packets = Books {
        packets_claimed: 0,
        packets_unclaimed: 3,
        ..balanced
    };
    assert!(matches!(
        money_without_packets.check(),
        Err(Imbalance::Hollow {
            part: "claimed",
            ..
        })
    ));
    let packets_without_money = Books {
        packets_total: 31,
        packets_claimed: 31,
        ..balanced
    };
    assert!(matches!(
        packets_without_money.check(),
        Err(Imbalance::Hollow { .. })
    ));
    assert_eq!(Books::default().check(), Ok(()));
}
