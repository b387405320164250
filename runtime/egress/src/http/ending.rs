//! A worker's connection that ends cleanly only if somebody says so.

use crate::relay::reset_on_close;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection whose closing is a reset (SO_LINGER 0), until it is said to be clean.
#[derive(Debug)]
pub(super) struct Ending {
    stream: TcpStream,
    clean: Clean,
}

/// Says that a connection came to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Clean(Arc<AtomicBool>);

impl Clean {
    pub(super) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Ending {
    pub(super) fn new(stream: TcpStream) -> (Self, Clean) {
        let clean = Clean::default();
        (
            Self {
                stream,
                clean: clean.clone(),
            },
            clean,
        )
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        reset_on_close(&self.stream, !self.clean.0.load(Ordering::Relaxed));
    }
}

impl AsyncRead for Ending {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, room)
    }
}

impl AsyncWrite for Ending {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
