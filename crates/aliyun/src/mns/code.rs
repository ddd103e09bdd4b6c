//! The error codes of MNS, and the HTTP status that each comes with.

use std::fmt;

macro_rules! codes {
    ($($code:ident = $status:literal),* $(,)?) => {
        /// An error code of MNS, spelled as the service spells it.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the service's own name for one error")]
        pub enum Code {
            $($code,)*
            /// One that is not known here.
            Other(String),
        }

        impl Code {
            /// The code of this name.
            #[must_use]
            pub fn of(name: &str) -> Self {
                match name {
                    $(stringify!($code) => Self::$code,)*
                    _ => Self::Other(name.to_owned()),
                }
            }

            /// Its name.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$code => stringify!($code),)*
                    Self::Other(name) => name,
                }
            }

            /// The HTTP status that it comes with.
            #[must_use]
            pub fn status(&self) -> u16 {
                match self {
                    $(Self::$code => $status,)*
                    Self::Other(_) => 500,
                }
            }
        }
    };
}

codes! {
    InvalidAuthorizationHeader = 400,
    InvalidDateHeader = 400,
    InvalidArgument = 400,
    InvalidDegist = 400,
    InvalidRequestURL = 400,
    InvalidQueryString = 400,
    MalformedXML = 400,
    MissingAuthorizationHeader = 400,
    MissingDateHeader = 400,
    MissingVersionHeader = 400,
    MissingReceiptHandle = 400,
    MissingVisibilityTimeout = 400,
    InvalidQueueName = 400,
    QueueNameLengthError = 400,
    QueueDeletedRecently = 400,
    ReceiptHandleError = 400,
    QpsLimitExceeded = 400,
    AccessDenied = 403,
    InvalidAccessKeyId = 403,
    SignatureDoesNotMatch = 403,
    QueueNotExist = 404,
    MessageNotExist = 404,
    TimeExpired = 408,
    QueueAlreadyExist = 409,
    InternalError = 500,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (name, status) in [
            ("InvalidDegist", 400),
            ("SignatureDoesNotMatch", 403),
            ("TimeExpired", 408),
            ("QueueAlreadyExist", 409),
        ] {
            let code = Code::of(name);
            assert_eq!((code.name(), code.status()), (name, status));
            assert!(!matches!(code, Code::Other(_)));
        }
        assert_eq!(Code::of("New").to_string(), "New");
    }
}
