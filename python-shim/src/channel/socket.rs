//! Frames over one Unix socket: thread-safe, blocking, no Python.
//!
//! Reading and writing have a lock each, so a thread that waits for the
//! daemon never stops another that sends. The descriptor's own flags stay as
//! they came; reads that may not block say so themselves.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes};
use caisson_wire::message::{FromWorker, ToWorker, from_worker, to_worker};
use caisson_wire::{DecodeError, Decoder, EncodeError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, sendmsg};

/// How many bytes of unread messages [`Socket::cancelled`] may pile up while
/// it looks for a Cancel.
const LOOK_AHEAD: usize = 8 << 20;

/// The kernel takes at most 1,024 slices a call.
const SLICES: usize = 1_000;

/// The channel is of no further use, except for [`Broken::TooLarge`].
#[derive(Debug)]
pub(crate) enum Broken {
    /// The daemon is gone, or closed its end.
    Closed,
    /// What came is no frame.
    Frame(DecodeError),
    /// What was to be sent is over a limit; nothing of it left.
    TooLarge(EncodeError),
    /// The kernel refused.
    Io(io::Error),
}

impl From<Errno> for Broken {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

/// What [`Socket::receive`] saw.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "moved once, and nearly always a frame"
)]
pub(crate) enum Came {
    /// One arm of ToWorker and its body.
    Frame(to_worker::Message, Bytes),
    /// Nothing before the deadline.
    Nothing,
    /// A signal: the caller should let Python look at it, then come back.
    Interrupted,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: UnixStream,
    inbox: Mutex<Inbox>,
    outbox: Mutex<()>,
    cancelled: AtomicBool,
    /// Schemas that were announced, by stream: the position is the number in
    /// the schema's id. Partitions of a stream share them.
    schemas: Mutex<HashMap<String, Vec<Vec<u8>>>>,
}

#[derive(Debug, Default)]
struct Inbox {
    decoder: Decoder<ToWorker>,
    waiting: VecDeque<(to_worker::Message, Bytes)>,
    held: usize,
    closed: bool,
}

/// A panic elsewhere leaves these locks' data whole: each section either
/// finishes its step or the channel is broken anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    /// Takes over descriptor `fd`, which must be an open socket.
    pub(crate) fn from_fd(fd: i32) -> io::Result<Self> {
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(Errno::EBADF as i32));
        }
        // SAFETY: the descriptor is handed to this process for this purpose
        // alone (fd 3 of a worker), so nobody else closes or reads it; a
        // wrong number is found out by the next line, before any use.
        let stream = unsafe { UnixStream::from_raw_fd(fd) };
        if let Err(error) = stream.local_addr() {
            // Not ours after all: do not close it.
            let _ = std::os::fd::IntoRawFd::into_raw_fd(stream);
            return Err(error);
        }
        Ok(Self {
            stream,
            inbox: Mutex::default(),
            outbox: Mutex::new(()),
            cancelled: AtomicBool::new(false),
            schemas: Mutex::default(),
        })
    }

    /// Waits for the next message, until `deadline` if there is one.
    pub(crate) fn receive(&self, deadline: Option<Instant>) -> Result<Came, Broken> {
        let mut inbox = lock(&self.inbox);
        loop {
            if let Some((message, body)) = inbox.waiting.pop_front() {
                inbox.held -= body.len();
                return Ok(Came::Frame(message, body));
            }
            if inbox.closed {
                return Err(Broken::Closed);
            }
            if self.read(&mut inbox)? {
                continue;
            }
            let timeout = match deadline {
                None => PollTimeout::NONE,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Came::Nothing);
                    }
                    // Rounded up, so that the loop does not spin at the end.
                    let left = left.min(Duration::from_secs(3_600)) + Duration::from_micros(999);
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
                }
            };
            let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(_) => {}
                Err(Errno::EINTR) => return Ok(Came::Interrupted),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether a Cancel arrived or the daemon closed; does not block.
    pub(crate) fn cancelled(&self) -> bool {
        if self.cancelled.load(Ordering::Acquire) {
            return true;
        }
        // Held: another thread is in `receive`, and sees a Cancel itself.
        if let Ok(mut inbox) = self.inbox.try_lock() {
            while !inbox.closed && inbox.held < LOOK_AHEAD {
                match self.read(&mut inbox) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => {
                        self.cancelled.store(true, Ordering::Release);
                        break;
                    }
                }
            }
        }
        self.cancelled.load(Ordering::Acquire)
    }

    /// Takes what the kernel holds, without blocking: true if there may be
    /// something new (a message, or the end).
    fn read(&self, inbox: &mut Inbox) -> Result<bool, Broken> {
        let want = inbox.decoder.missing().clamp(64 << 10, 4 << 20);
        let buffer = inbox.decoder.buffer(want);
        let room = buffer.chunk_mut();
        // SAFETY: the pointer and length are the buffer's own spare room, and
        // recv writes at most that many bytes into it.
        let count = unsafe {
            nix::libc::recv(
                self.stream.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
                nix::libc::MSG_DONTWAIT,
            )
        };
        match Errno::result(count) {
            Ok(0) => {
                inbox.closed = true;
                self.cancelled.store(true, Ordering::Release);
                inbox.decoder.finish().map_err(Broken::Frame)?;
            }
            // SAFETY: recv wrote this many bytes at the front of the room.
            Ok(count) => unsafe { buffer.advance_mut(count as usize) },
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(Errno::ECONNRESET) => {
                inbox.closed = true;
                self.cancelled.store(true, Ordering::Release);
            }
            Err(errno) => return Err(errno.into()),
        }
        while let Some((message, body)) = inbox.decoder.next().map_err(Broken::Frame)? {
            // An arm that this build does not know is skipped.
            if let Some(message) = message.message {
                if matches!(message, to_worker::Message::Cancel(_)) {
                    self.cancelled.store(true, Ordering::Release);
                }
                inbox.held += body.len();
                inbox.waiting.push_back((message, body));
            }
        }
        Ok(true)
    }

    /// Sends one frame whose body is `parts` in a row, none of them copied.
    pub(crate) fn send(
        &self,
        message: from_worker::Message,
        parts: &[&[u8]],
    ) -> Result<(), Broken> {
        let body = parts.iter().map(|part| part.len()).sum();
        let message = FromWorker {
            message: Some(message),
        };
        let head = caisson_wire::encode(&message, body).map_err(Broken::TooLarge)?;
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(&head));
        slices.extend(
            parts
                .iter()
                .filter(|part| !part.is_empty())
                .map(|part| IoSlice::new(part)),
        );
        let mut left = &mut slices[..];
        let _turn = lock(&self.outbox);
        while !left.is_empty() {
            let some = &left[..left.len().min(SLICES)];
            match sendmsg::<()>(
                self.stream.as_raw_fd(),
                some,
                &[],
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Ok(count) => IoSlice::advance_slices(&mut left, count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The id of a stream's schema, announced by `announce(id)` if it is new.
    /// No batch of that id can be sent before the announcement.
    pub(crate) fn schema_id(
        &self,
        stream: &str,
        ipc: &[u8],
        announce: impl FnOnce(&str) -> Result<(), Broken>,
    ) -> Result<String, Broken> {
        let mut schemas = lock(&self.schemas);
        let known = schemas.entry(stream.to_owned()).or_default();
        let number = match known.iter().position(|other| other == ipc) {
            Some(at) => return Ok(format!("{stream}-{}", at + 1)),
            None => known.len() + 1,
        };
        let id = format!("{stream}-{number}");
        announce(&id)?;
        known.push(ipc.to_vec());
        Ok(id)
    }
}
