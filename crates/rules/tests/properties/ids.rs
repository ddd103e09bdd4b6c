//! Identities and times: what is written is read again, and nothing else is.

use std::collections::HashSet;

use proptest::prelude::*;
use rules::{
    CampaignId, ClaimId, Fen, GrabId, PacketId, Seed, Timestamp, UserId, ids::NameRefusal,
};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// 0001-01-01 and 9999-12-30, between which RFC 3339 can write a time.
const YEARS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_214_400_000_000;

fn json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn packet_ids_round_trip(wave in 1..=u32::MAX, index in 1..=u32::MAX) {
        let id = PacketId { wave, index };
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(json(&id), id);
    }

    /// One spelling for each packet: whatever is read is written the same.
    #[test]
    fn a_packet_id_has_one_spelling(text in "[-+0-9 ]{0,12}|[0-9]{1,11}-[0-9]{1,11}|\\PC{0,6}") {
        if let Ok(id) = text.parse::<PacketId>() {
            prop_assert_eq!(id.to_string(), text);
            prop_assert!(id.wave >= 1 && id.index >= 1);
        }
    }

    #[test]
    fn times_round_trip_to_the_millisecond(micros in YEARS) {
        let at = Timestamp::from_micros(micros);
        let text = at.to_string();
        let read: Timestamp = text.parse().unwrap();
        prop_assert_eq!(&read.to_string(), &text);
        prop_assert!(at.since(read).abs() < 1_000, "{}", text);
        prop_assert!(text.ends_with('Z') && text.len() == 24, "{}", text);
        prop_assert_eq!(json(&read), read);
    }

    #[test]
    fn no_time_overflows(micros in any::<i64>(), by in any::<i64>()) {
        let at = Timestamp::from_micros(micros);
        prop_assert!(!at.to_string().is_empty());
        prop_assert_eq!(at.plus_micros(by) >= at, by >= 0 || at.micros() == i64::MIN);
        prop_assert_eq!(at.plus_seconds(by) >= at, by >= 0 || at.micros() == i64::MIN);
        prop_assert_eq!(at.plus_seconds(1_000).since(at) <= 1_000_000_000, true);
    }

    #[test]
    fn user_ids_are_normal_and_stay_so(text in "\\PC{0,70}|[ \\ta-c\u{301}\u{c5}\u{212b}]{0,9}") {
        match UserId::new(&text) {
            Ok(id) => {
                let name = id.as_str();
                prop_assert!(is_nfc(name));
                prop_assert_eq!(name.trim(), name);
                prop_assert!((1..=64).contains(&name.chars().count()));
                prop_assert!(!name.chars().any(char::is_control));
                prop_assert_eq!(UserId::new(name), Ok(id.clone()));
                prop_assert_eq!(&UserId::trusted(name), &id);
                prop_assert_eq!(&json(&id), &id);
                prop_assert!(HashSet::from([id.clone()]).contains(name));
                // The same text written otherwise is the same user.
                let decomposed: String = text.nfd().collect();
                prop_assert_eq!(UserId::new(&decomposed), Ok(id));
            }
            Err(NameRefusal::Empty) => prop_assert_eq!(text.trim(), ""),
            Err(NameRefusal::TooLong) => {
                prop_assert!(text.trim().nfc().count() > 64);
            }
            Err(NameRefusal::Control) => {
                prop_assert!(text.trim().chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn uuids_round_trip_and_keep_the_order_of_time(a in 0..1_i64 << 50, b in 0..1_i64 << 50, random in any::<[u8; 10]>()) {
        let campaign = CampaignId::new(Timestamp::from_micros(a), random);
        let claim = ClaimId::new(Timestamp::from_micros(b), random);
        prop_assert_eq!(campaign.0.get_version_num(), 7);
        prop_assert_eq!(campaign.to_string().parse(), Ok(campaign));
        prop_assert_eq!(json(&claim), claim);
        if a / 1_000 != b / 1_000 {
            prop_assert_eq!(campaign.0 < claim.0, a < b);
        }
        let same = ClaimId::new(Timestamp::from_micros(a), random);
        prop_assert_eq!(same.0, campaign.0);
    }

    #[test]
    fn money_is_read_up_to_its_limit_and_no_further(units in any::<u64>(), more in any::<u64>()) {
        let read: Result<Fen, _> = serde_json::from_str(&units.to_string());
        prop_assert_eq!(read.ok(), Fen::new(units));
        prop_assert_eq!(Fen::new(units).is_some(), units < 1 << 53);
        let (a, b) = (Fen::new(units >> 11).unwrap(), Fen::new(more >> 11).unwrap());
        let exact = u128::from(a.units()) + u128::from(b.units());
        prop_assert_eq!(a.checked_add(b).map(|sum| u128::from(sum.units())), Some(exact).filter(|sum| *sum < 1 << 53));
        prop_assert_eq!(a.checked_sub(b).and_then(|left| left.checked_add(b)), Some(a).filter(|_| a >= b));
        let product = u128::from(a.units()) * u128::from(more);
        prop_assert_eq!(a.checked_mul(more).map(|all| u128::from(all.units())), Some(product).filter(|all| *all < 1 << 53));
    }
}

#[test]
fn user_ids_are_compared_as_bytes_after_nfc() {
    let id = |text: &str| UserId::new(text).unwrap();
    assert_ne!(id("Bob"), id("bob"));
    assert_eq!(id(" caf\u{e9} "), id("cafe\u{301}"));
    assert_eq!(id("\u{212b}"), id("\u{c5}"));
    assert_eq!(UserId::new(&"红".repeat(64)).unwrap().as_str().len(), 192);
    assert_eq!(UserId::new(&"红".repeat(65)), Err(NameRefusal::TooLong));
    assert_eq!(UserId::new(&"a".repeat(1 << 20)), Err(NameRefusal::TooLong));
    assert_eq!(UserId::new(" \t "), Err(NameRefusal::Empty));
    assert_eq!(UserId::new("a\u{0}b"), Err(NameRefusal::Control));
    assert_eq!(UserId::new("a\nb"), Err(NameRefusal::Control));
    assert!(serde_json::from_str::<UserId>(r#""a\nb""#).is_err());
}

#[test]
fn packet_ids_refuse_what_is_none() {
    for text in [
        "",
        "-",
        "2",
        "2-",
        "-17",
        "0-1",
        "1-0",
        "02-17",
        "2-017",
        "+2-17",
        "2--17",
        "2-17-1",
        "2 -17",
        "４-1",
        "4294967296-1",
    ] {
        assert!(text.parse::<PacketId>().is_err(), "{text}");
    }
    let id = PacketId { wave: 2, index: 17 };
    assert_eq!("2-17".parse(), Ok(id));
    assert!(id < PacketId { wave: 10, index: 1 });
}

#[test]
fn other_spellings_of_a_time_are_read_and_rubbish_is_not() {
    let read = |text: &str| serde_json::from_value::<Timestamp>(text.into());
    let noon = read("2026-12-31T12:00:00Z").unwrap();
    assert_eq!(read("2026-12-31T20:00:00.000+08:00").unwrap(), noon);
    for text in ["", "now", "2026-12-31", "2026-12-31T12:00:00", "1798718400"] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("RFC 3339"), "{text}: {error}");
    }
}

#[test]
fn a_seed_is_not_printed_and_a_grab_id_is_any_uuid() {
    assert_eq!(format!("{:?}", Seed([42; 32])), "Seed(secret)");
    let grab: GrabId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    assert_eq!(grab.to_string(), "00000000-0000-4000-8000-000000000001");
    assert!("not-a-uuid".parse::<GrabId>().is_err());
}
