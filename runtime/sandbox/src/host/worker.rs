//! A worker as its maker hands it out.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::NetworkSockets;
use crate::process::Process;
use crate::{Exit, Killer, Usage};

/// A worker, made and running: its process and what it is spoken to through.
#[derive(Debug)]
pub struct Worker {
    /// Kill, wait, usage. Dropping it kills the worker.
    pub process: Process,
    /// The daemon's end of descriptor 3.
    pub channel: UnixStream,
    /// The reading end of its stdout.
    pub stdout: OwnedFd,
    /// The reading end of its stderr.
    pub stderr: OwnedFd,
    /// The reading end of the pipe for its stacks; see [`Process::ask_for_stacks`].
    pub stacks: OwnedFd,
    /// Every socket that listens inside.
    pub sockets: NetworkSockets,
}

/// What a worker is spoken to through, apart from its process.
#[derive(Debug)]
pub struct WorkerIo {
    /// The daemon's end of descriptor 3.
    pub channel: UnixStream,
    /// The reading end of its stdout.
    pub stdout: OwnedFd,
    /// The reading end of its stderr.
    pub stderr: OwnedFd,
    /// The reading end of the pipe for its stacks; see [`Process::ask_for_stacks`].
    pub stacks: OwnedFd,
    /// Every socket that listens inside.
    pub sockets: NetworkSockets,
}

impl Worker {
    /// Its process number on the host.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Sends SIGKILL to everything in the worker.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// A handle that kills, for another task.
    pub fn killer(&self) -> Killer {
        self.process.killer()
    }

    /// Waits for its end; see [`Process::wait`].
    ///
    /// # Errors
    /// As [`Process::wait`].
    pub async fn wait(&mut self) -> std::io::Result<Exit> {
        self.process.wait().await
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    /// Process and means of speaking, apart.
    pub fn split(self) -> (Process, WorkerIo) {
        let Worker {
            process,
            channel,
            stdout,
            stderr,
            stacks,
            sockets,
        } = self;
        (
            process,
            WorkerIo {
                channel,
                stdout,
                stderr,
                stacks,
                sockets,
            },
        )
    }
}
