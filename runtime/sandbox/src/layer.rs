//! The layers of isolation, by the names that errors, `caisson doctor` and `--allow-missing` use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One layer of isolation. Every layer is on for every worker, or there is no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Fresh user, pid, mount, net, ipc, uts and cgroup namespaces.
    Namespaces,
    /// The id map that keeps the worker away from kernel uid 0.
    Identity,
    /// The root of its own: tmpfs, read-only binds, files written from nothing.
    Filesystem,
    /// Directories of the host that the policy grants.
    HostFiles,
    /// A network with nothing but `lo`, and listeners that the daemon holds.
    Network,
    /// No capability in any set, no_new_privs.
    Privilege,
    /// The system call filters.
    Seccomp,
    /// The second lock on the file system, and scopes.
    Landlock,
    /// Memory, cpu and process limits by cgroup.
    Cgroup,
    /// Resource limits of the process.
    Rlimits,
    /// Exactly the channel, the pipes and an environment from nothing.
    Descriptors,
    /// The worker dies with the daemon.
    Death,
}

impl Layer {
    /// Every layer, in the order in which they are reported.
    pub const ALL: [Layer; 12] = [
        Layer::Namespaces,
        Layer::Identity,
        Layer::Filesystem,
        Layer::HostFiles,
        Layer::Network,
        Layer::Privilege,
        Layer::Seccomp,
        Layer::Landlock,
        Layer::Cgroup,
        Layer::Rlimits,
        Layer::Descriptors,
        Layer::Death,
    ];

    /// The name in errors and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Namespaces => "namespaces",
            Layer::Identity => "identity",
            Layer::Filesystem => "filesystem",
            Layer::HostFiles => "host-files",
            Layer::Network => "network",
            Layer::Privilege => "privilege",
            Layer::Seccomp => "seccomp",
            Layer::Landlock => "landlock",
            Layer::Cgroup => "cgroup",
            Layer::Rlimits => "rlimits",
            Layer::Descriptors => "descriptors",
            Layer::Death => "death",
        }
    }

    /// May a daemon start without this layer when `--allow-missing` names it? Only cgroup, and only because
    /// rlimits and a watch on memory stand in for it.
    pub fn may_be_missing(self) -> bool {
        self == Layer::Cgroup
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no layer is called {0:?}; the only one that may be missing is cgroup")]
pub struct UnknownLayer(pub String);

impl FromStr for Layer {
    type Err = UnknownLayer;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Layer::ALL
            .into_iter()
            .find(|layer| layer.name() == word)
            .ok_or_else(|| UnknownLayer(word.to_owned()))
    }
}
