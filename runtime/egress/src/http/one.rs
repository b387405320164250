//! HTTP/1.1 towards a worker: one request after the other.

use super::body::Meter;
use super::ending::Clean;
use super::exchange::Connection;
use super::head::{Head, Malformed};
use super::inbound::{HeadError, Inbound, Replayed};
use super::intake::{Ended, Intake};
use super::judge::malformed;
use super::messages::{MEND, Messages};
use super::outbound::{self, Asked};
use super::seal::Sealing;
use super::sent::Switched;
use crate::lookout::misplaced;
use http::{Method, Request, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

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
                end(&mut write, clean).await?;
                // Closed with bytes unread, the connection would be reset, and the answer lost.
                inbound.discard().await;
                return Ok(());
            }
        };
        if expects {
            outbound::write_continue(&mut write).await?;
        }
        let upgrades = admitted.upgrades;
        let (body, mut intake) = Intake::new(inbound, framing, admitted.up.clone());
        let request = Request::from_parts(parts, body);
        let answered = tokio::select! {
            answered = connection.forward(admitted, request) => answered,
            ended = intake.ended() => match ended {
                Ended::Gone => return Err(io::ErrorKind::ConnectionReset.into()),
                Ended::Malformed(error) => return close(connection, &mut write, &error, clean).await,
            },
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => match intake.finish() {
                Err(error) => return close(connection, &mut write, &error, clean).await,
                Ok(_) => return Err(io::Error::other(error)),
            },
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let switched = response.extensions_mut().remove::<Switched>();
            let (true, Ok(Some(inbound)), Some(switched)) = (upgrades, intake.finish(), switched)
            else {
                return Err(io::Error::other(
                    "the upstream switched to a protocol that nobody asked for",
                ));
            };
            let upgraded = hyper::upgrade::on(&mut response);
            outbound::write(&mut write, &asked, response).await?;
            let (first, io) = inbound.into_parts();
            let worker = tokio::io::join(Replayed { first, io }, write);
            let worker = Watched::new(worker, switched, connection.shared.sealing.as_ref());
            return relay(connection, worker, upgraded, clean).await;
        }
        // Where the answer came before the body was read, the next request's beginning may never be found.
        asked.keep_alive &= intake.is_whole();
        let reusable = tokio::select! {
            written = outbound::write(&mut write, &asked, response) => written?,
            () = intake.gone() => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        if intake.is_cut_short() {
            end(&mut write, clean).await?;
            intake.discard().await;
            return Ok(());
        }
        inbound = match intake.finish() {
            Ok(Some(reader)) if reusable => reader,
            Ok(_) => return end(&mut write, clean).await,
            Err(error) => return close(connection, &mut write, &error, clean).await,
        };
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
async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &Connection,
    mut worker: Watched<S>,
    upgraded: OnUpgrade,
    clean: &Clean,
) -> io::Result<()> {
    let mut upstream = TokioIo::new(upgraded.await.map_err(io::Error::other)?);
    let copied = tokio::io::copy_bidirectional(&mut worker, &mut upstream).await;
    if let Some(what) = worker.messages.as_ref().and_then(Messages::found) {
        let (place, admitted) = (&connection.place, &worker.switched.0.admitted);
        let refusal = misplaced(&place.target, place.port, what, MEND, admitted.rule.clone());
        let refusal = admitted.refused(refusal);
        let reporter = &connection.shared.reporter;
        reporter.refused(connection.endpoint(), refusal);
    }
    copied?;
    clean.say();
    Ok(())
}

/// A connection whose bytes are counted as they pass, since nobody can rely on its end, and looked through where the call has
/// sealed secrets.
struct Watched<S> {
    inner: S,
    up: Meter,
    down: Meter,
    messages: Option<Messages>,
    /// Told when the connection is over.
    switched: Switched,
}

impl<S> Watched<S> {
    fn new(inner: S, switched: Switched, sealing: Option<&Sealing>) -> Self {
        let (up, down) = switched.0.meters();
        Self {
            inner,
            up,
            down,
            messages: sealing.map(Messages::of),
            switched,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, room);
        self.up.add(room.filled().len() - before);
        if let Some(messages) = &mut self.messages
            && let Err(error) = messages.admit(&room.filled()[before..])
        {
            room.set_filled(before);
            return Poll::Ready(Err(error));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.down.add(written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
