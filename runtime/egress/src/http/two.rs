//! HTTP/2 towards a worker: many requests at once.

use super::body::{AnyBody, BodyError, Metered};
use super::ending::Clean;
use super::exchange::{Connection, NoAnswer};
use super::tasks::Tasks;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Requests of one connection at once.
const STREAMS: u32 = 256;
/// Bytes of one stream, and of all streams of a connection, that a worker may send ahead.
const WINDOWS: (u32, u32) = (1 << 20, 2 << 20);
/// The same for connections beyond the first [`super::MANY`] of a worker.
const FEW_STREAMS: u32 = 32;
const SMALL_WINDOWS: (u32, u32) = (64 << 10, 128 << 10);
/// Longest list of header fields, bytes.
const HEADERS: u32 = 64 << 10;

/// Serves a connection until one side ends it.
///
/// # Errors
/// The worker broke off, or spoke no HTTP/2.
pub(super) async fn serve<S>(
    connection: Arc<Connection>,
    stream: S,
    clean: &Clean,
    tasks: Tasks,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (streams, windows) = if connection.is_small() {
        (FEW_STREAMS, SMALL_WINDOWS)
    } else {
        (STREAMS, WINDOWS)
    };
    let service = service_fn(move |request| answer(Arc::clone(&connection), request));
    let served = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(windows.0)
        .initial_connection_window_size(windows.1)
        .serve_connection(TokioIo::new(stream), service);
    // Held until its end is known: the connection closes when this is dropped.
    let mut served = std::pin::pin!(served);
    served.as_mut().await.map_err(io::Error::other)?;
    clean.say();
    Ok(())
}

async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, NoAnswer> {
    let (parts, body) = request.into_parts();
    // Where it breaks off, that is the worker's doing.
    let body = body.map_err(|_| BodyError::Gone);
    let admitted = match connection.admit(&parts) {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(connection.refuse(refusal)),
    };
    let body = Metered::new(body, admitted.up.clone(), |_| ()).boxed_unsync();
    connection
        .forward(admitted, Request::from_parts(parts, body))
        .await
}
