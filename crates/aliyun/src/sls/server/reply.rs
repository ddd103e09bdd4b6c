//! What the server answers: replies, and refusals by the service's own codes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

/// A refusal by one of the service's codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// 400 with `code`.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A parameter that cannot be meant.
    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::bad("ParameterInvalid", message)
    }

    pub(super) fn no_project(name: &str) -> Self {
        let message = format!("The Project does not exist : {name}");
        Self::new(StatusCode::NOT_FOUND, "ProjectNotExist", message)
    }

    pub(super) fn no_logstore(name: &str) -> Self {
        let message = format!("logstore {name} does not exist");
        Self::new(StatusCode::NOT_FOUND, "LogStoreNotExist", message)
    }

    pub(super) fn signature() -> Self {
        let message = "signature not matched.";
        Self::new(StatusCode::UNAUTHORIZED, "SignatureNotMatch", message)
    }

    pub(super) fn response(&self) -> Response<Bytes> {
        let body = json!({"errorCode": self.code, "errorMessage": self.message});
        let mut response = json_reply(&body);
        *response.status_mut() = self.status;
        response
    }
}

/// 200 without a body. It carries no Content-Type: one of the vendor's clients would take the
/// empty body for JSON.
pub(super) fn empty() -> Response<Bytes> {
    Response::new(Bytes::new())
}

/// 200 with a JSON body.
pub(super) fn json_reply(body: &impl serde::Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("what we answer has text for keys");
    let mut response = Response::new(Bytes::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Sets a header whose value cannot but be plain text.
pub(super) fn set(response: &mut Response<Bytes>, name: &'static str, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(name), value);
    }
}
