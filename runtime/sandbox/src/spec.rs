//! What the daemon asks for: the host's part once, a worker's part for every call.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Interpreter, Layer};

/// What holds for every worker of this daemon.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The instance's directory (made 0700): holds id and lock.
    pub instance_dir: PathBuf,
    /// The program whose hidden subcommand `launcher` calls [`crate::launcher::main`]; run as `<exe> launcher`.
    pub launcher_exe: PathBuf,
    /// The interpreter of the workers.
    pub interpreter: Interpreter,
    /// The directory that holds the package `caisson`; read-only at `/caisson/shim`. A root daemon's workers are
    /// other users, so it must be readable by all.
    pub shim_dir: PathBuf,
    /// Outer ids for workers of a root daemon, one per worker. Not used by an ordinary user's daemon.
    pub uid_range: Range<u32>,
    /// Layers that may be missing: nothing, or cgroup.
    pub allow_missing: BTreeSet<Layer>,
    /// Paths that are never granted, whatever a policy says: data, policies, secrets, audit. `instance_dir` and
    /// `shim_dir` always belong to them. A [`HostDir`] that is, holds or lies beneath one is refused, by whatever
    /// name or bind mount it is reached.
    pub forbidden: Vec<PathBuf>,
    /// So many workers that run the shim are forked from one preloaded interpreter, then another takes its place. It takes
    /// an id of its own, for a moment two. Where it cannot be had, workers execute the interpreter. `None`: they always do.
    pub zygote_forks: Option<NonZeroU64>,
}

impl HostConfig {
    /// The usual values: this program as launcher, ids 1,879,048,192 and up (out of the way of login and
    /// container ranges), nothing allowed to be missing.
    pub fn new(instance_dir: PathBuf, interpreter: Interpreter, shim_dir: PathBuf) -> Self {
        HostConfig {
            instance_dir,
            launcher_exe: PathBuf::from("/proc/self/exe"),
            interpreter,
            shim_dir,
            uid_range: 0x7000_0000..0x7000_1000,
            allow_missing: BTreeSet::new(),
            forbidden: Vec::new(),
            zygote_forks: None,
        }
    }
}

/// What one worker gets.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// Unique among the workers of this daemon.
    pub id: u64,
    /// The seccomp profile.
    pub profile: ProfileName,
    /// The unpacked bundle; read-only at `/caisson/bundle`. Readable by all, as the shim.
    pub bundle: PathBuf,
    /// The root certificates that it trusts, in PEM, in place of the host's. Readable by all, as the shim.
    pub roots: Option<PathBuf>,
    /// Files that stand in for root bundles of the connector's own; at most [`crate::plan::MAX_OVERLAYS`].
    pub overlays: Vec<Overlay>,
    /// Directories of the host, bound at the same path.
    pub files: Vec<HostDir>,
    /// TCP ports that listen inside; 53 is always there.
    pub tcp_ports: Vec<u16>,
    /// Its limits.
    pub limits: Limits,
}

impl WorkerSpec {
    /// A worker with the strict profile, no directory, no port and the default limits.
    pub fn new(id: u64, bundle: PathBuf) -> Self {
        WorkerSpec {
            id,
            profile: ProfileName::default(),
            bundle,
            roots: None,
            overlays: Vec::new(),
            files: Vec::new(),
            tcp_ports: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// The name of a profile in `sandbox-profiles/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProfileName(pub String);

impl Default for ProfileName {
    fn default() -> Self {
        ProfileName("strict".to_owned())
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file of the host that a worker sees, read-only, in place of one of its bundle.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Overlay {
    /// What is seen. Readable by all, as the shim.
    pub from: PathBuf,
    /// In whose place: a path beneath the bundle, relative to it, which must be a file and lead through no symlink.
    pub at: PathBuf,
}

/// A directory of the host that a worker may see, at the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDir {
    /// What is asked for; absolute.
    pub dir: PathBuf,
    /// Directories that the policy names; `dir` must be one of them or lie beneath one, without symlinks.
    pub within: Vec<PathBuf>,
    /// May the worker write there?
    pub write: bool,
}

/// What one worker may use. Wall clock and log quota are the daemon's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory with page cache and tmpfs, in bytes.
    pub memory_bytes: u64,
    /// Processors; 0.5 is half of one.
    pub cpus: f64,
    /// Processes and threads together.
    pub pids: u32,
    /// Size of `/tmp`, in bytes.
    pub tmp_bytes: u64,
    /// Open descriptors per process.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 512 << 20,
            cpus: 1.0,
            pids: 64,
            tmp_bytes: 256 << 20,
            open_files: 1024,
        }
    }
}

/// What the interpreter runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// The shim's `caisson._worker.main`, which puts the final filter on before anything else.
    Shim,
    /// This source instead of the shim; it starts without the final filter. For probes and tests of the layers.
    Python(String),
}
