//! Bytes both ways, each direction ended on its own.

use super::pipe::Lent;
use crate::lookout::Lookout;
use crate::share::{BUFFER, Share};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Bytes of one direction: of this connection, and in the session's sum.
pub(crate) struct Count<'a> {
    own: AtomicU64,
    sum: &'a AtomicU64,
}

impl<'a> Count<'a> {
    pub(crate) fn in_sum(sum: &'a AtomicU64) -> Self {
        Self {
            own: AtomicU64::new(0),
            sum,
        }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.own.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sum.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }
}

/// Relays until both sides have finished sending. One side's end is passed on as a half-close, so that the other may go on.
/// What waits in a buffer or a pipe each way is all that the gateway ever holds of a connection.
///
/// # Errors
/// Either side broke off, or the worker sent what the lookout finds; the caller resets both.
pub(super) async fn both(
    worker: &mut TcpStream,
    upstream: &mut TcpStream,
    share: &Share,
    up: &Count<'_>,
    down: &Count<'_>,
    lookout: Option<&mut Lookout>,
) -> io::Result<()> {
    let (worker_read, worker_write) = worker.split();
    let (upstream_read, upstream_write) = upstream.split();
    tokio::try_join!(
        one_way(worker_read, upstream_write, share, up, lookout),
        one_way(upstream_read, worker_write, share, down, None),
    )?;
    Ok(())
}

/// What fits into a buffer is copied, with fewest calls; what fills it is followed by more, which goes through a pipe where
/// there is one; but what is looked through goes through a buffer.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    share: &Share,
    count: &Count<'_>,
    mut lookout: Option<&mut Lookout>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        let length = from.read_buf(&mut buffer).await?;
        if let Some(lookout) = &mut lookout {
            lookout.admit(&buffer)?;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer).await?;
        count.add(length);
        if length >= BUFFER && lookout.is_none() {
            while let Some(pipe) = share.pipe()
                && pour(from.as_ref(), to.as_ref(), share, pipe, count).await? >= BUFFER
            {
                poll_fn(|context| from.as_ref().poll_read_ready(context)).await?;
            }
        }
    }
}

/// Moves what there is, until there is no more for now or at all, and says how much that was.
async fn pour<'a>(
    from: &TcpStream,
    to: &TcpStream,
    share: &'a Share,
    mut pipe: Lent<'a>,
    count: &Count<'_>,
) -> io::Result<usize> {
    let mut sum = 0;
    while some(pipe.fill(from))? > 0 {
        while pipe.held() > 0 {
            poll_fn(|context| to.poll_write_ready(context)).await?;
            let length = some(pipe.drain(to))?;
            count.add(length);
            sum += length;
        }
    }
    share.take_back(pipe);
    Ok(sum)
}

/// Nothing, where there is nothing for now.
fn some(moved: io::Result<usize>) -> io::Result<usize> {
    match moved {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
