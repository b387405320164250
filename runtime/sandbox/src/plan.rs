//! The plan of one worker: everything that will be done to it, as data.
//!
//! A plan can be printed (`caisson doctor --plan`) and is what the launcher is sent; enforcement carries out
//! this data and decides nothing.

mod build;
mod roots;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use build::{OuterIds, plan};
pub(crate) use build::{ports, worker_environment};
pub use roots::CA_SOURCES;

use crate::{HostDir, ProfileName};

/// The uid and gid that a worker sees itself as.
pub const INNER_ID: u32 = 1000;
/// The worker's own IPv4 address on lo (TEST-NET-1, RFC 5737): the source of every connection it makes.
pub const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The worker's own IPv6 address on lo (documentation prefix, RFC 3849).
pub const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// In a zygote's environment beside what is in a worker's, until it has started.
pub(crate) const LOCALE: &str = "LC_ALL";
/// At most so many TCP ports besides DNS.
pub const MAX_PORTS: usize = 64;
/// At most so many files stand in for others of a bundle: each travels to the worker as a descriptor.
pub const MAX_OVERLAYS: usize = 64;
/// DNS, always listened on.
pub const DNS_PORT: u16 = 53;

/// Everything that is done to make one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The worker's number.
    pub worker: u64,
    /// Fresh namespaces.
    pub namespaces: Vec<String>,
    /// Who it is, inside and outside.
    pub identity: Identity,
    /// Its cgroup, unless the host has none and the operator allowed that.
    pub cgroup: Option<CgroupPlan>,
    /// Its network.
    pub network: NetworkPlan,
    /// What its root consists of, in this order.
    pub mounts: Vec<MountStep>,
    /// Paths of the host that no granted directory may be, hold or lie beneath.
    pub forbidden: Vec<PathBuf>,
    /// Size of the root itself in bytes, before it becomes read-only.
    pub root_bytes: u64,
    /// Resource limits: name and value, soft and hard alike.
    pub rlimits: BTreeMap<String, u64>,
    /// May memory be shared without a file (anonymous mappings, memfd, System V)? Only where a cgroup counts it.
    pub shared_memory: bool,
    /// Capabilities in every set.
    pub capabilities: Vec<String>,
    /// The second lock on the file system.
    pub landlock: Vec<LandlockRule>,
    /// The seccomp profile.
    pub profile: ProfileName,
    /// What is executed.
    pub program: ProgramPlan,
}

/// Who a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What it sees as its uid and gid.
    pub inner: u32,
    /// What it is to the kernel.
    pub outer: OuterIds,
    /// Its host name.
    pub hostname: String,
}

/// A cgroup: one directory (v2) or one per controller (v1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// Directories that are made, joined, and removed at the end.
    pub dirs: Vec<PathBuf>,
    /// What is written into them.
    pub values: Vec<CgroupValue>,
}

/// One value of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupValue {
    /// The file.
    pub file: PathBuf,
    /// What is written.
    pub value: String,
    /// Must the host have this file? Swap accounting is often off.
    pub required: bool,
}

/// A network with nothing but lo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Addresses on lo.
    pub addresses: Vec<String>,
    /// Routes that make every address local.
    pub routes: Vec<String>,
    /// TCP ports with a listener, besides DNS.
    pub tcp_ports: Vec<u16>,
    /// UDP and TCP port of DNS.
    pub dns_port: u16,
}

/// One step in building the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum MountStep {
    /// A part of the host, read-only, nosuid; nodev except for a device, noexec unless `exec`.
    Bind {
        /// On the host.
        from: PathBuf,
        /// Inside.
        at: PathBuf,
        /// Programs and libraries lie there.
        exec: bool,
        /// A device node.
        device: bool,
        /// Left out when the host has no such path.
        optional: bool,
    },
    /// A directory of the host that the policy grants: nosuid, nodev, noexec, at the same path.
    HostDir(HostDir),
    /// An empty directory over something that must not be seen.
    Hide {
        /// Inside.
        at: PathBuf,
    },
    /// Private memory: nosuid, nodev, noexec.
    Tmpfs {
        /// Inside.
        at: PathBuf,
        /// Its cap.
        bytes: u64,
    },
    /// A symlink.
    Symlink {
        /// Inside.
        at: PathBuf,
        /// What it says.
        to: PathBuf,
    },
    /// A file written from nothing.
    File {
        /// Inside.
        at: PathBuf,
        /// All of it.
        contents: String,
    },
    /// The host's CA bundle, copied; the first of these that exists.
    CaBundle {
        /// On the host.
        from: Vec<PathBuf>,
        /// Inside.
        at: PathBuf,
    },
    /// The worker's own processes; an empty tmpfs where that cannot be mounted.
    Proc {
        /// Inside.
        at: PathBuf,
    },
}

/// One rule of the second lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockRule {
    /// Beneath here…
    pub beneath: PathBuf,
    /// …this may be done.
    pub access: LandlockAccess,
}

/// What may be done beneath a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LandlockAccess {
    /// Read files and directories.
    Read,
    /// Read, and execute.
    Execute,
    /// Read and write files, make and remove files and directories.
    Write,
    /// Read and write existing files (devices).
    Use,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramPlan {
    /// The executable, inside.
    pub executable: PathBuf,
    /// Its arguments, with its own name first.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// May a fork of an interpreter that has loaded the shim go on instead? It has the same executable and environment.
    pub preloaded: bool,
}

impl Plan {
    /// What of it is of use inside once the host's mounts are copied: no path of the host is left.
    pub(crate) fn inside(&self) -> Plan {
        let mut plan = self.clone();
        plan.cgroup = None;
        plan.forbidden.clear();
        for step in &mut plan.mounts {
            match step {
                MountStep::Bind { from, at, .. } => from.clone_from(at),
                MountStep::HostDir(dir) => dir.within.clear(),
                MountStep::CaBundle { from, .. } => from.clear(),
                _ => {}
            }
        }
        plan
    }
}
