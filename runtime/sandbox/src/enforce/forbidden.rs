//! Keeps what is the daemon's own out of granted directories, by whatever way it would be reached.
//!
//! Three comparisons, since each sees what another does not: names, as the kernel gives them for what was opened;
//! device and inode of the directory and of all above it; and, for bind mounts, the place in the file system that
//! lies behind a path, from proc_pid_mountinfo(5). Looks only; changes nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};

/// Refuses a directory that is, holds or lies beneath one of those; says which.
pub(super) fn check(granted: BorrowedFd<'_>, forbidden: &[PathBuf]) -> Result<(), Refusal> {
    let mounts = Mounts::read()?;
    let path = path_of(granted)?;
    let reach = mounts.reach(granted, &path)?;
    let above = inodes_above(granted)?;
    let own = above[0];
    for name in forbidden {
        let refuse = |how: &str| Err(Refusal::Own(how.to_owned(), name.clone()));
        let Ok(kept) = open(name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) else {
            // Not there yet, or not to be reached by this user: only its name can be compared.
            match relation(&path, name) {
                Some(how) => return refuse(how),
                None => continue,
            }
        };
        let real = path_of(kept.as_fd())?;
        if let Some(how) = relation(&path, &real).or_else(|| relation(&path, name)) {
            return refuse(how);
        }
        let stat = fstat(&kept).map_err(io::Error::from)?;
        if above.contains(&(stat.st_dev, stat.st_ino)) {
            return refuse("is, or lies beneath,");
        }
        let holds = |dir: &Path| fs::metadata(dir).is_ok_and(|it| (it.dev(), it.ino()) == own);
        if real.ancestors().any(holds) {
            return refuse("holds");
        }
        let kept = mounts.reach(kept.as_fd(), &real)?;
        if reach
            .iter()
            .any(|place| kept.iter().any(|other| place.overlaps(other)))
        {
            return refuse("reaches, through a mount,");
        }
    }
    Ok(())
}

/// Why a directory may not be granted.
#[derive(Debug)]
pub(super) enum Refusal {
    /// How it is related, and to what.
    Own(String, PathBuf),
    /// It could not be found out.
    Unknown(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(cause: io::Error) -> Self {
        Refusal::Unknown(cause)
    }
}

fn relation(granted: &Path, kept: &Path) -> Option<&'static str> {
    if granted == kept {
        Some("is")
    } else if granted.starts_with(kept) {
        Some("lies beneath")
    } else {
        kept.starts_with(granted).then_some("holds")
    }
}

/// What the kernel calls an opened file now; unlike the path it was opened by, nobody can exchange it.
fn path_of(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Device and inode of a directory and of each above it, up to the root.
fn inodes_above(dir: BorrowedFd<'_>) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let mut at: OwnedFd = dir.try_clone_to_owned()?;
    loop {
        let stat = fstat(&at)?;
        if found.last() == Some(&(stat.st_dev, stat.st_ino)) {
            return Ok(found);
        }
        found.push((stat.st_dev, stat.st_ino));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        at = openat(&at, "..", flags, Mode::empty())?;
    }
}

/// A directory or file by its file system, so that all its bind mounts are one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    device: String,
    path: PathBuf,
}

impl Place {
    fn overlaps(&self, other: &Place) -> bool {
        self.device == other.device
            && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

struct Mount {
    id: u64,
    at: PathBuf,
    root: Place,
}

struct Mounts(Vec<Mount>);

impl Mounts {
    fn read() -> io::Result<Mounts> {
        Mounts::parse(&fs::read_to_string("/proc/self/mountinfo")?)
            .ok_or_else(|| io::Error::other("a strange line in /proc/self/mountinfo"))
    }

    fn parse(text: &str) -> Option<Mounts> {
        let mount = |line: &str| {
            let mut words = line.split(' ');
            let id = words.next()?.parse().ok()?;
            let device = words.nth(1)?.to_owned();
            let path = unescape(words.next()?);
            let at = unescape(words.next()?);
            Some(Mount {
                id,
                at,
                root: Place { device, path },
            })
        };
        text.lines().map(mount).collect::<Option<_>>().map(Mounts)
    }

    /// The place of an opened file, and of everything that is mounted beneath it.
    fn reach(&self, fd: BorrowedFd<'_>, path: &Path) -> io::Result<Vec<Place>> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        let id: Option<u64> = id.and_then(|id| id.trim().parse().ok());
        let places = id.and_then(|id| self.places(id, path));
        places.ok_or_else(|| io::Error::other(format!("no mount known for {}", path.display())))
    }

    fn places(&self, id: u64, path: &Path) -> Option<Vec<Place>> {
        let mount = self.0.iter().find(|mount| mount.id == id)?;
        let rest = path.strip_prefix(&mount.at).ok()?;
        let own = Place {
            device: mount.root.device.clone(),
            // Joining nothing would leave a trailing slash, harmless to `starts_with`.
            path: mount.root.path.join(rest),
        };
        let beneath = self
            .0
            .iter()
            .filter(|other| other.id != id && other.at.starts_with(path));
        Some(
            std::iter::once(own)
                .chain(beneath.map(|other| other.root.clone()))
                .collect(),
        )
    }
}

/// Space, tab, newline and backslash are octal there.
fn unescape(word: &str) -> PathBuf {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(word.to_owned(), |text, (from, to)| text.replace(from, to))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_a_bind_mount_is_found_above_and_beneath() {
        let text = "21 1 8:1 / / rw - ext4 /dev/a rw\n\
                    22 21 8:1 /var/lib/data/deep /mnt/a\\040b rw - ext4 /dev/a rw\n\
                    23 21 8:2 / /srv rw - ext4 /dev/b rw\n\
                    24 23 8:1 /var /srv/in/side rw - ext4 /dev/a rw\n";
        let mounts = Mounts::parse(text).expect("mounts");
        let data = mounts.places(21, "/var/lib/data".as_ref()).expect("data");
        let overlaps = |id, path: &str| {
            let reach = mounts.places(id, path.as_ref()).expect("a mount");
            reach
                .iter()
                .any(|place| data.iter().any(|other| place.overlaps(other)))
        };
        assert!(overlaps(22, "/mnt/a b"), "a part of it, elsewhere");
        assert!(overlaps(22, "/mnt/a b/x"), "beneath that");
        assert!(overlaps(23, "/srv/in"), "a mount beneath that holds it");
        assert!(!overlaps(23, "/srv/other"), "another file system");
        assert!(!overlaps(21, "/var/lib/data2"), "a longer name");
    }
}
