//! A JSON request body whose refusal names the field.

use std::{fmt, marker::PhantomData};

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{StatusCode, header};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::ApiError;

/// The request body, a JSON object. Refuses another content type (415), too much (413), and what does
/// not fit `T` (400 `invalid_json` or `invalid_field`, naming the field).
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_json = content_type
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                let media_type = value.split(';').next().unwrap_or_default().trim();
                media_type.eq_ignore_ascii_case("application/json")
            });
        if !is_json {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "send the body as `Content-Type: application/json`",
            ));
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                let status = rejection.status();
                let code = if status == StatusCode::PAYLOAD_TOO_LARGE {
                    "too_large"
                } else {
                    "invalid_body"
                };
                ApiError::new(status, code, rejection.body_text())
            })?;
        parse(&body).map(Self)
    }
}

/// The object `body` as a `T`.
///
/// # Errors
/// 400 `invalid_json` when it is no JSON, `invalid_field` (naming the field) when it does not fit.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if cause.is_data() && path != "." {
            ApiError::invalid(&path, cause)
        } else if cause.is_data() {
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_field", cause.to_string())
        } else {
            not_json(&cause)
        }
    })?;
    json.end().map_err(|cause| not_json(&cause))?;
    Ok(value)
}

/// A `T` that only an object is read as. What serde derives for a struct takes a list as well,
/// its items as the fields in the order in which they happen to be written.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Read(PhantomData)).map(Self)
    }
}

/// For a field that holds an object: see [`Object`].
///
/// # Errors
/// When it holds anything else, or what `T` refuses.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|object| object.0)
}

/// As [`object`], for a field that may be null.
///
/// # Errors
/// As [`object`].
pub(crate) fn maybe_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|object| object.0))
}

/// As [`object`], for a list of objects.
///
/// # Errors
/// As [`object`].
pub(crate) fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

/// As [`objects`], for a list that may be null.
///
/// # Errors
/// As [`object`].
pub(crate) fn maybe_objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let objects = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(objects.map(|objects| objects.into_iter().map(|object| object.0).collect()))
}

fn not_json(cause: &serde_json::Error) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_json",
        format!("the body is no JSON: {cause}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        a: u32,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(deserialize_with = "object")]
        one: Inner,
        #[serde(default, deserialize_with = "maybe_object")]
        maybe: Option<Inner>,
        #[serde(default, deserialize_with = "maybe_objects")]
        some: Option<Vec<Inner>>,
        #[serde(default, deserialize_with = "objects")]
        all: Vec<Inner>,
    }

    #[test]
    fn a_list_is_no_object() {
        let read = |text: &str| parse::<Outer>(text.as_bytes());
        let inner = |a| Inner { a };
        let both =
            read(r#"{"one":{"a":1},"maybe":{"a":2},"some":[{"a":3}],"all":[{"a":4},{"a":5}]}"#);
        let expected = Outer {
            one: inner(1),
            maybe: Some(inner(2)),
            some: Some(vec![inner(3)]),
            all: vec![inner(4), inner(5)],
        };
        assert_eq!(both.map_err(|refusal| refusal.message), Ok(expected));
        let least = read(r#"{"one":{"a":1},"maybe":null}"#).map_err(|refusal| refusal.message);
        assert!(least.is_ok_and(|outer| outer.maybe.is_none() && outer.some.is_none()));
        for (text, field) in [
            (r#"[{"a":1},null,null]"#, ""),
            ("null", ""),
            ("5", ""),
            (r#"{"one":[1]}"#, "`one` "),
            (r#"{"one":{"a":1},"maybe":[2]}"#, "`maybe` "),
            (r#"{"one":{"a":1},"some":[[3]]}"#, "`some[0]` "),
            (r#"{"one":{"a":1},"all":[{"a":4},[5]]}"#, "`all[1]` "),
        ] {
            let refusal = read(text).expect_err(text);
            assert_eq!(
                (refusal.status.as_u16(), refusal.code),
                (400, "invalid_field")
            );
            assert!(
                refusal.message.starts_with(field),
                "{text}: {}",
                refusal.message
            );
            assert!(
                refusal.message.contains("an object"),
                "{text}: {}",
                refusal.message
            );
        }
        let path = read(r#"{"one":{"a":"x"}}"#).expect_err("a text");
        assert!(path.message.starts_with("`one.a` "), "{}", path.message);
    }
}
