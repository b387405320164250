//! Detached copies of the host's mounts: taken while paths of the host can still be reached.
//!
//! A privileged launcher takes them before the clone, because the mapped worker cannot walk through a 0700 home.
//! An ordinary user's launcher may not copy mounts; there the new process takes them itself, as the same user.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use caisson_without::{Part, without};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fstat};
use serde::{Deserialize, Serialize};

use super::forbidden::{self, Refusal};
use super::{Fault, Step, Subject};
use crate::launcher::id_map;
use crate::plan::{MountStep, OuterIds};
use crate::{HostDir, Plan, sys};

/// Copies by the number of their step in the plan.
#[derive(Default)]
pub(crate) struct Trees(HashMap<usize, Tree>);

/// What one copy is, where its descriptor travels beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Copied {
    /// The number of its step in the plan.
    number: usize,
    is_dir: bool,
}

pub(crate) struct Tree {
    pub(crate) fd: OwnedFd,
    pub(crate) is_dir: bool,
    /// May everybody read it? Asked before it is used, and of no matter afterwards.
    for_all: bool,
}

impl Trees {
    /// Copies everything that the plan binds. With `outer`, granted directories are mapped so that their owner's
    /// files are the worker's.
    pub(crate) fn copy(plan: &Plan, outer: Option<OuterIds>) -> Result<Trees, Fault> {
        let mut trees = HashMap::new();
        for (number, step) in plan.mounts.iter().enumerate() {
            match step {
                MountStep::Bind {
                    from,
                    exec,
                    device,
                    optional,
                    ..
                } => match copy_path(from, *exec, *device) {
                    Ok(tree) if outer.is_some() && !tree.for_all => {
                        let what = format!(
                            "a root daemon's workers are other users, and {0} is not readable by all; \
                             chmod -R a+rX {0}",
                            from.display()
                        );
                        let fault = Fault::new(Step::Trees, what, nix::Error::EACCES);
                        return Err(fault.about(Subject::Source(from.clone())));
                    }
                    Ok(tree) => drop(trees.insert(number, tree)),
                    Err(e) if *optional && e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => {
                        let fault =
                            Fault::new(Step::Trees, format!("binding {}", from.display()), e);
                        return Err(fault.about(Subject::Source(from.clone())));
                    }
                },
                MountStep::HostDir(dir) => {
                    let tree =
                        copy_host_dir(dir, &plan.forbidden, outer).map_err(|(what, e)| {
                            Fault::new(Step::Trees, what, e)
                                .about(Subject::HostDir(dir.dir.clone()))
                        })?;
                    trees.insert(
                        number,
                        Tree {
                            fd: tree,
                            is_dir: true,
                            for_all: true,
                        },
                    );
                }
                _ => {}
            }
        }
        Ok(Trees(trees))
    }

    /// Copies on their way to another process: what each is, and its descriptor.
    pub(crate) fn list(&self) -> (Vec<Copied>, Vec<BorrowedFd<'_>>) {
        let copied = |(number, tree): (&usize, &Tree)| Copied {
            number: *number,
            is_dir: tree.is_dir,
        };
        let list = self.0.iter().map(copied).collect();
        (list, self.0.values().map(|tree| tree.fd.as_fd()).collect())
    }

    /// The same on arrival.
    pub(crate) fn collect(list: &[Copied], fds: impl Iterator<Item = OwnedFd>) -> Trees {
        let tree = |(copied, fd): (&Copied, OwnedFd)| {
            let tree = Tree {
                fd,
                is_dir: copied.is_dir,
                for_all: true,
            };
            (copied.number, tree)
        };
        Trees(list.iter().zip(fds).map(tree).collect())
    }

    pub(crate) fn take(&mut self, number: usize) -> Option<Tree> {
        self.0.remove(&number)
    }
}

fn copy_path(from: &Path, exec: bool, device: bool) -> io::Result<Tree> {
    let found = std::fs::metadata(from)?;
    let is_dir = found.is_dir();
    let needed = if is_dir { 0o5 } else { 0o4 };
    let for_all = found.mode() & needed == needed;
    let fd = sys::clone_tree(from)?;
    let mut set = libc::MOUNT_ATTR_NOSUID;
    if !exec {
        set |= libc::MOUNT_ATTR_NOEXEC;
    }
    // A device is written to by writing through it; its mount point cannot be changed in any case.
    set |= if device || without(Part::ReadOnly) {
        0
    } else {
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV
    };
    sys::set_mount_attributes(fd.as_fd(), true, set, None)?;
    Ok(Tree {
        fd,
        is_dir,
        for_all,
    })
}

/// Opens the directory beneath one of those that the policy names; no symlink, no `..`, no magic link.
fn open_beneath(dir: &HostDir) -> Result<OwnedFd, (String, io::Error)> {
    if without(Part::Beneath) {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        return nix::fcntl::open(&dir.dir, flags, Mode::empty())
            .map_err(|e| (format!("opening {}", dir.dir.display()), e.into()));
    }
    let mut last = (
        format!("{} is beneath none of {:?}", dir.dir.display(), dir.within),
        io::ErrorKind::NotFound.into(),
    );
    for within in &dir.within {
        let Ok(rest) = dir.dir.strip_prefix(within) else {
            continue;
        };
        let rest = if rest.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            rest.to_owned()
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let base = match nix::fcntl::open(within, flags, Mode::empty()) {
            Ok(base) => base,
            Err(e) => {
                last = (format!("opening {}", within.display()), e.into());
                continue;
            }
        };
        let how = OpenHow::new().flags(flags).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        match openat2(&base, &rest, how) {
            Ok(found) => return Ok(found),
            Err(nix::Error::ELOOP) => {
                let text = format!(
                    "{} leads through a symlink, which is never followed",
                    dir.dir.display()
                );
                last = (text, nix::Error::ELOOP.into());
            }
            Err(e) => {
                last = (
                    format!("opening {} beneath {}", rest.display(), within.display()),
                    e.into(),
                )
            }
        }
    }
    Err(last)
}

fn copy_host_dir(
    dir: &HostDir,
    forbidden: &[PathBuf],
    outer: Option<OuterIds>,
) -> Result<OwnedFd, (String, io::Error)> {
    let found = open_beneath(dir)?;
    let kept: &[PathBuf] = if without(Part::Forbidden) {
        &[]
    } else {
        forbidden
    };
    forbidden::check(found.as_fd(), kept).map_err(|refusal| match refusal {
        Refusal::Own(how, own) => (
            format!("it {how} {}, which is the daemon's own", own.display()),
            io::Error::other("grant a directory elsewhere"),
        ),
        Refusal::Unknown(e) => (format!("finding out what {} reaches", dir.dir.display()), e),
    })?;
    let tree = sys::clone_tree_at(found.as_fd())
        .map_err(|e| (format!("copying the mount of {}", dir.dir.display()), e))?;
    let mut set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    if !dir.write {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    if let Some(outer) = outer {
        map_owner(dir, found.as_fd(), tree.as_fd(), outer)?;
    }
    sys::set_mount_attributes(tree.as_fd(), true, set, None)
        .map_err(|e| (format!("setting the flags of {}", dir.dir.display()), e))?;
    Ok(tree)
}

/// An id-mapped mount: what the directory's owner owns, the worker owns, and what the worker makes is the owner's.
fn map_owner(
    dir: &HostDir,
    found: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    outer: OuterIds,
) -> Result<(), (String, io::Error)> {
    let path = dir.dir.display();
    let owner = fstat(found).map_err(|e| (format!("looking at {path}"), e.into()))?;
    let mapped = id_map::namespace((owner.st_uid, outer.uid), (owner.st_gid, outer.gid))
        .and_then(|namespace| sys::set_mount_attributes(tree, true, 0, Some(namespace.as_fd())));
    match mapped {
        Ok(()) => Ok(()),
        // For reading, what is readable by all will do.
        Err(_) if !dir.write => Ok(()),
        Err(e) => Err((
            format!(
                "this file system cannot map owners (an id-mapped mount), so a worker cannot write to {path}; \
                 move it to ext4, xfs, btrfs or tmpfs, or run the daemon as the user who owns it"
            ),
            e,
        )),
    }
}
