//! Why a call got no answer, in words for a log line.

use std::error::Error;

/// What failed, and the deepest cause: the layers between repeat each other. The address is left
/// out, because it may hold a receipt handle.
pub(crate) fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    match last_cause(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn last_cause(error: &dyn Error) -> Option<&dyn Error> {
    std::iter::successors(error.source(), |&cause| cause.source()).last()
}
