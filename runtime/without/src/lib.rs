//! Which layers a test build leaves out: so that the escape suite can prove that each layer stops something.
//!
//! In the product [`without`] is a constant `false`, and what hangs on it is not compiled. Only a build with the feature
//! `taken-away` reads the environment; the one package that asks for it is `tests/without`, whose program serves nothing
//! unless a layer was taken away.
//!
//! Touches nothing, in that build the environment. Decides nothing: each layer is left out where it is put on.
#![forbid(unsafe_code)]

/// Something that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The fresh user namespace, and with it the ids. Root only: nobody else makes the other namespaces without it.
    UserNamespace,
    /// The outer id: root's own instead of one that owns nothing.
    IdMap,
    /// One outer id per worker: all share the first.
    OwnIds,
    /// The fresh pid namespace.
    PidNamespace,
    /// The fresh mount namespace and the root that is built in it.
    Root,
    /// The fresh network: the worker stays in the daemon's.
    NetNamespace,
    /// The fresh ipc namespace.
    IpcNamespace,
    /// The fresh uts namespace.
    UtsNamespace,
    /// The fresh cgroup namespace.
    CgroupNamespace,
    /// Dropping capabilities: they are kept across exec.
    Capabilities,
    /// no_new_privs.
    NoNewPrivileges,
    /// Both stages of the system call filter.
    Seccomp,
    /// Landlock.
    Landlock,
    /// The cgroup, or the watch on memory that stands in for it.
    Cgroup,
    /// Resource limits.
    Rlimits,
    /// Closing descriptors: all that the launcher has stay open.
    Descriptors,
    /// An environment from nothing: the daemon's is handed on.
    Environment,
    /// The death signal.
    Death,
    /// Read-only binds.
    ReadOnly,
    /// The masks of /proc.
    Proc,
    /// Resolving granted directories without links.
    Beneath,
    /// Keeping the daemon's own directories out of grants.
    Forbidden,
    /// The size of /tmp.
    TmpSize,
    /// An interpreter that imports nothing by itself.
    FirstCode,
    /// The policy's rules on hosts and ports.
    Policy,
    /// The checks on the addresses behind names.
    Addresses,
    /// What DNS may be asked.
    Dns,
    /// The name in the ClientHello.
    Sni,
    /// The rules on methods, paths and upgrades.
    HttpRules,
    /// The daemon's own sockets.
    OwnSockets,
    /// Closing connections that a reloaded policy does not allow.
    Revocation,
    /// The watch on packets that no listener takes.
    Watch,
    /// `from` of a policy's secrets.
    SecretsFrom,
    /// The redactor.
    Redactor,
    /// The order of a worker's frames.
    Order,
    /// The call's deadline.
    Deadline,
    /// The quota of log lines.
    LogQuota,
}

#[cfg(feature = "taken-away")]
mod taken;

#[cfg(feature = "taken-away")]
pub use taken::{handed_on, names, remember, without};

/// Whether a part was left out: in the product never.
#[cfg(not(feature = "taken-away"))]
#[inline(always)]
#[must_use]
pub const fn without(_part: Part) -> bool {
    false
}

/// What a launcher is told in its environment: in the product nothing.
#[cfg(not(feature = "taken-away"))]
#[inline(always)]
#[must_use]
pub const fn handed_on() -> Option<(&'static str, String)> {
    None
}

/// Reads the environment before it is cleared: in the product it has nothing to say.
#[cfg(not(feature = "taken-away"))]
#[inline(always)]
pub const fn remember() {}
