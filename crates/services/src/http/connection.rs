//! One connection: the lane by itself, and hyper behind it once there is something for hyper.

use std::{error::Error, pin::pin, sync::Arc};

use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::HttpService,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::{
    head::HEADERS_MAX,
    lane::{Answers, HEAD_BYTES_MAX, Lane, Turn},
};

/// Why a connection ended badly.
pub(crate) type Bad = Box<dyn Error + Send + Sync>;

/// Serves `stream` until it ends, or until its request under way has been answered once
/// `stopping` is done: what `answers` knows in front of hyper, the rest by `service`.
///
/// Nearly every connection of a rain does nothing but grab: such a one never has a hyper, whose
/// every look for work would cost a tenth of a grab.
///
/// # Errors
/// When it did not end in good order.
pub(crate) async fn serve<S, A, V>(
    stream: S,
    answers: A,
    service: impl FnOnce(Arc<Turn>) -> V,
    stopping: CancellationToken,
) -> Result<(), Bad>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Answers + Unpin,
    V: HttpService<Incoming, Error: Into<Bad>, ResBody: Body<Error: Into<Bad>> + 'static>,
{
    let (mut lane, turn) = Lane::new(stream, answers);
    let for_hyper = stopping.run_until_cancelled(lane.until_hyper()).await;
    let for_hyper = for_hyper.transpose()?;
    if for_hyper != Some(true) {
        lane.shutdown().await?;
        return Ok(());
    }
    let connection = http1::Builder::new()
        // The lane watches how long a head takes; it gives hyper none that is incomplete.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(lane), service(turn));
    let mut connection = pin!(connection);
    tokio::select! {
        // Before the stop is looked at, so that hyper has the request that it is here for.
        biased;
        ended = connection.as_mut() => return Ok(ended?),
        () = stopping.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    Ok(connection.await?)
}
