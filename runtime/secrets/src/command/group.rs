//! One run of the command: a process group that never outlives the read that it is for.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::said::Said;

/// What of stderr is kept, in bytes. The rest is read and forgotten, so that nobody waits for a full pipe.
const KEPT: usize = 4096;

/// What is run.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, OsString)>,
}

/// A run that came to its end.
pub(super) struct Ended<'a> {
    pub(super) status: ExitStatus,
    /// All that it printed.
    pub(super) printed: &'a [u8],
}

/// Why a run did not come to its end.
pub(super) enum Failed {
    Start(io::Error),
    Late,
    TooLong,
    Io(io::Error),
}

/// A run and what it wrote. Its buffers never grow, so that no copy is left behind in freed memory.
pub(super) struct Group {
    printed: Kept,
    stderr: Kept,
    /// It printed all that it had to.
    whole: bool,
}

impl Group {
    pub(super) fn new(max_output: usize) -> Group {
        Group {
            printed: Kept::new(max_output),
            stderr: Kept::new(KEPT),
            whole: false,
        }
    }

    /// Runs the program to its end, once. Dropped before that, it kills the group.
    pub(super) async fn run(
        &mut self,
        program: &Program,
        timeout: Duration,
    ) -> Result<Ended<'_>, Failed> {
        // From before the first look, so that no end is missed.
        let mut changed = signal(SignalKind::child()).map_err(Failed::Start)?;
        let mut command = std::process::Command::new(&program.name);
        command
            .args(&program.arguments)
            .env_clear()
            .envs(
                program
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = tokio::process::Command::from(command).spawn();
        let mut leader = Leader::new(child.map_err(Failed::Start)?)?;
        let (Some(stdout), Some(stderr)) = (leader.child.stdout.take(), leader.child.stderr.take())
        else {
            return Err(Failed::Start(io::Error::other("a pipe is missing")));
        };
        let Group {
            printed,
            stderr: kept,
            whole,
        } = self;
        let print = async {
            printed.fill(stdout).await.map_err(Failed::Io)?;
            match printed.over {
                true => Err(Failed::TooLong),
                false => Ok(()),
            }
        };
        let say = async { kept.fill_and_drain(stderr).await.map_err(Failed::Io) };
        let end = async {
            while leader.runs().map_err(Failed::Io)? {
                changed.recv().await;
            }
            // What it left running holds its pipes, and would not end.
            leader.kill();
            leader.child.wait().await.map_err(Failed::Io)
        };
        let all = async { tokio::try_join!(print, say, end) };
        let ((), (), status) = tokio::time::timeout(timeout, all)
            .await
            .map_err(|_| Failed::Late)??;
        *whole = true;
        Ok(Ended {
            status,
            printed: printed.bytes(),
        })
    }

    /// What it wrote to stderr, as far as that may be told.
    pub(super) fn said(&self) -> Said<'_> {
        Said {
            printed: self.printed.bytes(),
            whole: self.whole,
            stderr: self.stderr.bytes(),
            cut: self.stderr.over,
        }
    }
}

/// The process that leads the group. While it is not reaped, the group's number is nobody else's.
struct Leader {
    child: Child,
    /// Nothing once the group is killed.
    group: Option<Pid>,
    pid: Pid,
}

impl Leader {
    fn new(child: Child) -> Result<Leader, Failed> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| Failed::Start(io::Error::other("it has no number")))?;
        let pid = Pid::from_raw(pid);
        Ok(Leader {
            child,
            group: Some(pid),
            pid,
        })
    }

    /// Looks without reaping.
    fn runs(&self) -> io::Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.pid), flags) {
            Ok(status) => Ok(status == WaitStatus::StillAlive),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // A group whose last member has ended is what was wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The beginning of a stream, in one allocation that is wiped.
struct Kept {
    /// One byte longer than what may come, to tell that more did.
    room: Zeroizing<Vec<u8>>,
    filled: usize,
    /// More came than there is room for.
    over: bool,
}

impl Kept {
    fn new(most: usize) -> Kept {
        Kept {
            room: Zeroizing::new(vec![0; most + 1]),
            filled: 0,
            over: false,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.room[..self.filled.min(self.room.len() - 1)]
    }

    /// Reads to the end, or to the end of the room.
    async fn fill(&mut self, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
        while self.filled < self.room.len() {
            match from.read(&mut self.room[self.filled..]).await? {
                0 => return Ok(()),
                read => self.filled += read,
            }
        }
        self.over = true;
        Ok(())
    }

    /// Reads to the end.
    async fn fill_and_drain(&mut self, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
        self.fill(&mut from).await?;
        let mut rest = Zeroizing::new([0; 1024]);
        while self.over && from.read(&mut rest[..]).await? > 0 {}
        Ok(())
    }
}
