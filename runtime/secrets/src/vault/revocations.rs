//! Which tokens of calls are still to be revoked, kept where a crash of the daemon does not lose them.
//!
//! An accessor names a token and cannot be used as one: it may lie on a disk.
//! <https://openbao.org/docs/concepts/tokens/#token-accessors>

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A list of accessors that outlives the process. Its functions may block.
pub trait Revocations: Send + Sync {
    /// A token was made. When this returns, the list holds it whatever happens.
    ///
    /// # Errors
    /// It is not held; the token is then not used.
    fn note(&self, accessor: &str) -> io::Result<()>;

    /// A token was revoked. One that is not held is no error.
    ///
    /// # Errors
    /// It is still held, and will be revoked once more, which does no harm.
    fn done(&self, accessor: &str) -> io::Result<()>;

    /// All that are held.
    ///
    /// # Errors
    /// The list cannot be read.
    fn pending(&self) -> io::Result<Vec<String>>;
}

/// One empty file for each accessor in a directory that only the daemon's user can enter.
#[derive(Debug)]
pub struct RevocationDir {
    path: PathBuf,
}

impl RevocationDir {
    /// Makes the directory (0700) where there is none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<RevocationDir> {
        let path = path.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        Ok(RevocationDir { path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, accessor: &str) -> io::Result<PathBuf> {
        if is_accessor(accessor) {
            Ok(self.path.join(accessor))
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not an accessor of a token",
            ))
        }
    }
}

/// Letters and digits, and the id of a namespace behind a dot: always a plain file name.
fn is_accessor(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !text.starts_with('.') && (1..=128).contains(&text.len()) && text.bytes().all(plain)
}

impl Revocations for RevocationDir {
    fn note(&self, accessor: &str) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.file(accessor)?)?;
        file.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    fn done(&self, accessor: &str) -> io::Result<()> {
        match std::fs::remove_file(self.file(accessor)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn pending(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name().into_string();
            found.extend(name.ok().filter(|name| is_accessor(name)));
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_noted_is_pending_until_it_is_done_also_for_a_later_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = RevocationDir::new(&path).unwrap();
        for accessor in ["two.ns1", "one", "one"] {
            first.note(accessor).unwrap();
        }
        let later = RevocationDir::new(&path).unwrap();
        assert_eq!(later.pending().unwrap(), ["one", "two.ns1"]);
        later.done("one").unwrap();
        later.done("one").unwrap();
        assert_eq!(first.pending().unwrap(), ["two.ns1"]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("two.ns1"))), (0o700, 0o600));
    }

    #[test]
    fn a_name_from_the_vault_does_not_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let list = RevocationDir::new(dir.path()).unwrap();
        for accessor in ["../x", "a/b", "", ".", "..", "a\0b", &"x".repeat(200)] {
            assert!(list.note(accessor).is_err(), "{accessor:?}");
        }
    }
}
