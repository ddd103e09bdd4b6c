//! The parts that request bodies have in common: split, win limit, rules, headers.
//!
//! What a body says is only read here; whether it may be so is for `rules::check`. Every refusal
//! names its field by the path in the body.

use http::{HeaderMap, StatusCode};
use ledger::Idempotency;
use rules::{Eligible, Fen, Per, Rules, Split, Tier, UserId, WinLimit, check::Refusal};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use utoipa::{
    ToSchema,
    openapi::schema::{
        AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type,
    },
};

use crate::http::{ApiError, credentials::sha256, json};

/// The header that makes a repeated call safe.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The longest idempotency key.
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// 400, naming the field.
pub(crate) fn refused(refusal: Refusal) -> ApiError {
    ApiError::invalid(&refusal.field, refusal.reason)
}

/// The `Idempotency-Key` header, if sent.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || text.len() > IDEMPOTENCY_KEY_CHARS_MAX || values.next().is_some() {
        let reason = format!(
            "must be sent once, with 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters"
        );
        return Err(ApiError::invalid_header(IDEMPOTENCY_KEY, &reason));
    }
    Ok(Some(text))
}

/// What a call under `key` is remembered by: the operation it belongs to, and what `body` says,
/// however it is spaced and ordered.
pub(crate) fn idempotency(operation: &str, key: &str, body: &serde_json::Value) -> Idempotency {
    Idempotency {
        key: format!("{operation}:{key}"),
        body_digest: sha256(body.to_string().as_bytes()),
    }
}

/// `body`, an object as [`crate::http::Json`] gives it, as a `T`.
///
/// # Errors
/// 400 `invalid_field`, naming the field by its path.
pub(crate) fn fit<T: DeserializeOwned>(body: &serde_json::Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(body).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner().to_string();
        if path == "." {
            // What is missing or unknown is named in the cause itself.
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_field", cause)
        } else {
            ApiError::invalid(&path, cause)
        }
    })
}

/// How the budget becomes packets, as the body says it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitRequest {
    /// `equal`, `lucky` or `tiers`.
    mode: Mode,
    /// For `equal`: what each packet holds, in minor units.
    #[schema(value_type = Option<u64>)]
    amount: Option<Fen>,
    /// For `lucky`: the sum of all packets, in minor units.
    #[schema(value_type = Option<u64>)]
    total: Option<Fen>,
    /// For `lucky`: the least a packet holds; 1 when left out.
    #[schema(value_type = Option<u64>)]
    min: Option<Fen>,
    /// For `lucky`: the most a packet holds; no bound when left out.
    #[schema(value_type = Option<u64>)]
    max: Option<Fen>,
    /// For `tiers`: the prizes.
    #[serde(default, deserialize_with = "json::maybe_objects")]
    tiers: Option<Vec<TierRequest>>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Equal,
    Lucky,
    Tiers,
}

/// One prize.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TierRequest {
    /// What the winner reads.
    label: String,
    /// How many packets of it there are.
    count: u32,
    /// What each of them holds, in minor units.
    #[schema(value_type = u64)]
    amount: Fen,
}

impl From<TierRequest> for Tier {
    fn from(tier: TierRequest) -> Self {
        Self {
            label: tier.label,
            count: tier.count,
            amount: tier.amount,
        }
    }
}

impl SplitRequest {
    /// The split that is meant.
    ///
    /// # Errors
    /// A field that the mode needs is missing, or one that it does not have is there.
    pub(crate) fn split(self) -> Result<Split, ApiError> {
        let (mode, foreign) = match self.mode {
            Mode::Equal => (
                "equal",
                [
                    ("split.total", self.total.is_some()),
                    ("split.min", self.min.is_some()),
                    ("split.max", self.max.is_some()),
                    ("split.tiers", self.tiers.is_some()),
                ],
            ),
            Mode::Lucky => (
                "lucky",
                [
                    ("split.amount", self.amount.is_some()),
                    ("split.tiers", self.tiers.is_some()),
                    ("", false),
                    ("", false),
                ],
            ),
            Mode::Tiers => (
                "tiers",
                [
                    ("split.amount", self.amount.is_some()),
                    ("split.total", self.total.is_some()),
                    ("split.min", self.min.is_some()),
                    ("split.max", self.max.is_some()),
                ],
            ),
        };
        if let Some((field, _)) = foreign.iter().find(|(_, there)| *there) {
            let reason = format!("does not belong to the mode `{mode}`");
            return Err(ApiError::invalid(field, reason));
        }
        let missing = |field| ApiError::invalid(field, format!("is needed for the mode `{mode}`"));
        Ok(match self.mode {
            Mode::Equal => Split::Equal {
                amount: self.amount.ok_or_else(|| missing("split.amount"))?,
            },
            Mode::Lucky => Split::Lucky {
                total: self.total.ok_or_else(|| missing("split.total"))?,
                min: self.min.unwrap_or(ONE_FEN),
                max: self.max,
            },
            Mode::Tiers => {
                let tiers = self.tiers.ok_or_else(|| missing("split.tiers"))?;
                Split::Tiers {
                    tiers: tiers.into_iter().map(Tier::from).collect(),
                }
            }
        })
    }
}

const ONE_FEN: Fen = match Fen::new(1) {
    Some(fen) => fen,
    None => Fen::ZERO,
};

/// How often one user may win, as the body says it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WinLimitRequest {
    /// The most wins in one period.
    count: u32,
    /// `"campaign"`, `"wave"` or `{"seconds": n}`.
    #[schema(schema_with = per_schema)]
    per: PerRequest,
}

impl WinLimitRequest {
    /// The limit that is meant.
    pub(crate) fn win_limit(self) -> WinLimit {
        WinLimit {
            count: self.count,
            per: self.per.0,
        }
    }
}

/// A text of those given.
fn one_of(texts: &[&str]) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(texts.iter().copied()))
}

fn per_schema() -> Schema {
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1));
    let seconds = ObjectBuilder::new()
        .property("seconds", seconds)
        .required("seconds")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    OneOfBuilder::new()
        .item(one_of(&["campaign", "wave"]))
        .item(seconds)
        .description(Some("`campaign`, `wave`, or every so many seconds."))
        .into()
}

fn eligible_schema() -> Schema {
    let users = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
    OneOfBuilder::new()
        .item(one_of(&["anyone", "registered"]))
        .item(users)
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .description(Some("`anyone`, `registered` or a list of users."))
        .into()
}

/// Read by hand, so that a refusal keeps the path of what is wrong.
struct PerRequest(Per);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum PerField {
    Seconds,
}

impl<'de> Deserialize<'de> for PerRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Per;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"campaign\", \"wave\" or {\"seconds\": n}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Per, E> {
                match text {
                    "campaign" => Ok(Per::Campaign),
                    "wave" => Ok(Per::Wave),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Per, A::Error> {
                let Some(PerField::Seconds) = map.next_key()? else {
                    return Err(A::Error::missing_field("seconds"));
                };
                let seconds = map.next_value()?;
                match map.next_key::<PerField>()? {
                    None => Ok(Per::Seconds(seconds)),
                    Some(PerField::Seconds) => Err(A::Error::duplicate_field("seconds")),
                }
            }
        }
        deserializer.deserialize_any(Read).map(Self)
    }
}

/// Who may try, as the body says it: what is left out stays as it was.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesRequest {
    /// One attempt per user in so many seconds; null: no such rule.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<u32>)]
    attempt_window_seconds: Option<Option<u32>>,
    /// The probability, from 0 to 1, that an attempt is given up at random.
    discard_probability: Option<f64>,
    /// `"anyone"`, `"registered"` or a list of users.
    #[schema(schema_with = eligible_schema)]
    eligible: Option<EligibleRequest>,
    /// Who may not win.
    #[schema(value_type = Option<Vec<String>>)]
    blocked: Option<Vec<UserId>>,
}

impl RulesRequest {
    /// The rules that are meant, where `before` holds.
    pub(crate) fn rules(self, before: Rules) -> Rules {
        let window = self.attempt_window_seconds;
        Rules {
            attempt_window_seconds: window.unwrap_or(before.attempt_window_seconds),
            discard_probability: self
                .discard_probability
                .unwrap_or(before.discard_probability),
            eligible: self.eligible.map_or(before.eligible, |eligible| eligible.0),
            blocked: self.blocked.unwrap_or(before.blocked),
        }
    }
}

/// Tells a null from a field that is left out.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Read by hand, so that a refusal keeps the path of what is wrong.
#[derive(Clone)]
struct EligibleRequest(Eligible);

impl<'de> Deserialize<'de> for EligibleRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Eligible;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"anyone\", \"registered\" or a list of users")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Eligible, E> {
                match text {
                    "anyone" => Ok(Eligible::Anyone),
                    "registered" => Ok(Eligible::Registered),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Eligible, A::Error> {
                let mut users = Vec::new();
                while let Some(user) = seq.next_element::<UserId>()? {
                    users.push(user);
                }
                Ok(Eligible::Listed(users))
            }
        }
        deserializer.deserialize_any(Read).map(Self)
    }
}
