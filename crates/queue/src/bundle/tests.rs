//! Bundles are opened only as they were sealed.

use proptest::prelude::*;

use super::*;

const SEED: Seed = Seed([7; 32]);

fn campaign(number: u128) -> CampaignId {
    CampaignId(uuid::Uuid::from_u128(number))
}

fn small() -> Bundle {
    Bundle {
        campaign: campaign(1),
        wave: 2,
        first_index: 17,
        amounts: [0, 1, 127, 128, 16_384, rules::limits::AMOUNT_MAX]
            .map(|n| Fen::new(n).expect("within the limit"))
            .to_vec(),
        tiers: Some(vec![0, 1, 2, 3, 4, u16::MAX]),
    }
}

/// Seals `content` whatever it is, as somebody with the key and a fault would.
fn seal(content: &[u8]) -> Vec<u8> {
    let keyed = BundleSealer::new(&SEED).keyed;
    let tag = keyed.chain_update(content).finalize().into_bytes();
    [content, tag.as_slice()].concat()
}

fn any_bundle() -> impl Strategy<Value = Bundle> {
    let amounts = prop::collection::vec(
        (0..=rules::limits::AMOUNT_MAX, 0_u32..53).prop_map(|(n, shift)| n >> shift),
        1..=BUNDLE_PACKETS_MAX as usize,
    );
    let tiers = any::<Option<u16>>();
    (any::<u128>(), 1..=u32::MAX, 1..=u32::MAX, amounts, tiers).prop_map(
        |(id, wave, first, amounts, tier)| Bundle {
            campaign: campaign(id),
            wave,
            first_index: first.min(u32::MAX - 255),
            tiers: tier.map(|t| {
                let places = 0..u16::try_from(amounts.len()).expect("at most 256");
                places.map(|n| n.wrapping_add(t)).collect()
            }),
            amounts: amounts
                .into_iter()
                .map(|n| Fen::new(n).expect("within the limit"))
                .collect(),
        },
    )
}

proptest! {
    #[test]
    fn what_was_sealed_is_what_is_opened(bundle in any_bundle(), seed in any::<[u8; 32]>()) {
        let sealer = BundleSealer::new(&Seed(seed));
        let message = sealer.encode(&bundle);
        prop_assert!(message.len() <= BUNDLE_BYTES_MAX);
        prop_assert_eq!(sealer.decode(bundle.campaign, &message), Ok(bundle));
    }

    /// Content under a right tag still never panics, and opens only in its one spelling.
    #[test]
    fn sealed_rubbish_is_refused_or_has_one_spelling(
        rest in prop::collection::vec(any::<u8>(), 11..80),
        packets in 0_u16..9,
        flags in 0_u8..3,
    ) {
        let mut content = vec![VERSION, flags];
        content.extend_from_slice(campaign(1).0.as_bytes());
        content.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        content.extend_from_slice(&packets.to_be_bytes());
        content.extend_from_slice(&rest);
        let message = seal(&content);
        let sealer = BundleSealer::new(&SEED);
        if let Ok(bundle) = sealer.decode(campaign(1), &message) {
            prop_assert_eq!(sealer.encode(&bundle).to_vec(), message);
        }
    }
}

#[test]
fn a_change_of_any_bit_is_found() {
    let sealer = BundleSealer::new(&SEED);
    let message = sealer.encode(&small());
    for place in 0..message.len() {
        for bit in 0..8 {
            let mut altered = message.to_vec();
            altered[place] ^= 1 << bit;
            let expected = if place == 0 {
                BundleError::Version(altered[0])
            } else {
                BundleError::Tag
            };
            assert_eq!(
                sealer.decode(campaign(1), &altered),
                Err(expected),
                "{place}"
            );
        }
    }
}

#[test]
fn cut_and_lengthened_messages_are_refused() {
    let sealer = BundleSealer::new(&SEED);
    let message = sealer.encode(&small());
    for end in 0..message.len() {
        assert!(sealer.decode(campaign(1), &message[..end]).is_err());
    }
    let mut longer = message.to_vec();
    longer.push(0);
    assert_eq!(sealer.decode(campaign(1), &longer), Err(BundleError::Tag));
    longer.resize(BUNDLE_BYTES_MAX + 1, 0);
    assert_eq!(
        sealer.decode(campaign(1), &longer),
        Err(BundleError::Length(BUNDLE_BYTES_MAX + 1))
    );
}

#[test]
fn another_seed_or_campaign_is_refused() {
    let message = BundleSealer::new(&SEED).encode(&small());
    assert_eq!(
        BundleSealer::new(&Seed([8; 32])).decode(campaign(1), &message),
        Err(BundleError::Tag)
    );
    assert_eq!(
        BundleSealer::new(&SEED).decode(campaign(2), &message),
        Err(BundleError::Malformed("it is of another campaign"))
    );
}

#[test]
fn what_is_sealed_and_wrong_is_refused() {
    let good = BundleSealer::new(&SEED).encode(&Bundle {
        amounts: vec![Fen::ZERO],
        tiers: None,
        ..small()
    });
    let good = &good[..good.len() - TAG_BYTES];
    let altered = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = good.to_vec();
        change(&mut content);
        BundleSealer::new(&SEED).decode(campaign(1), &seal(&content))
    };
    assert!(altered(&|_| {}).is_ok());
    assert!(altered(&|c| c[1] = 2).is_err(), "unknown flag");
    assert!(altered(&|c| c[18..22].fill(0)).is_err(), "wave 0");
    assert!(altered(&|c| c[22..26].fill(0)).is_err(), "index 0");
    assert!(altered(&|c| c[27] = 0).is_err(), "no packets");
    assert!(altered(&|c| c[27] = 2).is_err(), "an amount is missing");
    assert!(altered(&|c| c.push(0)).is_err(), "an amount too many");
    assert!(altered(&|c| c[1] = 1).is_err(), "tiers are missing");
    assert!(
        altered(&|c| {
            c[28] = 0x80;
            c.push(0);
        })
        .is_err(),
        "zero in two bytes"
    );
    assert!(
        altered(&|c| {
            c.truncate(28);
            c.extend_from_slice(&[0xff; 7]);
            c.push(0x7f);
        })
        .is_err(),
        "above 2⁵³ − 1"
    );
    assert!(
        altered(&|c| {
            c[22..26].fill(0xff);
            c[27] = 2;
            c.push(0);
        })
        .is_err(),
        "an index above 32 bits"
    );
    assert!(
        altered(&|c| {
            c[26..28].copy_from_slice(&257_u16.to_be_bytes());
            c.extend_from_slice(&[0; 256]);
        })
        .is_err(),
        "257 packets"
    );
}

#[test]
#[should_panic(expected = "one tier for each packet")]
fn a_wrong_bundle_is_not_sealed() {
    let wrong = Bundle {
        tiers: Some(vec![1]),
        ..small()
    };
    let _message = BundleSealer::new(&SEED).encode(&wrong);
}

#[test]
fn packets_are_numbered_from_the_first_index() {
    let bundle = small();
    let (packet, amount, tier) = bundle.packet(3).expect("it holds six");
    assert_eq!(
        (packet.to_string(), amount.units(), tier),
        ("2-20".into(), 128, Some(3))
    );
    assert_eq!(bundle.packet(6), None);
}

/// Messages outlive the program that sent them: this one must open for ever.
#[test]
fn version_1_stays_readable() {
    let bundle = Bundle {
        amounts: vec![Fen::ZERO, Fen::MAX],
        tiers: None,
        ..small()
    };
    let message = BundleSealer::new(&SEED).encode(&bundle);
    let hex: String = message.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        hex,
        "0100000000000000000000000000000000010000000200000011000200ffffffffffffff0f\
         d82987ceaa492a482b07c6676a75a7c470659806882bdef6576a0b1ad64c0ae8"
    );
}
