//! Identities: what each is made of and how it is written.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use crate::{Timestamp, limits::USER_CHARS_MAX};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A campaign: UUID version 7.
    CampaignId
);
uuid_id!(
    /// A claim: UUID version 7, made by the grab node before the claim is written, so that the
    /// claim can be found again when the outcome of its commit is unknown.
    ClaimId
);
uuid_id!(
    /// One tap, from the client's `Grab-Id` header: any UUID.
    GrabId
);

impl CampaignId {
    /// A new id at time `at`; `random` fills the bits that make it unique.
    #[must_use]
    pub fn new(at: Timestamp, random: [u8; 10]) -> Self {
        Self(uuid_v7(at, random))
    }
}

impl ClaimId {
    /// A new id at time `at`; `random` fills the bits that make it unique.
    #[must_use]
    pub fn new(at: Timestamp, random: [u8; 10]) -> Self {
        Self(uuid_v7(at, random))
    }
}

fn uuid_v7(at: Timestamp, random: [u8; 10]) -> Uuid {
    let millis = u64::try_from(at.micros() / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// A participant's public id: NFC, 1 to 64 characters, no control characters, compared as
/// bytes (`Bob` is not `bob`). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(Arc<str>);

/// Why a text cannot be a user id or an identification code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRefusal {
    /// Nothing is left after trimming.
    #[error("is empty")]
    Empty,
    /// Over [`USER_CHARS_MAX`] characters.
    #[error("is longer than {USER_CHARS_MAX} characters")]
    TooLong,
    /// A control character stands in it.
    #[error("contains a control character")]
    Control,
}

/// `text` trimmed, in NFC, of 1 to 64 characters without control characters: the form in
/// which user ids and identification codes are compared.
///
/// # Errors
/// The [`NameRefusal`] that says which of these does not hold.
pub fn normal_name(text: &str) -> Result<String, NameRefusal> {
    // Bounds the work of normalising before anything is known of the input.
    if text.len() > USER_CHARS_MAX * 32 {
        return Err(NameRefusal::TooLong);
    }
    let name: String = text.trim().nfc().collect();
    if name.is_empty() {
        return Err(NameRefusal::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(NameRefusal::Control);
    }
    if name.chars().count() > USER_CHARS_MAX {
        return Err(NameRefusal::TooLong);
    }
    Ok(name)
}

impl UserId {
    /// The user id `text` stands for, normalised.
    ///
    /// # Errors
    /// See [`normal_name`].
    pub fn new(text: &str) -> Result<Self, NameRefusal> {
        normal_name(text).map(|name| Self(name.into()))
    }

    /// The user id read back from the ledger or from a verified token, taken as it is.
    #[must_use]
    pub fn trusted(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(|refusal| D::Error::custom(format!("user id {refusal}")))
    }
}

/// A packet within its campaign, written `wave-index`, both from 1, as `2-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId {
    /// The wave, from 1.
    pub wave: u32,
    /// The place within the wave, from 1.
    pub index: u32,
}

impl std::fmt::Display for PacketId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.wave, self.index)
    }
}

impl std::str::FromStr for PacketId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a packet id is `wave-index`, both from 1, such as 2-17";
        let number = |digits: &str| {
            // One spelling per packet: no sign, no leading zero.
            let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
            plain
                .then(|| digits.parse::<u32>().ok())
                .flatten()
                .ok_or(FORM)
        };
        let (wave, index) = text.split_once('-').ok_or(FORM)?;
        Ok(Self {
            wave: number(wave)?,
            index: number(index)?,
        })
    }
}

impl Serialize for PacketId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PacketId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A campaign's secret seed. Every amount follows from it, so it is published only when the
/// campaign has ended, and never printed by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(secret)")
    }
}
