//! How splits and eligible users are read, so that an error is found at the very field.
//!
//! Serde's own reading of tagged and untagged enums looks at a whole value before it decides
//! what the value is, and then can only say that the whole does not fit. It must accept exactly
//! what the types of [`crate::campaign`] write.

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use crate::{Eligible, Fen, Split, Tier, UserId};

/// The fields of every mode of split; `TryFrom` sorts out which of them belong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitForm {
    mode: Mode,
    amount: Option<Fen>,
    total: Option<Fen>,
    min: Option<Fen>,
    max: Option<Fen>,
    tiers: Option<Vec<Tier>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Equal,
    Lucky,
    Tiers,
}

impl TryFrom<SplitForm> for Split {
    type Error = String;

    fn try_from(form: SplitForm) -> Result<Self, String> {
        let given = [
            ("amount", form.amount.is_some()),
            ("total", form.total.is_some()),
            ("min", form.min.is_some()),
            ("max", form.max.is_some()),
            ("tiers", form.tiers.is_some()),
        ];
        let (mode, own): (&str, &[&str]) = match form.mode {
            Mode::Equal => ("equal", &["amount"]),
            Mode::Lucky => ("lucky", &["total", "min", "max"]),
            Mode::Tiers => ("tiers", &["tiers"]),
        };
        if let Some((field, _)) = given
            .into_iter()
            .find(|(field, given)| *given && !own.contains(field))
        {
            return Err(format!("field `{field}` does not belong to mode `{mode}`"));
        }
        let missing = |field: &str| format!("missing field `{field}` of mode `{mode}`");
        Ok(match form.mode {
            Mode::Equal => Self::Equal {
                amount: form.amount.ok_or_else(|| missing("amount"))?,
            },
            Mode::Lucky => Self::Lucky {
                total: form.total.ok_or_else(|| missing("total"))?,
                min: form.min.unwrap_or(Fen::ONE),
                max: form.max,
            },
            Mode::Tiers => Self::Tiers {
                tiers: form.tiers.ok_or_else(|| missing("tiers"))?,
            },
        })
    }
}

impl<'de> Deserialize<'de> for Eligible {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EligibleVisitor)
    }
}

struct EligibleVisitor;

impl<'de> Visitor<'de> for EligibleVisitor {
    type Value = Eligible;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`anyone`, `registered` or a list of user ids")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Eligible, E> {
        match text {
            "anyone" => Ok(Eligible::Anyone),
            "registered" => Ok(Eligible::Registered),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, users: A) -> Result<Eligible, A::Error> {
        Vec::<UserId>::deserialize(SeqAccessDeserializer::new(users)).map(Eligible::Listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;

    fn split(json: &str) -> Result<Split, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn refused(json: &str, names: &str) {
        let error = split(json).unwrap_err();
        assert!(error.contains(names), "{json}: {error}");
    }

    #[test]
    fn every_split_is_read_as_it_is_written() {
        let fen = |n| Fen::new(n).unwrap();
        let lucky = Split::Lucky {
            total: fen(10_000),
            min: fen(1),
            max: None,
        };
        assert_eq!(
            split(r#"{"mode":"lucky","total":10000}"#),
            Ok(lucky.clone())
        );
        let tier = Tier {
            label: "一等奖".into(),
            count: 2,
            amount: fen(5),
        };
        for split in [
            lucky,
            Split::Equal {
                amount: fen(1 << 52),
            },
            Split::Tiers { tiers: vec![tier] },
        ] {
            let json = serde_json::to_string(&split).unwrap();
            assert_eq!(serde_json::from_str::<Split>(&json).unwrap(), split);
        }
    }

    #[test]
    fn a_split_that_is_not_one_names_the_field() {
        refused(r#"{"total":1}"#, "`mode`");
        refused(r#"{"mode":"fair","total":1}"#, "`fair`");
        refused(r#"{"mode":"lucky"}"#, "`total`");
        refused(r#"{"mode":"lucky","total":null}"#, "`total`");
        refused(r#"{"mode":"equal"}"#, "`amount`");
        refused(r#"{"mode":"tiers"}"#, "`tiers`");
        refused(r#"{"mode":"equal","amount":1,"max":2}"#, "`max`");
        refused(r#"{"mode":"lucky","total":1,"tiers":[]}"#, "`tiers`");
        refused(r#"{"mode":"tiers","tiers":[],"total":1}"#, "`total`");
        refused(r#"{"mode":"lucky","total":1,"sum":1}"#, "`sum`");
        refused(r#"{"mode":"lucky","total":1,"total":1}"#, "`total`");
        refused(r#"{"mode":"lucky","total":-1}"#, "-1");
        refused(r#"{"mode":"lucky","total":1.5}"#, "1.5");
        refused(
            r#"{"mode":"equal","amount":9007199254740992}"#,
            "9007199254740992",
        );
        refused(
            r#"{"mode":"tiers","tiers":[{"label":"a","count":1,"amount":1,"x":1}]}"#,
            "`x`",
        );
    }

    #[test]
    fn the_path_leads_to_the_field() {
        let path = |json: &str| {
            let mut json = serde_json::Deserializer::from_str(json);
            let error = serde_path_to_error::deserialize::<_, Split>(&mut json).unwrap_err();
            error.path().to_string()
        };
        assert_eq!(path(r#"{"mode":"lucky","total":-1}"#), "total");
        assert_eq!(path(r#"{"mode":"lucky","total":9,"max":"7"}"#), "max");
        let tiers = r#"{"mode":"tiers","tiers":[{"label":"a","count":0.5,"amount":1}]}"#;
        assert_eq!(path(tiers), "tiers[0].count");
        let mut json = serde_json::Deserializer::from_str(r#"{"eligible":["a",""]}"#);
        let error = serde_path_to_error::deserialize::<_, Rules>(&mut json).unwrap_err();
        assert_eq!(error.path().to_string(), "eligible[1]");
    }

    #[test]
    fn eligible_users_are_read_as_they_are_written() {
        let read = |json: &str| serde_json::from_str::<Eligible>(json);
        let listed = Eligible::Listed(vec![UserId::new("阿明").unwrap()]);
        for (json, eligible) in [
            (r#""anyone""#, Eligible::Anyone),
            (r#""registered""#, Eligible::Registered),
            (r#"["阿明"]"#, listed),
            ("[]", Eligible::Listed(Vec::new())),
        ] {
            assert_eq!(read(json).unwrap(), eligible);
            assert_eq!(serde_json::to_string(&eligible).unwrap(), json);
        }
        for (json, names) in [
            (r#""everyone""#, "everyone"),
            (r#"["a",""]"#, "empty"),
            ("7", "a list of user ids"),
            ("null", "a list of user ids"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(names), "{json}: {error}");
        }
        let rules: Rules = serde_json::from_str("{}").unwrap();
        assert_eq!(rules, Rules::default());
    }
}
