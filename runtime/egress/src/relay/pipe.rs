//! Pipes through which the kernel hands bytes from one connection to another without a copy (splice(2)).
//!
//! A direction holds one only while it has bytes to move: an idle connection takes no descriptors beyond its own. Pipes
//! that nobody holds are kept, empty, for the next one.

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes that a pipe holds at most.
const ROOM: i32 = 64 << 10;

/// The pipes of a daemon.
#[derive(Debug)]
pub(crate) struct Pipes {
    idle: Mutex<Vec<Pipe>>,
    left: Semaphore,
}

impl Pipes {
    /// At most so many, of two descriptors each. They are made when they are needed first.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            idle: Mutex::default(),
            left: Semaphore::new(most),
        }
    }

    /// An empty pipe, where one is left of the worker's own part and of all.
    pub(crate) fn lend<'a>(&'a self, own: &'a Semaphore) -> Option<Lent<'a>> {
        let permits = [own.try_acquire().ok()?, self.left.try_acquire().ok()?];
        let kept = self.idle().pop();
        let pipe = match kept {
            Some(pipe) => pipe,
            None => Pipe::new()
                .inspect_err(|error| tracing::debug!(%error, "a pipe could not be made"))
                .ok()?,
        };
        Some(Lent {
            pipe,
            _permits: permits,
        })
    }

    /// Takes back what was lent. Whatever else becomes of a pipe closes it, with what is in it.
    pub(crate) fn take_back(&self, lent: Lent<'_>) {
        if lent.pipe.held == 0 {
            self.idle().push(lent.pipe);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Pipe>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipe, for one direction of one connection.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    pipe: Pipe,
    _permits: [SemaphorePermit<'a>; 2],
}

impl Lent<'_> {
    /// Bytes that came in and did not go out yet.
    pub(super) fn held(&self) -> usize {
        self.pipe.held
    }

    /// Takes in what a connection has to read; nothing where it has ended. The pipe has to be empty: only so does
    /// [`io::ErrorKind::WouldBlock`] say that it was the connection which had nothing.
    pub(super) fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let Pipe { writer, held, .. } = &mut self.pipe;
        debug_assert_eq!(*held, 0, "a pipe is filled when it is empty");
        *held = from.try_io(Interest::READABLE, || moved(from, writer, ROOM as usize))?;
        Ok(*held)
    }

    /// Gives out what a connection takes, and says how much.
    pub(super) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let Pipe { reader, held, .. } = &mut self.pipe;
        // No more is asked for than there is: a kernel holds back the end of what it takes for a part of something longer.
        match to.try_io(Interest::WRITABLE, || moved(reader, to, *held))? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            length => {
                *held -= length;
                Ok(length)
            }
        }
    }
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    /// # Errors
    /// No descriptor is left, or the user's pipes hold so much that the kernel gives new ones less than [`ROOM`].
    fn new() -> nix::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(ROOM))?;
        Ok(Self {
            reader,
            writer,
            held: 0,
        })
    }
}

fn moved(from: impl AsFd, to: impl AsFd, length: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, length, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Both ends of a connection.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await;
        (near.unwrap(), listener.accept().await.unwrap().0)
    }

    async fn filled(lent: &mut Lent<'_>, from: &TcpStream) -> usize {
        from.readable().await.unwrap();
        lent.fill(from).unwrap()
    }

    #[tokio::test]
    async fn bytes_pass_and_the_pipe_is_lent_again() {
        let (pipes, own) = (Pipes::new(1), Semaphore::new(1));
        let ((mut near, from), (to, mut far)) = (connection().await, connection().await);
        let mut numbers = Vec::new();
        for message in ["one", "another"] {
            let mut lent = pipes.lend(&own).unwrap();
            assert!(pipes.lend(&own).is_none(), "there is no second one");
            numbers.push(format!("{:?}", lent.pipe.reader));
            near.write_all(message.as_bytes()).await.unwrap();
            assert_eq!(filled(&mut lent, &from).await, message.len());
            to.writable().await.unwrap();
            assert_eq!(lent.drain(&to).unwrap(), message.len());
            pipes.take_back(lent);
            let mut heard = vec![0; message.len()];
            far.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, message.as_bytes());
        }
        assert_eq!(numbers[0], numbers[1]);
    }

    #[tokio::test]
    async fn a_connection_that_has_nothing_and_one_that_has_ended_are_told_apart() {
        let (pipes, own) = (Pipes::new(1), Semaphore::new(1));
        let (mut near, from) = connection().await;
        let mut lent = pipes.lend(&own).unwrap();
        near.write_all(b"x").await.unwrap();
        assert_eq!(filled(&mut lent, &from).await, 1);
        lent.pipe.held = 0;
        let nothing = lent.fill(&from).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        near.shutdown().await.unwrap();
        assert_eq!(filled(&mut lent, &from).await, 0);
    }

    #[tokio::test]
    async fn what_is_left_in_a_pipe_goes_to_nobody_else() {
        let (pipes, own) = (Pipes::new(1), Semaphore::new(1));
        let (mut near, from) = connection().await;
        for is_given_back in [false, true] {
            let mut lent = pipes.lend(&own).unwrap();
            let mut reader = std::fs::File::from(lent.pipe.reader.try_clone().unwrap());
            near.write_all(b"secret").await.unwrap();
            filled(&mut lent, &from).await;
            if is_given_back {
                pipes.take_back(lent);
            } else {
                drop(lent);
            }
            let mut left = Vec::new();
            // An end, where a pipe that is still open for writing would say that there is nothing for now.
            reader.read_to_end(&mut left).expect("closed");
            assert_eq!(left, b"secret");
            assert!(pipes.idle().is_empty());
        }
        assert!(pipes.lend(&own).is_some(), "another may be made instead");
    }
}
