//! Who a participant's request is from: a Bearer token, or the cookie with the same token.
//!
//! An `Authorization` header decides alone: when it is no valid Bearer token, the request is
//! refused, whatever cookie comes with it. Free of the web framework, because the fast path for
//! grabs asks the same function.

use http::{HeaderMap, Method, header};
use rules::{Timestamp, UserId};

use super::token::{TokenRefusal, Tokens, Verified};
use crate::http::{
    ApiError,
    credentials::{bearer, cookie},
    origin::{self, OriginRules},
};

/// The cookie that holds a participant's token.
pub const COOKIE: &str = "hongbao_token";

/// The participant that a request with these headers is from.
///
/// # Errors
/// 401 `unauthenticated` without a valid token; 403 `cross_origin` for an unsafe request by
/// cookie that another site's page may have sent.
pub fn participant(
    headers: &HeaderMap,
    method: &Method,
    tokens: &Tokens,
    origins: &OriginRules,
    now: Timestamp,
) -> Result<UserId, ApiError> {
    let token = presented(headers, method, origins)?;
    tokens.verify_cached(token, now).map_err(void)
}

/// As [`participant`], with the token's expiry.
///
/// # Errors
/// See [`participant`].
pub fn session(
    headers: &HeaderMap,
    method: &Method,
    tokens: &Tokens,
    origins: &OriginRules,
    now: Timestamp,
) -> Result<Verified, ApiError> {
    let token = presented(headers, method, origins)?;
    tokens.verify_fully(token, now).map_err(void)
}

/// The token that a request presents, where it may present it so.
fn presented<'h>(
    headers: &'h HeaderMap,
    method: &Method,
    origins: &OriginRules,
) -> Result<&'h str, ApiError> {
    if headers.contains_key(header::AUTHORIZATION) {
        return bearer(headers).ok_or_else(|| {
            ApiError::unauthenticated("`Authorization` must be `Bearer` and a token, once")
        });
    }
    let token = cookie(headers, COOKIE).ok_or_else(|| {
        ApiError::unauthenticated("log in at /account/sessions and send the token")
    })?;
    origin::check(headers, method, origins)?;
    Ok(token)
}

fn void(refusal: TokenRefusal) -> ApiError {
    ApiError::unauthenticated(format!("{refusal}; log in again"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    struct Case {
        tokens: Tokens,
        ann: String,
        bob: String,
    }

    impl Case {
        fn new() -> Self {
            let tokens = Tokens::new(&[1; 32], None).unwrap();
            let token = |name: &str| tokens.issue(&UserId::trusted(name), NOW).0;
            let (ann, bob) = (token("ann"), token("bob"));
            Self { tokens, ann, bob }
        }

        fn ask(&self, method: &Method, lines: &[(&'static str, &str)]) -> Result<String, u16> {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let name = HeaderName::from_static(name);
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            let rules = OriginRules::default();
            participant(&headers, method, &self.tokens, &rules, NOW)
                .map(|user| user.to_string())
                .map_err(|refusal| refusal.status.as_u16())
        }
    }

    #[test]
    fn a_bearer_token_needs_no_origin() {
        let case = Case::new();
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let line = format!("{scheme} {}", case.ann);
            assert_eq!(
                case.ask(&Method::POST, &[("authorization", &line)]),
                Ok("ann".into())
            );
        }
    }

    #[test]
    fn an_invalid_bearer_never_falls_back_to_the_cookie() {
        let case = Case::new();
        let cookie = ("cookie", &*format!("{COOKIE}={}", case.bob));
        let own = ("sec-fetch-site", "same-origin");
        assert_eq!(
            case.ask(&Method::POST, &[cookie, own]),
            Ok("bob".into()),
            "the cookie alone is good"
        );
        let altered = format!("Bearer {}x", case.ann);
        let glued = format!("Bearer{}", case.ann);
        for bad in [
            &*altered,
            &glued,
            "Bearer",
            "Bearer ",
            "",
            "Basic YTpi",
            "garbage",
        ] {
            let answer = case.ask(&Method::POST, &[("authorization", bad), cookie, own]);
            assert_eq!(answer, Err(401), "{bad:?}");
        }
        let good = &*format!("Bearer {}", case.ann);
        let twice = [
            ("authorization", good),
            ("authorization", good),
            cookie,
            own,
        ];
        assert_eq!(case.ask(&Method::GET, &twice), Err(401));
    }

    #[test]
    fn a_post_by_cookie_must_come_from_our_pages() {
        let case = Case::new();
        let cookie = ("cookie", &*format!("theme=dark; {COOKIE}={}", case.ann));
        assert_eq!(case.ask(&Method::GET, &[cookie]), Ok("ann".into()));
        assert_eq!(case.ask(&Method::POST, &[cookie]), Err(403));
        let elsewhere = ("sec-fetch-site", "cross-site");
        assert_eq!(case.ask(&Method::POST, &[cookie, elsewhere]), Err(403));
        let host = ("host", "rain.example");
        let origin = ("origin", "https://rain.example");
        assert_eq!(
            case.ask(&Method::POST, &[cookie, host, origin]),
            Ok("ann".into())
        );
        let evil = ("origin", "https://evil.example");
        assert_eq!(case.ask(&Method::POST, &[cookie, host, evil]), Err(403));
    }

    #[test]
    fn without_any_token_nobody_is_there() {
        let case = Case::new();
        assert_eq!(case.ask(&Method::GET, &[]), Err(401));
        for cookie in ["", "hongbao_token", "hongbao_token=", "xhongbao_token=1"] {
            assert_eq!(case.ask(&Method::GET, &[("cookie", cookie)]), Err(401));
        }
    }
}
