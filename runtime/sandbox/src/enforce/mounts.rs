//! The new root: a tmpfs, the copies put into it, files written from nothing; then pivot and read-only.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use caisson_without::{Part, without};
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{fchdir, pivot_root};

use super::{Fault, Step, Trees};
use crate::plan::MountStep;
use crate::{Plan, sys};

const PRIVATE: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Builds the root over a directory that every system has; it becomes the working directory.
pub(super) fn build(plan: &Plan, mut trees: Trees, ca_bundle: Option<&[u8]>) -> Result<(), Fault> {
    let fault = |what: &str, e: io::Error| Fault::new(Step::Mounts, what, e);
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(|e| fault("keeping mounts to itself", e.into()))?;
    let root = ["/tmp", "/dev", "/sys", "/usr"]
        .into_iter()
        .map(Path::new)
        .find(|dir| dir.is_dir())
        .ok_or_else(|| {
            fault(
                "no directory to build the root on",
                io::ErrorKind::NotFound.into(),
            )
        })?;
    let options = format!("mode=0755,size={},nr_inodes=2048", plan.root_bytes);
    mount(
        Some("caisson"),
        root,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .map_err(|e| fault("a tmpfs for the root", e.into()))?;
    for (number, step) in plan.mounts.iter().enumerate() {
        put(root, number, step, &mut trees, ca_bundle).map_err(|e| fault(&describe(step), e))?;
    }
    std::env::set_current_dir(root).map_err(|e| fault("entering the new root", e))
}

fn describe(step: &MountStep) -> String {
    match step {
        MountStep::Bind { from, at, .. } => {
            format!("binding {} at {}", from.display(), at.display())
        }
        MountStep::HostDir(dir) => format!("binding {}", dir.dir.display()),
        MountStep::Hide { at } => format!("hiding {}", at.display()),
        MountStep::Tmpfs { at, .. } => format!("a tmpfs at {}", at.display()),
        MountStep::Symlink { at, .. } => format!("the link {}", at.display()),
        MountStep::File { at, .. } => format!("writing {}", at.display()),
        MountStep::CaBundle { at, .. } => format!("copying the CA bundle to {}", at.display()),
        MountStep::Proc { at } => format!("proc at {}", at.display()),
    }
}

fn put(
    root: &Path,
    number: usize,
    step: &MountStep,
    trees: &mut Trees,
    ca: Option<&[u8]>,
) -> io::Result<()> {
    let inside = |at: &Path| root.join(at.strip_prefix("/").unwrap_or(at));
    match step {
        MountStep::Bind { at, .. } => attach(&inside(at), number, trees),
        MountStep::HostDir(dir) => attach(&inside(&dir.dir), number, trees),
        MountStep::Hide { at } => {
            let at = inside(at);
            if at.is_dir() {
                tmpfs(&at, 4096, PRIVATE | MsFlags::MS_RDONLY, "mode=0555")
            } else {
                Ok(())
            }
        }
        MountStep::Tmpfs { at, bytes } => {
            let at = inside(at);
            make_dir(&at)?;
            tmpfs(&at, *bytes, PRIVATE, "mode=0700")
        }
        MountStep::Symlink { at, to } => {
            let at = inside(at);
            make_parent(&at)?;
            symlink(to, at)
        }
        MountStep::File { at, contents } => write(&inside(at), contents.as_bytes()),
        MountStep::CaBundle { at, .. } => ca.map_or(Ok(()), |bytes| write(&inside(at), bytes)),
        MountStep::Proc { at } => proc(&inside(at)),
    }
}

fn attach(at: &Path, number: usize, trees: &mut Trees) -> io::Result<()> {
    let Some(tree) = trees.take(number) else {
        return Ok(());
    };
    if tree.is_dir {
        make_dir(at)?;
    } else if !at.is_file() {
        make_parent(at)?;
        fs::File::create(at)?;
    }
    sys::attach_tree(tree.fd.as_fd(), at)
}

fn tmpfs(at: &Path, bytes: u64, flags: MsFlags, mode: &str) -> io::Result<()> {
    // One inode per page at most, or many empty files would use memory that the size does not count.
    let inodes = (bytes / 4096).clamp(16, 65_536);
    let options = format!("{mode},size={bytes},nr_inodes={inodes}");
    Ok(mount(
        Some("caisson"),
        at,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )?)
}

/// Only the worker's own processes and nothing of the kernel's; where a container masks /proc, so that none can
/// be mounted, an empty directory, which is stricter.
fn proc(at: &Path) -> io::Result<()> {
    make_dir(at)?;
    let mut flags = PRIVATE | MsFlags::MS_RDONLY;
    let mut masks = ["hidepid=2,subset=pid", "hidepid=2"];
    if without(Part::Proc) {
        (flags, masks) = (PRIVATE, [""; 2]);
    }
    for options in masks {
        match mount(Some("proc"), at, Some("proc"), flags, Some(options)) {
            Ok(()) => return Ok(()),
            Err(nix::Error::EINVAL) => continue,
            Err(_) => break,
        }
    }
    tmpfs(at, 4096, flags, "mode=0555")
}

fn make_dir(at: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(at)
}

fn make_parent(at: &Path) -> io::Result<()> {
    at.parent().map_or(Ok(()), make_dir)
}

fn write(at: &PathBuf, contents: &[u8]) -> io::Result<()> {
    make_parent(at)?;
    fs::write(at, contents)?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o444))
}

/// Leaves the old root for the one in the working directory, unmounts it and makes the new one read-only.
pub(super) fn pivot() -> Result<(), Fault> {
    let fault = |what: &str, e: io::Error| Fault::new(Step::Pivot, what, e);
    let directory = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
    let old = nix::fcntl::open("/", directory, Mode::empty())
        .map_err(|e| fault("opening the old root", e.into()))?;
    pivot_root(".", ".").map_err(|e| fault("pivot_root", e.into()))?;
    // The old root now lies over the new one: step onto it, let go of it, step down.
    fchdir(&old).map_err(|e| fault("entering the old root", e.into()))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|e| fault("unmounting the old root", e.into()))?;
    std::env::set_current_dir("/").map_err(|e| fault("entering the new root", e))?;
    let root = nix::fcntl::open("/", directory, Mode::empty())
        .map_err(|e| fault("opening the new root", e.into()))?;
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    sys::set_mount_attributes(root.as_fd(), false, attributes, None)
        .map_err(|e| fault("making the root read-only", e))
}
