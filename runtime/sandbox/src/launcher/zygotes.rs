//! Zygotes as the launcher sees them: one that workers are forked from, and one that comes up to take its place.
//!
//! A zygote only clones. What the new process is to become is told to it alone, by the launcher and over its own
//! socket, so that nothing of one worker is in the memory that the next is made of.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::CONTROL;
use super::protocol::{self, FromZygote, ToZygote};
use crate::enforce::{Fault, exec};
use crate::plan::{OuterIds, ProgramPlan};
use crate::sys::{self, Side};

/// A clone takes a millisecond; a zygote that is silent for so long is of no use.
const PATIENCE_MS: u16 = 2_000;

#[derive(Default)]
pub(super) struct Zygotes {
    ready: Option<Zygote>,
    coming: Option<Zygote>,
}

/// Ends when its socket closes; the daemon reaps it.
struct Zygote {
    control: OwnedFd,
    program: ProgramPlan,
}

impl Zygotes {
    /// Has a new one come up. The one before goes on until this one is ready.
    pub(super) fn raise(
        &mut self,
        program: &ProgramPlan,
        ids: Option<OuterIds>,
    ) -> io::Result<OwnedFd> {
        let (control, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        protocol::send(control.as_fd(), &ToZygote::Become(ids), &[])?;
        match sys::clone(libc::CLONE_PARENT, 0)? {
            Side::Made => {
                let fault = match sys::place(theirs.as_raw_fd(), CONTROL, false) {
                    Ok(()) => exec(program),
                    Err(e) => Fault::new(crate::Step::Exec, "its socket", e),
                };
                eprintln!("a preloaded interpreter cannot start: {}", fault.what);
                sys::exit(1)
            }
            Side::Maker { pidfd, .. } => {
                self.coming = Some(Zygote {
                    control,
                    program: program.clone(),
                });
                Ok(pidfd)
            }
        }
    }

    /// What to wait for besides requests: a word from either.
    pub(super) fn controls(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.ready, &self.coming]
            .into_iter()
            .flatten()
            .map(|zygote| zygote.control.as_fd())
    }

    /// Takes note of one that is ready, or gone.
    pub(super) fn hear(&mut self) {
        if let Some(coming) = self
            .coming
            .take_if(|one| sys::is_readable(one.control.as_fd()))
            && matches!(coming.hear(), Ok((FromZygote::Ready, _)))
        {
            self.ready = Some(coming);
        }
        // Nothing is asked of it now, so that it speaks means that it has ended.
        self.ready
            .take_if(|one| sys::is_readable(one.control.as_fd()));
    }

    /// A new process that waits for word on the other end of `theirs`. `None`: no zygote can make it.
    pub(super) fn fork(
        &mut self,
        program: &ProgramPlan,
        flags: i32,
        theirs: &OwnedFd,
    ) -> Option<(i32, OwnedFd)> {
        let zygote = self.ready.as_ref().filter(|zygote| {
            (&zygote.program.executable, &zygote.program.env) == (&program.executable, &program.env)
        })?;
        let asked = protocol::send(
            zygote.control.as_fd(),
            &ToZygote::Fork { flags },
            &[theirs.as_fd()],
        );
        match asked.and_then(|()| zygote.hear()) {
            Ok((FromZygote::Forked { pid }, Some(pidfd))) => Some((pid, pidfd)),
            // The host withholds it: what the launcher itself may do is tried, and its error told.
            Ok((FromZygote::NotForked(_), _)) => None,
            _ => {
                self.ready = None;
                None
            }
        }
    }
}

impl Zygote {
    fn hear(&self) -> io::Result<(FromZygote, Option<OwnedFd>)> {
        let mut fds = [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(PATIENCE_MS))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let (bytes, fds) = sys::receive(self.control.as_fd())?;
        Ok((serde_json::from_slice(&bytes)?, fds.into_iter().next()))
    }
}
