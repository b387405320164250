//! What can go wrong, grouped by what the caller can do about it.

use std::io;
use std::path::PathBuf;

use crate::Layer;

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A layer cannot be put on here, so nothing was run. `mend` is the command or the change that helps.
    #[error("the {layer} layer is missing: {detail}; {mend}")]
    MissingLayer {
        /// Which layer.
        layer: Layer,
        /// What failed, and on what.
        detail: String,
        /// What to do.
        mend: String,
    },
    /// A directory that the policy grants cannot be given.
    #[error("the directory {dir} cannot be granted: {detail}")]
    HostDir {
        /// The directory that was asked for.
        dir: PathBuf,
        /// Why not, and what to do.
        detail: String,
    },
    /// Something that every worker needs is not there or not readable: interpreter, shim or bundle.
    #[error("{path} cannot be put into the sandbox: {detail}")]
    Source {
        /// The path on the host.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The ports cannot be opened.
    #[error("ports: {0}")]
    Ports(String),
    /// Files that are to stand in for others of the bundle.
    #[error("root bundles of the connector: {0}")]
    Overlays(String),
    /// A limit that makes no sense.
    #[error("limits: {0}")]
    Limits(String),
    /// The interpreter could not be executed inside the sandbox.
    #[error("the interpreter cannot be executed in the sandbox: {0}")]
    Exec(String),
    /// A layer other than cgroup was named in `--allow-missing`.
    #[error("the {0} layer may never be missing; only cgroup may, with --allow-missing=cgroup")]
    NotOptional(Layer),
    /// The range of ids is used up or not usable.
    #[error("no id is free for a worker in {0}; widen `worker_ids` or run fewer workers at once")]
    NoFreeId(String),
    /// The launcher process ended; the next launch starts a new one.
    #[error("the launcher is gone: {0}")]
    LauncherGone(String),
    /// No living worker has this id.
    #[error("no living worker has the id {0}")]
    UnknownWorker(u64),
    /// The instance directory cannot be used.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// A system call of the daemon's side failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl LaunchError {
    pub(crate) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        LaunchError::Io {
            what: what.into(),
            source: source.into(),
        }
    }
}

/// Why a data directory cannot be used by this daemon.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another living daemon holds it.
    #[error(
        "another daemon (process {holder}) is using {dir}; stop it, or give this one a data directory of its own"
    )]
    Busy {
        /// The data directory.
        dir: PathBuf,
        /// The process that wrote its number into the lock, or `?`.
        holder: String,
    },
    /// It cannot be made, read or locked.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Why an interpreter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// It could not be run.
    #[error("{path} cannot be run: {source}")]
    Run {
        /// The path that was given.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It ran and did not answer as an interpreter does.
    #[error("{path} did not describe itself: {detail}")]
    Answer {
        /// The path that was given.
        path: PathBuf,
        /// What it said.
        detail: String,
    },
    /// Too old.
    #[error("{path} is Python {version}; 3.11 or newer is needed")]
    TooOld {
        /// The path that was given.
        path: PathBuf,
        /// Its version.
        version: String,
    },
}

/// Why the final filter is not on. The worker must end at once.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// No profile has this name.
    #[error("no sandbox profile is called {0:?}")]
    UnknownProfile(String),
    /// The profile does not compile for this machine.
    #[error("sandbox profile {profile}: {detail}")]
    Profile {
        /// Its name.
        profile: String,
        /// What is wrong.
        detail: String,
    },
    /// The kernel refused a filter.
    #[error("the kernel refused the filter: {0}")]
    Kernel(String),
}
