//! Frozen amounts. They come from a second program, written from the text of `rules::split`
//! alone, so they hold that text to what the code does. One that differs means that running
//! campaigns would change their amounts: the code is wrong, never the vector.

use rules::{
    Fen, Seed, Split, Tier, Tranche, canonical_parameters, commitment, limits::AMOUNT_MAX, split,
};

use crate::terms::{equal, fen, lucky, tiers};

const ZERO: Seed = Seed([0; 32]);
const ONES: Seed = Seed([0xFF; 32]);

/// The bytes 0, 1, 2 … 31.
fn counting() -> Seed {
    Seed(std::array::from_fn(|i| u8::try_from(i).unwrap()))
}

fn amounts(seed: Seed, number: u32, tranche: Tranche) -> Vec<u64> {
    let shares = split(&seed, &Tranche { number, ..tranche }).unwrap();
    shares
        .amounts()
        .iter()
        .map(|amount| amount.units())
        .collect()
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn lucky_amounts_are_frozen() {
    let ten = || lucky(10, 10_000, 1, None);
    assert_eq!(
        amounts(ZERO, 0, ten()),
        [9, 1831, 944, 1686, 1053, 1205, 1319, 789, 454, 710]
    );
    assert_eq!(
        amounts(counting(), 0, ten()),
        [638, 1355, 1594, 777, 832, 1157, 1223, 1010, 883, 531]
    );
    assert_eq!(
        amounts(counting(), 1, ten()),
        [675, 415, 425, 2168, 1084, 1932, 1454, 918, 928, 1]
    );
    assert_eq!(
        amounts(ONES, 7, lucky(8, 4_000, 300, Some(700))),
        [617, 472, 444, 576, 412, 306, 514, 659]
    );
}

#[test]
fn the_largest_amounts_are_frozen() {
    assert_eq!(
        amounts(counting(), u32::MAX, lucky(5, AMOUNT_MAX, 1, None)),
        [
            798_642_290_624_972,
            3_489_117_160_883_548,
            2_156_216_637_086_392,
            1_684_401_539_242_980,
            878_821_626_903_099
        ]
    );
    let quarter = AMOUNT_MAX / 4;
    assert_eq!(
        amounts(ZERO, 3, lucky(4, AMOUNT_MAX, quarter, Some(quarter + 1))),
        [quarter + 1, quarter + 1, quarter + 1, quarter]
    );
}

#[test]
fn digests_are_frozen() {
    let shares = split(&counting(), &lucky(5_000, 1_000_000, 1, None)).unwrap();
    assert_eq!(
        hex(shares.range_digest(0, 5_000)),
        "81760e2517b3e28a72e68ce651eb1b65e21b16ebf78e41214416d7d00551e028"
    );
    assert_eq!(
        hex(shares.range_digest(100, 200)),
        "e88b69058d9f663106a92f4e529fa7f8642f9c3a822dbcba5f998a04d47628e0"
    );
    let bounded = Tranche {
        number: 2,
        ..lucky(5_000, 5_000 * 37, 10, Some(50))
    };
    assert_eq!(
        hex(split(&counting(), &bounded).unwrap().range_digest(0, 5_000)),
        "fb3c38104227d710c3a5589afec40f04abcaf89271865b2006c05588969cbee3"
    );
    assert_eq!(
        hex(split(&ONES, &equal(10, 100)).unwrap().range_digest(0, 10)),
        "7988ab1c75a10c34eccd2f512035ac713828bfadfe1247fc444a728c89e95ea9"
    );
}

#[test]
fn prizes_are_frozen() {
    let tranche = tiers(10, &[(1, 8_888), (2, 666), (7, 88)]);
    let shares = split(&counting(), &tranche).unwrap();
    let prizes: Vec<_> = (0..10).map(|place| shares.tier(place).unwrap()).collect();
    assert_eq!(prizes, [2, 0, 2, 2, 1, 2, 2, 1, 2, 2]);
    assert_eq!(
        hex(shares.range_digest(0, 10)),
        "3bfd488da74ee5cffeac9bb940f98d51f70ba332a93777238aa1c4dc864faec5"
    );
}

#[test]
fn the_canonical_text_is_frozen() {
    let text = |split: &Split| canonical_parameters(10, 3, "CNY", split);
    let head = "hongbao split 1\npackets=10\nbatches=3\ncurrency=CNY\n";
    assert_eq!(
        text(&equal(10, 100).split),
        format!("{head}mode=equal\namount=100\n")
    );
    assert_eq!(
        text(&lucky(10, 10_000, 2, Some(5_000)).split),
        format!("{head}mode=lucky\ntotal=10000\nmin=2\nmax=5000\n")
    );
    let tier = |label: &str, count, amount: Fen| Tier {
        label: label.into(),
        count,
        amount,
    };
    let prizes = Split::Tiers {
        tiers: vec![
            tier("一等奖", 1, fen(8_888)),
            tier("a,b\ntier=9", 9, fen(1)),
        ],
    };
    assert_eq!(
        text(&prizes),
        format!("{head}mode=tiers\ntier=1,8888,9,一等奖\ntier=9,1,10,a,b\ntier=9\n")
    );
}

#[test]
fn the_commitment_is_frozen() {
    let canonical = canonical_parameters(10, 3, "CNY", &lucky(10, 10_000, 1, None).split);
    assert_eq!(
        hex(commitment(&counting(), &canonical)),
        "2610761ba7403f050270419dcc7667c89893c63ce0f9c1f161f804461dd1459c"
    );
}
