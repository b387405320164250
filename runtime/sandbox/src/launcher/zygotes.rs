//! Zygotes as the launcher sees them: one that workers are forked from, one that comes up to take its place, and forks
//! that wait.
//!
//! A zygote only clones. What the new process is to become is told to it alone, by the launcher and over its own
//! socket, so that nothing of one worker is in the memory that the next is made of. A few forks are made ahead of need:
//! each has its namespaces and its network, and waits for that word.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::CONTROL;
use super::protocol::{self, FromZygote, ToZygote};
use crate::enforce::{Fault, exec};
use crate::plan::{LOCALE, OuterIds, ProgramPlan};
use crate::sys::{self, Side};

/// A clone takes a millisecond; a zygote that is silent for so long is of no use.
const PATIENCE_MS: u16 = 2_000;
/// Forks that wait.
const SPARES: usize = 2;
/// One that is not ready after so long never will be.
const COMING: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Zygotes {
    ready: Option<Zygote>,
    coming: Option<Zygote>,
    spares: VecDeque<Fork>,
    /// Forks that nobody will use, for the daemon to reap.
    unused: Vec<OwnedFd>,
}

/// Ends when its socket closes; the daemon reaps it.
struct Zygote {
    control: OwnedFd,
    pidfd: OwnedFd,
    since: Instant,
    /// With the environment of its forks.
    program: ProgramPlan,
    /// The launcher's ends of the sockets of forks that it was asked for, in their order.
    asked: VecDeque<OwnedFd>,
    /// How many it has made.
    forks: u64,
}

/// A process that waits for word over `report`.
pub(super) struct Fork {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) report: OwnedFd,
}

impl Zygotes {
    /// Has a new one come up. The one before goes on until this one is ready. Its pidfd, then those of unused forks.
    pub(super) fn raise(
        &mut self,
        program: &ProgramPlan,
        ids: Option<OuterIds>,
        namespaces: i32,
    ) -> io::Result<Vec<OwnedFd>> {
        let (control, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        protocol::send(control.as_fd(), &ToZygote::Become { ids, namespaces }, &[])?;
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
                let mut program = program.clone();
                program.env.remove(LOCALE);
                if let Some(hung) = self.coming.take() {
                    let _ = sys::kill(hung.pidfd.as_fd());
                }
                self.coming = Some(Zygote {
                    control,
                    pidfd: pidfd.try_clone()?,
                    since: Instant::now(),
                    program,
                    asked: VecDeque::new(),
                    forks: 0,
                });
                Ok(std::iter::once(pidfd)
                    .chain(self.unused.drain(..))
                    .collect())
            }
        }
    }

    /// Lets go of all there are. The pidfds of unused forks.
    pub(super) fn retire(&mut self) -> Vec<OwnedFd> {
        self.coming = None;
        self.settle();
        self.give_up();
        std::mem::take(&mut self.unused)
    }

    /// What to wait for besides requests: a word from either.
    pub(super) fn controls(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.ready, &self.coming]
            .into_iter()
            .flatten()
            .map(|zygote| zygote.control.as_fd())
    }

    /// Takes note of a fork that is made, and of a zygote that is ready, or gone.
    pub(super) fn hear(&mut self) {
        if let Some(coming) = self
            .coming
            .take_if(|one| sys::is_readable(one.control.as_fd()))
            && matches!(coming.hear(), Ok((FromZygote::Ready, _)))
        {
            // No fork outlives its zygote's id.
            self.settle();
            self.give_up();
            self.ready = Some(coming);
        }
        let readable = |one: &Zygote| sys::is_readable(one.control.as_fd());
        if self.ready.as_ref().is_some_and(readable)
            && let Some(fork) = self.made()
        {
            self.spares.push_back(fork);
        }
    }

    /// A process that waits for word. `None`: no zygote can make it.
    pub(super) fn fork(&mut self, program: &ProgramPlan, flags: i32) -> Option<Fork> {
        let ready = self.ready.as_ref()?;
        if (&ready.program.executable, &ready.program.env) != (&program.executable, &program.env) {
            return None;
        }
        match self.spares.pop_front() {
            // It waits, and has nothing to say.
            Some(spare) if !sys::is_readable(spare.report.as_fd()) => return Some(spare),
            Some(spare) => {
                self.unused.push(spare.pidfd);
                self.give_up();
                return None;
            }
            None => {}
        }
        if ready.asked.is_empty() {
            self.ask(flags);
        }
        self.made()
    }

    /// How many forks the zygote has made that another should take the place of; none while that one comes up.
    pub(super) fn forks(&self) -> u64 {
        let comes = |coming: &Zygote| coming.since.elapsed() < COMING;
        let comes = self.coming.as_ref().is_some_and(comes);
        let ready = self.ready.as_ref().filter(|_| !comes);
        ready.map_or(0, |ready| ready.forks)
    }

    /// Are there fewer forks than should wait?
    pub(super) fn is_short(&self) -> bool {
        self.ready
            .as_ref()
            .is_some_and(|ready| self.spares.len() + ready.asked.len() < SPARES)
    }

    /// Has a fork made for a next worker.
    pub(super) fn provide(&mut self, flags: i32) {
        if self.is_short() {
            self.ask(flags);
        }
    }

    /// Asks the zygote for a fork, and lets go of one that cannot be asked.
    fn ask(&mut self, flags: i32) {
        let Some(ready) = &mut self.ready else { return };
        let asked = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(io::Error::from)
        .and_then(|(report, theirs)| {
            let fork = ToZygote::Fork { flags };
            protocol::send(ready.control.as_fd(), &fork, &[theirs.as_fd()])?;
            Ok(report)
        });
        match asked {
            Ok(report) => ready.asked.push_back(report),
            Err(_) => self.give_up(),
        }
    }

    /// Takes what was asked for and is as good as made.
    fn settle(&mut self) {
        while self.ready.as_ref().is_some_and(|one| !one.asked.is_empty()) {
            let made = self.made();
            self.spares.extend(made);
        }
    }

    /// Lets go of a zygote that is of no use; the daemon sees it end, and has another come up in a while.
    fn give_up(&mut self) {
        self.ready = None;
        let pidfds = self.spares.drain(..).map(|spare| spare.pidfd);
        self.unused.extend(pidfds);
    }

    /// The fork that was asked for first, waited for. `None`: it could not be made, or the zygote is gone.
    fn made(&mut self) -> Option<Fork> {
        let ready = self.ready.as_mut()?;
        match (ready.hear(), ready.asked.pop_front()) {
            (Ok((FromZygote::Forked { pid }, Some(pidfd))), Some(report)) => {
                ready.forks += 1;
                Some(Fork { pid, pidfd, report })
            }
            // The host withholds it, or it is gone: what the launcher itself may do is tried, and its error told.
            _ => {
                self.give_up();
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
