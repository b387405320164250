//! Where cgroups can be made on this host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Limits;
use crate::plan::{CgroupPlan, CgroupValue};

const PARENT: &str = "caisson";
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];
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
        let v2 = mounts.v2.as_ref().filter(|mount| has_controllers(mount));
        let found = match v2 {
            Some(mount) => find_v2(mount, own.get("")),
            None => find_v1(&mounts.v1, &own),
        };
        found.map_err(|detail| CgroupError {
            detail,
            mend: mend(),
        })
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

fn mend() -> String {
    if nix::unistd::geteuid().is_root() {
        "mount the cgroup file systems writable (in a container: --cgroupns=private and a writable /sys/fs/cgroup), \
         or start the daemon by systemd with Delegate=yes"
            .into()
    } else {
        "have a group delegated: systemd-run --user --scope -p Delegate=yes caisson serve; \
         or start with --allow-missing=cgroup"
            .into()
    }
}

/// Mount points of cgroup file systems.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mounts {
    v2: Option<PathBuf>,
    v1: BTreeMap<String, PathBuf>,
}

impl Mounts {
    /// From the text of mountinfo (proc_pid_mountinfo(5)).
    fn parse(text: &str) -> Mounts {
        let mut mounts = Mounts::default();
        for line in text.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => mounts.v2 = Some(point),
                (Some("cgroup"), Some(options)) => {
                    for option in options
                        .split(',')
                        .filter(|o| NEEDED.contains(o) || *o == "cpuacct")
                    {
                        mounts.v1.insert(option.to_owned(), point.clone());
                    }
                }
                _ => {}
            }
        }
        mounts
    }
}

/// This process's own groups: controller, or "" for v2, to path.
fn own_groups(text: &str) -> BTreeMap<String, PathBuf> {
    let mut groups = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(controllers), Some(path)) = (parts.next(), parts.next()) {
            for controller in controllers.split(',') {
                groups.insert(
                    controller.to_owned(),
                    PathBuf::from(path.trim_start_matches('/')),
                );
            }
        }
    }
    groups
}

fn words(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn has_controllers(group: &Path) -> bool {
    let there = words(&group.join("cgroup.controllers"));
    NEEDED
        .iter()
        .all(|needed| there.iter().any(|word| word == needed))
}

fn find_v2(mount: &Path, own: Option<&PathBuf>) -> Result<Hierarchy, String> {
    // Beside everything else at the top where this is allowed (root), or inside our own delegated group.
    let own = own
        .map(|path| mount.join(path))
        .filter(|path| path.is_dir());
    let mut last = String::from("no cgroup of ours was found");
    for base in [Some(mount.to_owned()), own].into_iter().flatten() {
        match make_v2_parent(&base) {
            Ok(parent) => {
                let parents = NEEDED
                    .iter()
                    .map(|needed| ((*needed).to_owned(), parent.clone()))
                    .collect();
                return Ok(Hierarchy {
                    version: Version::V2,
                    parents,
                });
            }
            Err(e) => last = format!("making a cgroup under {}: {e}", base.display()),
        }
    }
    Err(last)
}

fn make_v2_parent(base: &Path) -> io::Result<PathBuf> {
    let parent = base.join(PARENT);
    make_dir(&parent)?;
    if enable(base).is_err() {
        // A group with processes in it cannot give controllers on: this process moves into a leaf beside.
        let leaf = base.join("caisson-daemon");
        make_dir(&leaf)?;
        fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())?;
        enable(base)?;
    }
    enable(&parent)?;
    Ok(parent)
}

fn enable(group: &Path) -> io::Result<()> {
    let on = words(&group.join("cgroup.subtree_control"));
    if NEEDED
        .iter()
        .all(|needed| on.iter().any(|word| word == needed))
    {
        return Ok(());
    }
    fs::write(
        group.join("cgroup.subtree_control"),
        NEEDED.map(|needed| format!("+{needed}")).join(" "),
    )
}

fn find_v1(
    mounts: &BTreeMap<String, PathBuf>,
    own: &BTreeMap<String, PathBuf>,
) -> Result<Hierarchy, String> {
    let mut parents = BTreeMap::new();
    for controller in NEEDED.into_iter().chain(["cpuacct"]) {
        let Some(mount) = mounts.get(controller) else {
            if controller == "cpuacct" {
                continue;
            }
            return Err(format!("the {controller} controller is mounted nowhere"));
        };
        let own = own
            .get(controller)
            .map(|path| mount.join(path))
            .filter(|path| path.is_dir());
        let mut last = None;
        let made = [Some(mount.clone()), own]
            .into_iter()
            .flatten()
            .find_map(|base| {
                let parent = base.join(PARENT);
                make_dir(&parent)
                    .and_then(|()| writable(&parent))
                    .map_err(|e| last = Some(e))
                    .is_ok()
                    .then_some(parent)
            });
        let parent = made.ok_or_else(|| {
            format!(
                "making a cgroup under {}: {}",
                mount.display(),
                last.map_or_else(String::new, |e| e.to_string())
            )
        })?;
        parents.insert(controller.to_owned(), parent);
    }
    Ok(Hierarchy {
        version: Version::V1,
        parents,
    })
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn writable(dir: &Path) -> io::Result<()> {
    Ok(nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 25 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 25 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
";

    #[test]
    fn controllers_that_share_a_mount_are_each_found() {
        let mounts = Mounts::parse(MOUNTINFO);
        assert_eq!(mounts.v1["cpu"], mounts.v1["cpuacct"]);
        assert_eq!(mounts.v1.len(), 4);
        assert_eq!(mounts.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn own_groups_are_read_for_both_versions() {
        let own = own_groups("4:memory:/a/b\n3:cpu,cpuacct:/\n0::/user.slice/x.scope\n");
        assert_eq!(own["memory"], PathBuf::from("a/b"));
        assert_eq!(own["cpuacct"], PathBuf::from(""));
        assert_eq!(own[""], PathBuf::from("user.slice/x.scope"));
    }

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
