//! The parents of all groups where every controller has a tree of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::hierarchy::{PARENT, make_dir};

/// A parent per controller: at the top of its tree where that is allowed (root), or inside the group that this
/// process is in, if it was handed over. Controllers in `wanted` are left out where they cannot be had.
///
/// # Errors
/// The needed controller that cannot be had, and why.
pub(super) fn parents(
    mounts: &BTreeMap<String, PathBuf>,
    own: &BTreeMap<String, PathBuf>,
    needed: &[&str],
    wanted: &[&str],
) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut parents = BTreeMap::new();
    for controller in needed {
        let mount = mounts
            .get(*controller)
            .ok_or_else(|| format!("the {controller} controller is mounted nowhere"))?;
        parents.insert(
            (*controller).to_owned(),
            parent(mount, own.get(*controller))?,
        );
    }
    for controller in wanted {
        let made = mounts
            .get(*controller)
            .and_then(|mount| parent(mount, own.get(*controller)).ok());
        if let Some(made) = made {
            parents.insert((*controller).to_owned(), made);
        }
    }
    Ok(parents)
}

fn parent(mount: &Path, own: Option<&PathBuf>) -> Result<PathBuf, String> {
    let own = own
        .map(|path| mount.join(path))
        .filter(|path| path.is_dir() && path != mount);
    let mut faults = Vec::new();
    for base in [Some(mount.to_owned()), own].into_iter().flatten() {
        let parent = base.join(PARENT);
        let made = make_dir(&parent).and_then(|()| {
            nix::unistd::access(&parent, nix::unistd::AccessFlags::W_OK).map_err(Into::into)
        });
        match made {
            Ok(()) => return Ok(parent),
            Err(e) => faults.push(format!("making a group under {}: {e}", base.display())),
        }
    }
    Err(faults.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_was_handed_over_is_used_where_the_top_is_not_ours() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("deep/own");
        std::fs::create_dir_all(&own).expect("a group");
        // A file where the parent would be: refused to root too.
        std::fs::write(dir.path().join(PARENT), "").expect("in the way");
        let mounts = BTreeMap::from([("pids".to_owned(), dir.path().to_owned())]);
        let groups = BTreeMap::from([("pids".to_owned(), PathBuf::from("deep/own"))]);
        let made = parents(&mounts, &groups, &["pids"], &["cpuacct"]).expect("a parent");
        assert_eq!(made["pids"], own.join(PARENT));
        assert_eq!(made.get("cpuacct"), None);
        let fault = parents(&mounts, &BTreeMap::new(), &["pids", "memory"], &[]);
        assert!(fault.expect_err("refused").contains("making a group under"));
        let fault = parents(&mounts, &groups, &["memory"], &[]);
        assert_eq!(
            fault.expect_err("refused"),
            "the memory controller is mounted nowhere"
        );
    }
}
