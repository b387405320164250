//! Where cgroup file systems are mounted, and which groups this process is in. Pure: reads texts, not files.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Mount points of cgroup file systems.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    pub(super) v2: Option<PathBuf>,
    /// By controller.
    pub(super) v1: BTreeMap<String, PathBuf>,
}

impl Mounts {
    /// From the text of mountinfo (proc_pid_mountinfo(5)).
    pub(super) fn parse(text: &str) -> Mounts {
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
                    for option in options.split(',') {
                        mounts.v1.insert(option.to_owned(), point.clone());
                    }
                }
                _ => {}
            }
        }
        mounts
    }
}

/// This process's own groups, from the text of proc_pid_cgroup(5): controller, or "" for v2, to path below the
/// mount.
pub(super) fn own_groups(text: &str) -> BTreeMap<String, PathBuf> {
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
        assert_eq!(mounts.v1["memory"], PathBuf::from("/sys/fs/cgroup/memory"));
        assert_eq!(mounts.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn own_groups_are_read_for_both_versions() {
        let own = own_groups("4:memory:/a/b\n3:cpu,cpuacct:/\n0::/user.slice/x.scope\n");
        assert_eq!(own["memory"], PathBuf::from("a/b"));
        assert_eq!(own["cpuacct"], PathBuf::from(""));
        assert_eq!(own[""], PathBuf::from("user.slice/x.scope"));
    }
}
