//! The body of a reply, up to a limit: how long it is, whoever answers decides.

use bytes::{Bytes, BytesMut};

/// The most bytes of a reply as it travels: more than either service answers with.
pub(crate) const REPLY_BYTES_MAX: usize = 16 << 20;

/// Reads the body of `response`; `None` when it is too long.
pub(crate) async fn read(mut response: reqwest::Response) -> reqwest::Result<Option<Bytes>> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > REPLY_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}
