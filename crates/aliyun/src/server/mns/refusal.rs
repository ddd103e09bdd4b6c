//! Why the offline MNS refuses a request: the service's code, and words of our own.

use crate::mns::{Code, model::PartError};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

/// The result of working on a request.
pub(super) type Result<T, E = Refusal> = std::result::Result<T, E>;

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// An argument is outside its limits.
    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn malformed() -> Self {
        let message = "The XML you provided was not well-formed or did not validate.";
        Self::new(Code::MalformedXML, message)
    }

    pub(super) fn no_queue() -> Self {
        Self::new(
            Code::QueueNotExist,
            "The queue name you provided is not exist.",
        )
    }

    pub(super) fn no_message() -> Self {
        Self::new(Code::MessageNotExist, "Message not exist.")
    }

    pub(super) fn internal(message: &str) -> Self {
        Self::new(Code::InternalError, message)
    }
}

impl From<PartError> for Refusal {
    fn from(error: PartError) -> Self {
        Self::new(error.code, error.message)
    }
}
