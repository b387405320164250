//! Exactly stdin, the pipes and the channel; then exec with an environment from nothing.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use caisson_without::{Part, without};
use nix::fcntl::{FcntlArg, fcntl};

use super::{Fault, Step};
use crate::plan::ProgramPlan;
use crate::sys;

/// The number of the channel in the worker.
pub(crate) const CHANNEL: i32 = 3;
/// The number of the pipe for stacks: where the worker writes them when it gets [`crate::STACKS_SIGNAL`].
pub(crate) const STACKS: i32 = 4;
const REPORT: i32 = 5;
const FREE: i32 = 6;
/// Where copies are out of the way.
const HIGH: i32 = 64;

/// What becomes 0 to 4.
pub(crate) struct Stdio {
    pub(crate) null: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) channel: OwnedFd,
    pub(crate) stacks: OwnedFd,
}

impl Stdio {
    /// How many there are.
    pub(crate) const COUNT: usize = 5;

    /// By their numbers in the worker.
    pub(crate) fn all(&self) -> [&OwnedFd; Stdio::COUNT] {
        [
            &self.null,
            &self.stdout,
            &self.stderr,
            &self.channel,
            &self.stacks,
        ]
    }
}

impl From<[OwnedFd; Stdio::COUNT]> for Stdio {
    fn from([null, stdout, stderr, channel, stacks]: [OwnedFd; Stdio::COUNT]) -> Stdio {
        Stdio {
            null,
            stdout,
            stderr,
            channel,
            stacks,
        }
    }
}

/// Lays 0 to 5 out and marks everything else to be closed by exec.
pub(super) fn lay_out(stdio: &Stdio, report: &mut OwnedFd) -> Result<(), Fault> {
    let fault = |what: &str, e: io::Error| Fault::new(Step::Descriptors, what, e);
    let sources = stdio.all().into_iter().chain([&*report]);
    // Out of the way first: a source may sit on a number that is about to be overwritten.
    let mut high = Vec::new();
    for source in sources {
        let fd = fcntl(source, FcntlArg::F_DUPFD_CLOEXEC(HIGH))
            .map_err(|e| fault("making room", e.into()))?;
        high.push(fd);
    }
    for (at, from) in high.iter().enumerate() {
        sys::place(*from, at as i32, at as i32 == REPORT)
            .map_err(|e| fault("placing a descriptor", e))?;
    }
    if without(Part::Descriptors) {
        // Not the copies that were just made, nor the report: its end is how the launcher sees exec.
        sys::keep_open(FREE, HIGH, std::os::fd::AsRawFd::as_raw_fd(report));
    } else {
        sys::close_from(FREE as u32, true)
            .map_err(|e| fault("closing every other descriptor", e))?;
    }
    let placed = sys::adopt(REPORT);
    // The old number is closed by exec; dropping it here could close one that was just placed.
    std::mem::forget(std::mem::replace(report, placed));
    debug_assert_eq!([CHANNEL, STACKS], [REPORT - 2, REPORT - 1]);
    Ok(())
}

/// Goes on as the program that this process is a fork of: what exec would close is closed.
pub(super) fn go_on(program: &ProgramPlan) -> Result<(), Fault> {
    std::env::set_current_dir(&program.cwd)
        .and_then(|()| sys::close_from(REPORT as u32, false))
        .map_err(|e| Fault::new(Step::Exec, "going on as the interpreter", e))
}

/// Becomes the program. Returns only the failure.
pub(crate) fn exec(program: &ProgramPlan) -> Fault {
    let result = (|| -> io::Result<()> {
        std::env::set_current_dir(&program.cwd)?;
        let c = |text: &str| CString::new(text).map_err(io::Error::other);
        let path = c(&program.executable.to_string_lossy())?;
        let argv = program
            .argv
            .iter()
            .map(|arg| c(arg))
            .collect::<io::Result<Vec<_>>>()?;
        let env = program
            .env
            .iter()
            .map(|(k, v)| c(&format!("{k}={v}")))
            .collect::<io::Result<Vec<_>>>()?;
        // Ignored signals stay ignored across exec, and the launcher's runtime ignores SIGPIPE; the interpreter
        // must start as if from a shell.
        for signal in nix::sys::signal::Signal::iterator() {
            sys::default_signal(signal);
        }
        nix::sys::signal::SigSet::all().thread_unblock()?;
        nix::unistd::execve(&path, &argv, &env)?;
        Ok(())
    })();
    let cause = result.err().unwrap_or_else(|| io::Error::other("no error"));
    Fault::new(
        Step::Exec,
        format!("{}", program.executable.display()),
        cause,
    )
}
