//! What the daemon does to itself, so that no other process of its user reads secrets out of its memory.

use std::io;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Makes this process undumpable and without cores: nobody but root may trace it, read its memory, environment or
/// descriptors through /proc, and a crash writes nothing.
///
/// To be called by the daemon after its [`crate::Launcher`] was started and before it holds a secret. Programs
/// that it executes later are dumpable again, so a launcher that ended can still be replaced, by way of
/// `/proc/self/exe` too; that they write no core is inherited, and no descriptor that this process has now is.
///
/// Both are needed where the limit is an inherited 0: a core that goes to a pipe (core(5)) heeds no limit but 1.
///
/// # Errors
/// When the kernel refuses, which a filter around the daemon may cause.
pub fn harden_process() -> io::Result<()> {
    no_core()?;
    // Whatever started the daemon may have left some open across exec, for a program that the daemon starts.
    crate::sys::close_from(3, true)?;
    Ok(set_dumpable(false)?)
}

/// No core file of this process and of what it makes, and no way back without privilege.
pub(crate) fn no_core() -> io::Result<()> {
    // 1 is what the kernel gives the programs that it pipes cores to: whoever has it writes none anywhere, where 0 would
    // still go to a pipe. An ordinary user may not raise an inherited 0.
    if setrlimit(Resource::RLIMIT_CORE, 1, 1).is_ok() {
        return Ok(());
    }
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// As many descriptors as the hard limit gives. A sender of descriptors is held to its own limit by the count of all that
/// its user has in flight (unix(7), ETOOMANYREFS), and an ordinary user's workers are that user: one of them could fill the
/// flight up to its limit, so that a launcher with no larger one could hand out no worker.
pub(crate) fn raise_descriptors() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard), hard)?)
}
