//! HTTP/1.1 towards a worker: one request after the other.

use super::ending::Clean;
use super::exchange::Connection;
use super::head::{Head, Malformed};
use super::inbound::{HeadError, Inbound, InboundBody, Replayed};
use super::judge::malformed;
use super::outbound::{self, Asked};
use http::{Method, Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Serves a connection until one side ends it.
///
/// # Errors
/// The worker or the upstream broke off: both connections are reset.
pub(super) async fn serve<S>(connection: &Connection, stream: S, clean: &Clean) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, write) = tokio::io::split(stream);
    requests(connection, Inbound::new(read), write, clean).await
}

async fn requests<R, W>(
    connection: &Connection,
    mut inbound: Inbound<R>,
    mut write: W,
    clean: &Clean,
) -> io::Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Unpin,
{
    loop {
        let head = match inbound.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return end(&mut write, clean).await,
            Err(HeadError::Gone) => return Err(io::ErrorKind::ConnectionReset.into()),
            Err(HeadError::Malformed(error)) => {
                return close(connection, &mut write, &error, clean).await;
            }
        };
        let Head {
            request,
            framing,
            keep_alive,
            expects,
        } = head;
        let mut asked = Asked {
            method: request.method().clone(),
            version: request.version(),
            keep_alive,
        };
        let (parts, ()) = request.into_parts();
        let admitted = match connection.admit(&parts) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                // What follows may be a body that nobody reads, so that it is not known where the next request begins.
                asked.keep_alive = false;
                outbound::write(&mut write, &asked, connection.refuse(refusal)).await?;
                return end(&mut write, clean).await;
            }
        };
        if expects {
            outbound::write_continue(&mut write).await?;
        }
        let upgrades = admitted.upgrades;
        let (body, mut back) = InboundBody::new(inbound, framing, admitted.up.clone());
        let request = Request::from_parts(parts, body.boxed_unsync());
        // Of a request without a body it is there at once, and tells when the worker goes away.
        let mut reader = back.try_recv().ok().and_then(Result::ok);
        let answered = tokio::select! {
            answered = connection.forward(admitted, request) => answered,
            () = gone(&mut reader) => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        if reader.is_none() {
            match back.try_recv() {
                Ok(Ok(returned)) => reader = Some(returned),
                Ok(Err(error)) => return close(connection, &mut write, &error, clean).await,
                Err(_) => {}
            }
        }
        let mut response = answered.map_err(io::Error::other)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (true, Some(inbound)) = (upgrades, reader) else {
                return Err(io::Error::other(
                    "the upstream switched to a protocol that nobody asked for",
                ));
            };
            let upgraded = hyper::upgrade::on(&mut response);
            outbound::write(&mut write, &asked, response).await?;
            let (first, io) = inbound.into_parts();
            return relay(
                connection,
                tokio::io::join(Replayed { first, io }, write),
                upgraded,
                clean,
            )
            .await;
        }
        // Where the answer came before the body was read, the next request's beginning may never be found.
        asked.keep_alive &= reader.is_some();
        let reusable = tokio::select! {
            written = outbound::write(&mut write, &asked, response) => written?,
            () = gone(&mut reader) => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        inbound = match (reader, back.try_recv()) {
            (Some(reader), _) if reusable => reader,
            (_, Ok(Err(error))) => return close(connection, &mut write, &error, clean).await,
            _ => return end(&mut write, clean).await,
        };
    }
}

/// Returns when the worker has gone away, as far as that can be seen.
async fn gone<R: AsyncRead + Unpin>(reader: &mut Option<Inbound<R>>) {
    match reader {
        Some(reader) => reader.gone().await,
        None => std::future::pending().await,
    }
}

/// Answers what is no request, and ends the connection.
async fn close(
    connection: &Connection,
    write: &mut (impl AsyncWrite + Unpin),
    error: &Malformed,
    clean: &Clean,
) -> io::Result<()> {
    let asked = Asked {
        method: Method::GET,
        version: Version::HTTP_11,
        keep_alive: false,
    };
    outbound::write(write, &asked, connection.refuse(malformed(error))).await?;
    end(write, clean).await
}

async fn end(write: &mut (impl AsyncWrite + Unpin), clean: &Clean) -> io::Result<()> {
    write.shutdown().await?;
    clean.say();
    Ok(())
}

/// A WebSocket: from here on bytes, until one side ends it.
async fn relay(
    connection: &Connection,
    mut worker: impl AsyncRead + AsyncWrite + Unpin,
    upgraded: OnUpgrade,
    clean: &Clean,
) -> io::Result<()> {
    let mut upstream = TokioIo::new(upgraded.await.map_err(io::Error::other)?);
    let (up, down) = tokio::io::copy_bidirectional(&mut worker, &mut upstream).await?;
    connection.up.add(usize::try_from(up).unwrap_or(usize::MAX));
    connection
        .down
        .add(usize::try_from(down).unwrap_or(usize::MAX));
    clean.say();
    Ok(())
}
