//! DNS over TCP (RFC 7766): length-prefixed messages, several per connection, bounded in number and patience.

use super::answer::answer;
use super::asked::{tell_elsewhere, tell_malformed};
use crate::shared::Shared;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections that one worker may hold to DNS.
const CONNECTIONS: usize = 32;
/// A connection on which nothing is asked for this long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// Serves one listener until the session ends.
///
/// # Errors
/// The listener cannot be registered.
pub(crate) async fn serve_tcp(
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = tokio::select! {
            accepted = crate::relay::accept(&listener) => accepted,
            () = shared.closing.cancelled() => return Ok(()),
        };
        tokio::select! {
            () = shared.share.accepts.turn() => {}
            () = shared.closing.cancelled() => return Ok(()),
        }
        let asked = stream.local_addr().ok().map(|address| address.ip());
        // Whether or not anything is asked on it.
        tell_elsewhere(&shared, asked);
        let (Ok(permit), Ok(held)) = (
            Arc::clone(&permits).try_acquire_owned(),
            shared.share.connection(),
        ) else {
            continue;
        };
        let task = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            let closing = task.closing.clone();
            tokio::select! {
                ended = converse(&task, stream) => if let Err(error) = ended {
                    tracing::trace!(%error, "a DNS connection ended");
                },
                () = closing.cancelled() => {}
            }
            drop((permit, held));
        });
    }
}

async fn converse(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    let asked = stream.local_addr()?.ip();
    loop {
        let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
        let mut question = vec![0; usize::from(length)];
        let read = tokio::time::timeout(IDLE, stream.read_exact(&mut question));
        if let Err(error) = read.await.map_err(io::Error::from).and_then(|read| read) {
            // Two bytes of another protocol are a length that nothing of that length follows.
            tell_malformed(shared, Some(asked));
            return Err(error);
        }
        shared.share.messages.turn().await;
        let Some(reply) = answer(shared, &question, Some(asked)).await else {
            return Ok(());
        };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(reply);
        tokio::time::timeout(IDLE, stream.write_all(&framed)).await??;
    }
}
