//! One running daemon with its data directory: an id, a lock, and a sweep of what dead ones left.
//!
//! Two locks are held for the daemon's life, both let go by the kernel when it dies: `lock` in the data directory
//! (one daemon per directory) and one by id in a directory of the host (so that a sweep can tell whose groups are
//! whose without knowing every data directory).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::InstanceError;
use crate::cgroup::{Cgroup, Hierarchy};

/// A data directory that this process holds.
#[derive(Debug)]
pub struct Instance {
    id: String,
    dir: PathBuf,
    _lock: Flock<File>,
    _host_lock: Flock<File>,
}

impl Instance {
    /// Makes the directory (0700) where there is none, takes its lock, and reads or makes its id.
    ///
    /// # Errors
    /// [`InstanceError::Busy`] when another daemon holds it.
    pub fn open(dir: &Path) -> Result<Instance, InstanceError> {
        make_private(dir)?;
        let path = dir.join("lock");
        let mut lock = try_lock(&path)?.ok_or_else(|| {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = if holder.trim().is_empty() {
                "?".into()
            } else {
                holder.trim().to_owned()
            };
            InstanceError::Busy {
                dir: dir.to_owned(),
                holder,
            }
        })?;
        let written = lock
            .set_len(0)
            .and_then(|()| writeln!(&mut *lock, "{}", std::process::id()));
        written.map_err(|source| InstanceError::Io {
            path: path.clone(),
            source,
        })?;
        let id = read_or_make_id(&dir.join("instance-id"))?;
        let host = host_dir()?;
        let path = host.join(format!("{id}.lock"));
        // Busy when a data directory was copied with its id while the first one runs.
        let host_lock = try_lock(&path)?.ok_or_else(|| InstanceError::Busy {
            dir: dir.to_owned(),
            holder: format!("? (the id {id} is in use)"),
        })?;
        Ok(Instance {
            id,
            dir: dir.to_owned(),
            _lock: lock,
            _host_lock: host_lock,
        })
    }

    /// Its id: eight characters, kept in the data directory.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name of a worker's cgroup.
    pub fn group_name(&self, worker: u64) -> String {
        format!("caisson-{}-{worker}", self.id)
    }

    /// What the names of groups that are made ahead of need begin with.
    pub(crate) fn spare_group_prefix(&self) -> String {
        format!("caisson-{}-spare-", self.id)
    }

    /// Ends and removes what instances without a living daemon left behind (and an earlier life of this one).
    /// Returns the names of the groups that were removed.
    pub fn sweep(&self, hierarchy: &Hierarchy) -> Result<Vec<String>, InstanceError> {
        let host = host_dir()?;
        let mut swept = Vec::new();
        for (name, dirs) in hierarchy.groups() {
            let Some(owner) = name
                .strip_prefix("caisson-")
                .and_then(|rest| rest.split_once('-'))
                .map(|(id, _)| id)
            else {
                continue;
            };
            // Held through the removal, so that a daemon that starts meanwhile is not swept.
            let held = if owner == self.id {
                None
            } else {
                try_lock(&host.join(format!("{owner}.lock")))?
            };
            if owner != self.id && held.is_none() {
                continue;
            }
            let group = Cgroup::existing(dirs);
            group.kill();
            if group.remove() {
                swept.push(name);
            }
        }
        Ok(swept)
    }
}

/// Removes the host's lock files of instances that have ended. Their next start makes them anew.
pub(crate) fn sweep_locks() -> Result<(), InstanceError> {
    let entries = fs::read_dir(host_dir()?).into_iter().flatten().flatten();
    let locks = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "lock"));
    for path in locks {
        if let Some(held) = try_lock(&path)? {
            let _ = fs::remove_file(&path);
            drop(held);
        }
    }
    Ok(())
}

/// Where the locks of all instances of this user on this host lie.
pub(crate) fn host_dir() -> Result<PathBuf, InstanceError> {
    let uid = nix::unistd::geteuid();
    let run = PathBuf::from(format!("/run/user/{uid}"));
    let dir = if uid.is_root() {
        PathBuf::from("/run/caisson")
    } else if nix::unistd::access(&run, nix::unistd::AccessFlags::W_OK).is_ok() {
        run.join("caisson")
    } else {
        PathBuf::from(format!("/tmp/caisson-{uid}"))
    };
    make_private(&dir)?;
    check_private(&dir)?;
    Ok(dir)
}

/// In /tmp, anybody could have made it first, or its owner left it open.
fn check_private(dir: &Path) -> Result<(), InstanceError> {
    let uid = nix::unistd::geteuid();
    let fault = |source: io::Error| InstanceError::Io {
        path: dir.to_owned(),
        source,
    };
    let owner = nix::sys::stat::lstat(dir).map_err(|e| fault(e.into()))?;
    if owner.st_uid != uid.as_raw() || owner.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return Err(fault(io::Error::other("belongs to somebody else")));
    }
    if owner.st_mode & 0o077 != 0 {
        return Err(fault(io::Error::other(
            "others may enter it, and it holds locks; chmod 700 it",
        )));
    }
    Ok(())
}

fn make_private(dir: &Path) -> Result<(), InstanceError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| InstanceError::Io {
            path: dir.to_owned(),
            source,
        })
}

/// `None` when another process holds it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<Flock<File>>, InstanceError> {
    loop {
        let Some(lock) = try_lock_once(path)? else {
            return Ok(None);
        };
        // A sweep may have removed the file between opening and locking it; then this lock guards nothing.
        let inode = |file: nix::Result<nix::sys::stat::FileStat>| file.ok().map(|stat| stat.st_ino);
        if inode(nix::sys::stat::fstat(&*lock)) == inode(nix::sys::stat::stat(path)) {
            return Ok(Some(lock));
        }
    }
}

fn try_lock_once(path: &Path) -> Result<Option<Flock<File>>, InstanceError> {
    let fault = |source: io::Error| InstanceError::Io {
        path: path.to_owned(),
        source,
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(fault)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::Error::EAGAIN)) => Ok(None),
        Err((_, e)) => Err(fault(e.into())),
    }
}

fn read_or_make_id(path: &Path) -> Result<String, InstanceError> {
    let fault = |source: io::Error| InstanceError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::read_to_string(path) {
        Ok(id) if id.trim().len() == 8 && id.trim().bytes().all(|b| b.is_ascii_hexdigit()) => {
            return Ok(id.trim().to_owned());
        }
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(fault(e)),
    }
    let mut bytes = [0u8; 4];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(fault)?;
    let id = format!("{:08x}", u32::from_ne_bytes(bytes));
    fs::write(path, format!("{id}\n")).map_err(fault)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_directory_of_locks_must_be_a_private_one_of_this_user() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        make_private(&at("own")).expect("made");
        check_private(&at("own")).expect("private");
        for mode in [0o701, 0o710, 0o770, 0o755, 0o777] {
            fs::set_permissions(at("own"), fs::Permissions::from_mode(mode)).expect("modes");
            let error = check_private(&at("own")).expect_err("open to others");
            assert!(error.to_string().contains("chmod 700"), "{mode:o}: {error}");
        }
        symlink(at("own"), at("link")).expect("a link");
        check_private(&at("link")).expect_err("a link");
    }
}
