//! The parent of all groups in the one tree of v2, and the controllers that are handed down to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::hierarchy::{PARENT, make_dir};
use crate::sys;

/// Where the daemon goes, since a group with processes in it hands no controller on.
const LEAF: &str = "caisson-daemon";

/// Has a tree these controllers?
pub(super) fn lacks(group: &Path, needed: &[&str]) -> Vec<String> {
    let there = words(&group.join("cgroup.controllers"));
    let absent = needed
        .iter()
        .filter(|needed| !there.iter().any(|word| word == *needed));
    absent.map(|needed| (*needed).to_owned()).collect()
}

/// A parent with `needed` handed down: inside this process's own group where systemd delegated that, else at the
/// top beside everything else (root), else inside our own group all the same.
///
/// # Errors
/// Every place that was tried, and why it would not do.
pub(super) fn parent(
    mount: &Path,
    own: Option<&PathBuf>,
    needed: &[&str],
) -> Result<PathBuf, String> {
    let own = own
        .map(|path| mount.join(path))
        // Moved there by an earlier look.
        .map(|path| match path.file_name() {
            Some(name) if name == LEAF => path.parent().unwrap_or(mount).to_owned(),
            _ => path,
        })
        .filter(|path| path.is_dir() && path != mount);
    let top = Some(mount.to_owned());
    let places = if own.as_deref().is_some_and(is_delegated) {
        [own, top]
    } else {
        [top, own]
    };
    let mut faults = Vec::new();
    for base in places.into_iter().flatten() {
        match make(&base, needed) {
            Ok(parent) => return Ok(parent),
            Err(e) => faults.push(format!("making a group under {}: {e}", base.display())),
        }
    }
    Err(faults.join("; "))
}

/// systemd marks what it hands over with Delegate=yes.
fn is_delegated(group: &Path) -> bool {
    ["user.delegate", "trusted.delegate"]
        .iter()
        .any(|name| sys::extended_attribute(group, name).is_ok_and(|value| value == b"1"))
}

fn make(base: &Path, needed: &[&str]) -> io::Result<PathBuf> {
    let lacking = lacks(base, needed);
    if !lacking.is_empty() {
        return Err(io::Error::other(format!(
            "it was not handed the controllers {}",
            lacking.join(", ")
        )));
    }
    let parent = base.join(PARENT);
    make_dir(&parent)?;
    // One that a root daemon made is of no use to anybody else's.
    nix::unistd::access(&parent, nix::unistd::AccessFlags::W_OK)?;
    match hand_down(base, needed) {
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
            // Only this process is ours to move.
            let leaf = base.join(LEAF);
            make_dir(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())?;
            hand_down(base, needed).map_err(|e| match e.raw_os_error() {
                Some(libc::EBUSY) => io::Error::new(
                    e.kind(),
                    "other processes are in it; start the daemon as the first and only process of its group",
                ),
                _ => e,
            })?;
        }
        other => other?,
    }
    hand_down(&parent, needed)?;
    Ok(parent)
}

fn hand_down(group: &Path, needed: &[&str]) -> io::Result<()> {
    let file = group.join("cgroup.subtree_control");
    let on = words(&file);
    let off: Vec<String> = needed
        .iter()
        .filter(|needed| !on.iter().any(|word| word == *needed))
        .map(|needed| format!("+{needed}"))
        .collect();
    if off.is_empty() {
        return Ok(());
    }
    fs::write(file, off.join(" "))
}

fn words(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    //! Against the kernel's own v2 tree, with whatever controller it has there: on a mixed host v1 holds the others.

    use std::process::{Child, Command};

    use super::super::mounts::{Mounts, own_groups};
    use super::*;

    /// A group of the test's own, to which one controller was handed down; put back as it was at the end.
    struct Ground {
        mount: PathBuf,
        home: PathBuf,
        base: PathBuf,
        controller: String,
        handed: bool,
    }

    impl Ground {
        /// None for ordinary users, who were handed no group.
        fn find() -> Option<Ground> {
            let read = |path: &str| fs::read_to_string(path).expect(path);
            let mount = Mounts::parse(&read("/proc/self/mountinfo"))
                .v2
                .expect("a cgroup2 mount");
            let home = mount.join(&own_groups(&read("/proc/self/cgroup"))[""]);
            if !nix::unistd::geteuid().is_root() {
                return None;
            }
            let top = mount.join("cgroup.subtree_control");
            let there = words(&mount.join("cgroup.controllers"));
            let on = words(&top);
            let controller = ["memory", "hugetlb"]
                .into_iter()
                .find(|one| there.iter().any(|word| word == one));
            let controller = controller.expect("a controller in the v2 tree").to_owned();
            let handed = !on.contains(&controller);
            if handed {
                fs::write(&top, format!("+{controller}")).expect("handed down");
            }
            let base = mount.join(format!("caisson-test-{}", std::process::id()));
            fs::create_dir(&base).expect("a group");
            Some(Ground {
                mount,
                home,
                base,
                controller,
                handed,
            })
        }

        fn enter(&self, group: &Path) {
            fs::write(group.join("cgroup.procs"), std::process::id().to_string()).expect("moved");
        }

        fn make(&self) -> io::Result<PathBuf> {
            make(&self.base, &[&self.controller])
        }
    }

    impl Drop for Ground {
        fn drop(&mut self) {
            self.enter(&self.home);
            for group in [PARENT, LEAF, ""] {
                let _ = fs::remove_dir(self.base.join(group));
            }
            if self.handed {
                let off = format!("-{}", self.controller);
                let _ = fs::write(self.mount.join("cgroup.subtree_control"), off);
            }
        }
    }

    fn inhabitant(group: &Path) -> Child {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep");
        fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("moved");
        child
    }

    #[test]
    fn a_daemon_leaves_its_own_group_for_a_leaf_so_that_controllers_can_be_handed_down() {
        let Some(ground) = Ground::find() else {
            let mount =
                Mounts::parse(&fs::read_to_string("/proc/self/mountinfo").expect("mounts")).v2;
            let fault = make(&mount.expect("a cgroup2 mount"), &[]).expect_err("not ours");
            assert!(
                matches!(fault.raw_os_error(), Some(libc::EACCES | libc::EROFS)),
                "{fault}"
            );
            return;
        };
        // Somebody else's process in it: said, and not moved.
        let mut other = inhabitant(&ground.base);
        ground.enter(&ground.base);
        let fault = ground.make().expect_err("inhabited").to_string();
        assert!(fault.contains("only process of its group"), "{fault}");
        other.kill().expect("killed");
        other.wait().expect("reaped");

        ground.enter(&ground.base);
        let parent = ground.make().expect("a parent");
        assert!(words(&parent.join("cgroup.subtree_control")).contains(&ground.controller));
        let own = own_groups(&fs::read_to_string("/proc/self/cgroup").expect("groups"));
        assert!(own[""].ends_with(LEAF), "{own:?}");
        // Again, from the leaf: the same parent, and nothing is nested deeper.
        let found = super::parent(&ground.mount, Some(&own[""]), &[&ground.controller]);
        assert!(found.is_ok(), "{found:?}");
        assert_eq!(ground.make().expect("the same"), parent);
    }

    #[test]
    fn a_group_is_killed_whole_and_removed() {
        let Some(ground) = Ground::find() else { return };
        let parent = ground.make().expect("a parent");
        let dir = parent.join("worker");
        fs::create_dir(&dir).expect("a group");
        let mut children = [inhabitant(&dir), inhabitant(&dir)];
        let group = super::super::Cgroup::existing(vec![dir.clone()]);
        assert_eq!(group.processes().len(), 2);
        group.kill();
        for child in &mut children {
            child.wait().expect("an end");
        }
        assert!(group.remove());
        assert!(!dir.exists());
    }

    #[test]
    fn controllers_that_were_not_handed_over_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("cgroup.controllers"), "memory pids\n").expect("written");
        let fault = parent(dir.path(), None, &["memory", "cpu", "pids"]).expect_err("refused");
        assert!(
            fault.ends_with("it was not handed the controllers cpu"),
            "{fault}"
        );
    }
}
