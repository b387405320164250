//! Bytes both ways, each direction ended on its own.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of one direction: of this connection, and in the session's sum.
pub(super) struct Count<'a> {
    pub(super) own: AtomicU64,
    pub(super) sum: &'a AtomicU64,
}

impl<'a> Count<'a> {
    pub(super) fn in_sum(sum: &'a AtomicU64) -> Self {
        Self {
            own: AtomicU64::new(0),
            sum,
        }
    }

    pub(super) fn add(&self, bytes: usize) {
        self.own.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sum.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }
}

/// Relays until both sides have finished sending. One side's end is passed on as a half-close, so that the other may go on.
/// What waits in a buffer of `size` bytes each way is all that the gateway ever holds of a connection.
///
/// # Errors
/// Either side broke off; the caller resets both.
pub(super) async fn both(
    worker: &mut TcpStream,
    upstream: &mut TcpStream,
    size: usize,
    up: &Count<'_>,
    down: &Count<'_>,
) -> io::Result<()> {
    let (mut worker_read, mut worker_write) = worker.split();
    let (mut upstream_read, mut upstream_write) = upstream.split();
    tokio::try_join!(
        one_way(&mut worker_read, &mut upstream_write, size, up),
        one_way(&mut upstream_read, &mut worker_write, size, down),
    )?;
    Ok(())
}

async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    size: usize,
    count: &Count<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        count.add(length);
    }
}
