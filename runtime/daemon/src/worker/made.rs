//! A worker as it comes from the launcher, with its socket as frames.

use std::os::fd::OwnedFd;

use caisson_sandbox::{LaunchError, NetworkSockets, Process, Worker};

use super::frames::{FrameReader, FrameWriter, split};

/// A worker that nothing was said to yet, or that waits.
pub(crate) struct Made {
    pub(crate) process: Process,
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) stacks: OwnedFd,
    pub(crate) sockets: NetworkSockets,
}

impl Made {
    /// # Errors
    /// Its socket cannot be watched.
    pub(crate) fn new(worker: Worker) -> Result<Self, LaunchError> {
        let (process, io) = worker.split();
        let socket = crate::usage::tokio_socket(io.channel).map_err(|source| LaunchError::Io {
            what: "the worker's channel".into(),
            source,
        })?;
        let (reader, writer) = split(socket);
        Ok(Self {
            process,
            reader,
            writer,
            stdout: io.stdout,
            stderr: io.stderr,
            stacks: io.stacks,
            sockets: io.sockets,
        })
    }
}
