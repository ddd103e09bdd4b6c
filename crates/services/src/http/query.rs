//! A query string whose refusal names the parameter.

use axum::extract::FromRequestParts;
use http::{StatusCode, request::Parts};
use serde::de::DeserializeOwned;

use super::ApiError;

/// The query string as a `T`. What does not fit is refused with 400 `invalid_field`, naming the
/// parameter; unknown ones too where `T` has `#[serde(deny_unknown_fields)]`, as all should.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner().to_string();
        // Unknown and repeated parameters are named in the cause itself.
        if path == "." || cause.contains(&format!("`{path}`")) {
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_field", cause)
        } else {
            ApiError::invalid(&path, cause)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Page {
        cursor: Option<String>,
        step: Option<u32>,
    }

    fn refusal(query: &str) -> String {
        parse::<Page>(query).unwrap_err().message
    }

    #[test]
    fn reads_what_fits() {
        let page: Page = parse("cursor=%E6%9D%8E&step=5").unwrap();
        assert_eq!(
            page,
            Page {
                cursor: Some("李".into()),
                step: Some(5)
            }
        );
    }

    #[test]
    fn names_what_does_not() {
        insta::assert_snapshot!(refusal("step=soon"), @"`step` invalid digit found in string");
        insta::assert_snapshot!(refusal("stop=1"), @"unknown field `stop`, expected `cursor` or `step`");
        insta::assert_snapshot!(refusal("step=1&step=2"), @"duplicate field `step`");
    }
}
