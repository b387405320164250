//! The mount calls that work on descriptors: open_tree, move_mount, mount_setattr.

use std::ffi::{CString, c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

fn path(path: &std::path::Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// open_tree(2): a detached copy of a mount, by path.
pub(crate) fn clone_tree(at: &std::path::Path) -> io::Result<OwnedFd> {
    tree(libc::AT_FDCWD, &path(at)?, 0)
}

/// open_tree(2): a detached copy of what an O_PATH descriptor stands for.
pub(crate) fn clone_tree_at(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    tree(dir.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn tree(dir: RawFd, path: &std::ffi::CStr, extra: c_int) -> io::Result<OwnedFd> {
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (libc::AT_RECURSIVE | extra) as c_uint;
    // SAFETY: the path is a live C string; the result is a new descriptor.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_open_tree,
            dir,
            path.as_ptr(),
            flags,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// move_mount(2): puts a detached mount at a path.
pub(crate) fn attach_tree(tree: BorrowedFd<'_>, at: &std::path::Path) -> io::Result<()> {
    let at = path(at)?;
    // SAFETY: both strings live through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            at.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// mount_setattr(2) on a whole tree; `idmap` is a user namespace.
pub(crate) fn set_mount_attributes(
    tree: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    idmap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set
            | if idmap.is_some() {
                libc::MOUNT_ATTR_IDMAP
            } else {
                0
            },
        attr_clr: 0,
        propagation: 0,
        userns_fd: idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: attr lives through the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}
