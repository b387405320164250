//! A descriptor of any kind that the runtime waits on.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A nonblocking descriptor, owned for as long as it is waited on.
#[derive(Debug)]
pub(crate) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Registers the descriptor with the runtime.
    ///
    /// # Errors
    /// The system's error.
    #[expect(
        deprecated,
        reason = "its successor is unsafe because some types change the descriptor they name; an OwnedFd never does"
    )]
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        AsyncFd::with_interest(descriptor, Interest::READABLE).map(Self)
    }

    /// Waits until `read`, a nonblocking read of the descriptor, yields something.
    ///
    /// # Errors
    /// What `read` answers, but `WouldBlock`.
    pub(crate) async fn read<R>(
        &self,
        mut read: impl FnMut(&OwnedFd) -> io::Result<R>,
    ) -> io::Result<R> {
        self.0
            .async_io(Interest::READABLE, |descriptor| read(descriptor))
            .await
    }

    /// The descriptor, which the runtime waits on no more.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.0.into_inner()
    }

    /// What `read` yields at once; nothing where it would have to wait.
    pub(crate) fn now<R>(
        &self,
        read: impl FnOnce(&OwnedFd) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        match read(self.0.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            read => Some(read),
        }
    }
}
