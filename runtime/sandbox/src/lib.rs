//! Profile, plan, process: the isolation of one worker.
//!
//! A worker is made in three moves. [`HostConfig`] and [`WorkerSpec`] say what is wanted; [`plan::plan`] turns
//! them into a [`Plan`], which is plain data that can be printed and reviewed; the launcher, a small
//! single-threaded process, carries out that plan and nothing else. Either every layer is on, or there is no
//! worker and the error names the layer that is missing ([`LaunchError::MissingLayer`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use caisson_sandbox::{HostConfig, Interpreter, Launcher, WorkerSpec};
//! let host = HostConfig::new("/var/lib/caisson".into(), Interpreter::discover("/usr/bin/python3.11".as_ref())?, "/usr/lib/caisson/shim".into());
//! let launcher = Launcher::start(host).await?;
//! let worker = launcher.launch(WorkerSpec::new(1, "/var/lib/caisson/bundles/sha256-0".into())).await?;
//! let (mut process, io) = worker.split();
//! # drop(io);
//! let exit = process.wait().await?;
//! println!("{exit:?}");
//! # Ok(()) }
//! ```
//!
//! May touch: processes, namespaces, mounts, cgroups, its instance directory. May not: policies, secrets, the
//! worker's protocol; it hands sockets and descriptors over and knows nothing of what flows through them.
//! This crate holds `unsafe`: all of it in `sys`, behind safe types.

pub mod cgroup;
pub mod doctor;
mod enforce;
mod error;
mod hardening;
mod host;
mod ids;
mod instance;
mod interpreter;
pub mod launcher;
mod layer;
mod memory_watch;
pub mod plan;
mod process;
pub mod profile;
pub mod seccomp;
mod shared_memory;
mod spec;
mod sys;
mod without;
pub mod zygote;

pub use enforce::Step;
pub use error::{InstanceError, InterpreterError, LaunchError, LockError};
pub use hardening::harden_process;
pub use host::{Launcher, Listener, NetworkSockets, Worker, WorkerIo};
pub use instance::Instance;
pub use interpreter::Interpreter;
pub use layer::{Layer, UnknownLayer};
pub use plan::Plan;
pub use process::{Exit, Killer, Process, STACKS_SIGNAL, Usage};
pub use seccomp::lock_profile;
pub use spec::{HostConfig, HostDir, Limits, Overlay, ProfileName, Program, WorkerSpec};
