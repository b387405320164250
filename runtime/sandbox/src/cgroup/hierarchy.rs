//! Where cgroups can be made on this host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::mounts::{Mounts, own_groups};
use super::{v1, v2};
use crate::Limits;
use crate::plan::{CgroupPlan, CgroupValue};

/// What all groups lie under.
pub(super) const PARENT: &str = "caisson";
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];
/// Counts processor time; in v2 that is part of `cpu`.
const WANTED: [&str; 1] = ["cpuacct"];
const PERIOD_MICROSECONDS: u64 = 100_000;

/// Which interface the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One tree per controller.
    V1,
    /// One tree.
    V2,
}

/// Why no cgroup can be made here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CgroupError {
    /// What failed.
    pub detail: String,
    /// What to do.
    pub mend: String,
}

/// Parents under which groups can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Which interface.
    pub version: Version,
    /// By controller; for v2 all three name the same directory.
    parents: BTreeMap<String, PathBuf>,
}

impl Hierarchy {
    /// Looks for a place where groups with memory, cpu and pids can be made, and makes their parent.
    ///
    /// # Errors
    /// When there is none, with what would mend it.
    pub fn find() -> Result<Hierarchy, CgroupError> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mounts = Mounts::parse(&read("/proc/self/mountinfo"));
        let own = own_groups(&read("/proc/self/cgroup"));
        let (version, found) = match &mounts.v2 {
            Some(mount) if v2::lacks(mount, &NEEDED).is_empty() => {
                let parent = v2::parent(mount, own.get(""), &NEEDED);
                let each = |parent: PathBuf| {
                    NEEDED
                        .map(|needed| (needed.to_owned(), parent.clone()))
                        .into()
                };
                (Version::V2, parent.map(each))
            }
            Some(mount) if !mounts.v1.contains_key("memory") => {
                let lacking = v2::lacks(mount, &NEEDED).join(", ");
                let fault = format!(
                    "the tree at {} has no controllers {lacking}",
                    mount.display()
                );
                (Version::V2, Err(fault))
            }
            _ => (Version::V1, v1::parents(&mounts.v1, &own, &NEEDED, &WANTED)),
        };
        match found {
            Ok(parents) => Ok(Hierarchy { version, parents }),
            Err(detail) => Err(CgroupError {
                detail,
                mend: mend(version, nix::unistd::geteuid().is_root()).to_owned(),
            }),
        }
    }

    /// The group of one worker.
    pub fn plan(&self, name: &str, limits: &Limits) -> CgroupPlan {
        let mut dirs: Vec<PathBuf> = self
            .parents
            .values()
            .map(|parent| parent.join(name))
            .collect();
        dirs.sort();
        dirs.dedup();
        let quota = (limits.cpus * PERIOD_MICROSECONDS as f64)
            .round()
            .max(1000.0) as u64;
        let values: Vec<(&str, &str, String, bool)> = match self.version {
            Version::V2 => vec![
                (
                    "memory",
                    "memory.max",
                    limits.memory_bytes.to_string(),
                    true,
                ),
                ("memory", "memory.swap.max", "0".into(), false),
                ("memory", "memory.oom.group", "1".into(), true),
                (
                    "cpu",
                    "cpu.max",
                    format!("{quota} {PERIOD_MICROSECONDS}"),
                    true,
                ),
                ("pids", "pids.max", limits.pids.to_string(), true),
            ],
            Version::V1 => vec![
                (
                    "memory",
                    "memory.limit_in_bytes",
                    limits.memory_bytes.to_string(),
                    true,
                ),
                (
                    "memory",
                    "memory.memsw.limit_in_bytes",
                    limits.memory_bytes.to_string(),
                    false,
                ),
                ("memory", "memory.swappiness", "0".into(), false),
                // v2 counts socket buffers by itself, v1 only where they have a limit.
                (
                    "memory",
                    "memory.kmem.tcp.limit_in_bytes",
                    limits.memory_bytes.to_string(),
                    false,
                ),
                (
                    "cpu",
                    "cpu.cfs_period_us",
                    PERIOD_MICROSECONDS.to_string(),
                    true,
                ),
                ("cpu", "cpu.cfs_quota_us", quota.to_string(), true),
                ("pids", "pids.max", limits.pids.to_string(), true),
            ],
        };
        let values = values
            .into_iter()
            .map(|(controller, file, value, required)| CgroupValue {
                file: self.parents[controller].join(name).join(file),
                value,
                required,
            })
            .collect();
        CgroupPlan { dirs, values }
    }

    /// Every group below the parents, by name, with its directories.
    pub(crate) fn groups(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let mut groups: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for parent in self.parents.values() {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                let name = entry.file_name().to_string_lossy().into_owned();
                let dirs = groups.entry(name).or_default();
                if !dirs.contains(&entry.path()) {
                    dirs.push(entry.path());
                }
            }
        }
        groups
    }
}

/// How to come by a group.
pub(crate) fn mend(version: Version, root: bool) -> &'static str {
    match (version, root) {
        (_, true) => {
            "mount the cgroup file systems writable (in a container: --cgroupns=private and a writable \
             /sys/fs/cgroup), or start the daemon by systemd with Delegate=yes"
        }
        (Version::V2, false) => {
            "have a group delegated: systemd-run --user --scope -p Delegate=yes caisson serve; as a service of yours, \
             Delegate=yes in its unit and once: loginctl enable-linger; where cpu is not handed down to users, root \
             writes `[Service]` and `Delegate=cpu memory pids` into /etc/systemd/system/user@.service.d/delegate.conf; \
             or start with --allow-missing=cgroup"
        }
        (Version::V1, false) => {
            "have root make a group in each tree and hand it over: for c in memory cpu cpuacct pids; do mkdir -p \
             /sys/fs/cgroup/$c/USER && chown -R USER /sys/fs/cgroup/$c/USER && echo PID > \
             /sys/fs/cgroup/$c/USER/cgroup.procs; done, where PID is the shell that then starts the daemon; or start \
             with --allow-missing=cgroup"
        }
    }
}

pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_v2_group_is_limited_in_one_directory_and_dies_whole() {
        let parents = NEEDED
            .iter()
            .map(|n| ((*n).to_owned(), PathBuf::from("/sys/fs/cgroup/caisson")))
            .collect();
        let hierarchy = Hierarchy {
            version: Version::V2,
            parents,
        };
        let plan = hierarchy.plan(
            "caisson-a-1",
            &Limits {
                cpus: 0.5,
                ..Limits::default()
            },
        );
        assert_eq!(
            plan.dirs,
            [PathBuf::from("/sys/fs/cgroup/caisson/caisson-a-1")]
        );
        let value = |name: &str| {
            plan.values
                .iter()
                .find(|v| v.file.ends_with(name))
                .map(|v| v.value.as_str())
        };
        assert_eq!(value("memory.oom.group"), Some("1"));
        assert_eq!(value("cpu.max"), Some("50000 100000"));
    }
}
