//! A directory that is held open, and what lies beneath it.
//!
//! The kernel resolves every path beneath the descriptor and through no link
//! (openat2(2): RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS),
//! and what is judged is the descriptor that is then read. So nothing that is
//! swapped meanwhile leads elsewhere. What is written replaces a link and
//! never follows one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::project::ProjectError;

/// An interrupted look-up is tried again so often.
const TRIES: usize = 16;

/// A directory, and whose files it may be read for.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
    dir: Arc<OwnedFd>,
    /// Read for this user: the directory must be its own, and what lies in it
    /// its own or readable for everybody.
    user: Option<u32>,
}

/// What lies in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File { size: u64 },
    Dir,
    Link,
    Other,
}

impl Tree {
    /// Opens `root`, which may itself be reached through links.
    pub(crate) fn open(root: &Path, user: Option<u32>) -> Result<Self, ProjectError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(root, flags, Mode::empty())
            .map_err(io::Error::from)
            .map_err(ProjectError::io(root))?;
        let tree = Self {
            root: root.to_owned(),
            dir: Arc::new(dir),
            user,
        };
        let stat = tree.stat(&tree.dir, "")?;
        match user {
            Some(user) if stat.st_uid != user => Err(tree.not_theirs("", user)),
            _ => Ok(tree),
        }
    }

    /// Opens a file. `path` is relative, with `/` and without `.` and `..`.
    pub(crate) fn file(&self, path: &str) -> Result<File, ProjectError> {
        // A FIFO would keep a blocking open waiting; nothing that is no file is read.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = self.beneath(path, flags)?;
        let stat = self.stat(&file, path)?;
        if !matches!(kind(&stat), Kind::File { .. }) {
            return Err(not_a_file(path, kind(&stat)));
        }
        self.allow(&stat, path, Mode::S_IROTH)?;
        Ok(file.into())
    }

    /// A file's content, at most so many bytes of it.
    pub(crate) fn read(&self, path: &str, most: u64) -> Result<Vec<u8>, ProjectError> {
        let mut content = Vec::new();
        let file = self.file(path)?;
        let read = file.take(most + 1).read_to_end(&mut content);
        read.map_err(self.io(path))?;
        if content.len() as u64 > most {
            return Err(ProjectError::TooLarge {
                path: path.into(),
                most,
            });
        }
        Ok(content)
    }

    /// What there is, links not followed; none where nothing is.
    pub(crate) fn kind(&self, path: &str) -> Result<Option<Kind>, ProjectError> {
        // O_PATH | O_NOFOLLOW is the one way to a link itself; RESOLVE_NO_SYMLINKS
        // allows it for the last part.
        let found = self.try_beneath(path, OFlag::O_PATH | OFlag::O_NOFOLLOW);
        match found {
            Ok(found) => Ok(Some(kind(&self.stat(&found, path)?))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(self.refused(path, error)),
        }
    }

    /// The names in a directory beneath, in no order; `""` is the directory
    /// itself.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<OsString>, ProjectError> {
        let at = if path.is_empty() { "." } else { path };
        let found = self.beneath(at, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let stat = self.stat(&found, path)?;
        self.allow(&stat, path, Mode::S_IROTH | Mode::S_IXOTH)?;
        let io = |error: Errno| self.io(path)(error.into());
        let mut names = Vec::new();
        for entry in Dir::from_fd(found).map_err(io)?.iter() {
            let name = entry.map_err(io)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Writes a file anew. Its directory must be there; what stood under its name, a link as well, is replaced.
    pub(crate) fn write(&self, path: &str, from: &mut impl Read) -> Result<(), ProjectError> {
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
        let dir = self.beneath(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let new = format!(".{name}.{}", std::process::id());
        let io = |error: Errno| self.io(path)(error.into());
        match unlinkat(&dir, new.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(io(error)),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let mut file = File::from(openat(&dir, new.as_str(), flags, mode).map_err(io)?);
        let written = io::copy(from, &mut file)
            .map_err(self.io(path))
            .and_then(|_| renameat(&dir, new.as_str(), &dir, name).map_err(io));
        if written.is_err() {
            let _ = unlinkat(&dir, new.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Makes a directory, unless it is there; so are those above it.
    pub(crate) fn make_dirs(&self, path: &str) -> Result<(), ProjectError> {
        let mut above = String::from(".");
        for name in path.split('/') {
            let dir = self.beneath(&above, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
            match mkdirat(&dir, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(self.io(path)(error.into())),
            }
            above = format!("{above}/{name}");
        }
        self.beneath(&above, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .map(|_| ())
    }

    fn beneath(&self, path: &str, flags: OFlag) -> Result<OwnedFd, ProjectError> {
        self.try_beneath(path, flags)
            .map_err(|error| self.refused(path, error))
    }

    fn try_beneath(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        for _ in 1..TRIES {
            match openat2(self.dir.as_fd(), path, how) {
                // The tree was renamed under the look-up (openat2(2)).
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                found => return found,
            }
        }
        openat2(self.dir.as_fd(), path, how)
    }

    fn stat(&self, found: &impl AsFd, path: &str) -> Result<FileStat, ProjectError> {
        fstat(found).map_err(|error| self.io(path)(error.into()))
    }

    /// Refuses what the user of this tree could not read by itself.
    fn allow(&self, stat: &FileStat, path: &str, others: Mode) -> Result<(), ProjectError> {
        let open_to_all = Mode::from_bits_truncate(stat.st_mode).contains(others);
        match self.user {
            Some(user) if stat.st_uid != user && !open_to_all => Err(self.not_theirs(path, user)),
            _ => Ok(()),
        }
    }

    fn not_theirs(&self, path: &str, user: u32) -> ProjectError {
        ProjectError::NotTheirs {
            path: self.root.join(path),
            user,
        }
    }

    fn refused(&self, path: &str, error: Errno) -> ProjectError {
        match error {
            Errno::ELOOP => not_a_file(path, Kind::Link),
            // A socket, or a device without its driver.
            Errno::ENXIO | Errno::ENODEV => not_a_file(path, Kind::Other),
            error => self.io(path)(error.into()),
        }
    }

    fn io(&self, path: &str) -> impl FnOnce(io::Error) -> ProjectError {
        let path = self.root.join(path);
        move |source| ProjectError::Io { path, source }
    }
}

fn kind(stat: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Kind::File {
            size: u64::try_from(stat.st_size).unwrap_or(0),
        },
        SFlag::S_IFDIR => Kind::Dir,
        SFlag::S_IFLNK => Kind::Link,
        _ => Kind::Other,
    }
}

/// What a bundle cannot carry.
pub(crate) fn not_a_file(path: &str, kind: Kind) -> ProjectError {
    ProjectError::NotAFile {
        path: path.into(),
        what: match kind {
            Kind::Link => "a symbolic link",
            _ => "neither a file nor a directory",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::unistd::{Uid, geteuid};
    use tempfile::TempDir;

    use super::*;

    fn tree() -> (TempDir, TempDir, Tree) {
        let (dir, secret) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/a.py"), "own").unwrap();
        fs::write(secret.path().join("a.py"), "secret").unwrap();
        let tree = Tree::open(dir.path(), None).unwrap();
        (dir, secret, tree)
    }

    fn read(tree: &Tree, path: &str) -> Result<String, String> {
        let content = tree.read(path, 100).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(content).unwrap())
    }

    #[test]
    fn a_file_that_became_a_link_after_it_was_looked_at_is_not_read() {
        let (dir, secret, tree) = tree();
        let file = dir.path().join("src/a.py");
        assert_eq!(tree.kind("src/a.py").unwrap(), Some(Kind::File { size: 3 }));
        fs::remove_file(&file).unwrap();
        symlink(secret.path().join("a.py"), &file).unwrap();
        let refused = read(&tree, "src/a.py").unwrap_err();
        assert!(refused.contains("a symbolic link"), "{refused}");
        assert_eq!(tree.kind("src/a.py").unwrap(), Some(Kind::Link));
    }

    #[test]
    fn a_directory_that_became_a_link_is_not_entered() {
        let (dir, secret, tree) = tree();
        fs::rename(dir.path().join("src"), dir.path().join("old")).unwrap();
        symlink(secret.path(), dir.path().join("src")).unwrap();
        assert!(
            read(&tree, "src/a.py")
                .unwrap_err()
                .contains("a symbolic link")
        );
        assert!(tree.names("src").is_err());
    }

    #[test]
    fn a_root_that_was_swapped_stays_the_one_that_was_opened() {
        let (dir, secret, tree) = tree();
        let moved = dir.path().with_extension("moved");
        fs::rename(dir.path(), &moved).unwrap();
        symlink(secret.path(), dir.path()).unwrap();
        assert_eq!(read(&tree, "src/a.py").unwrap(), "own");
        fs::remove_file(dir.path()).unwrap();
        fs::rename(&moved, dir.path()).unwrap();
    }

    #[test]
    fn nothing_outside_and_nothing_but_files_is_read() {
        let (dir, _secret, tree) = tree();
        assert!(read(&tree, "../../etc/passwd").is_err());
        assert!(read(&tree, "/etc/passwd").is_err());
        assert!(read(&tree, "src").is_err());
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRUSR).unwrap();
        let refused = read(&tree, "pipe").unwrap_err();
        assert!(refused.contains("neither a file"), "{refused}");
    }

    #[test]
    fn what_is_written_replaces_a_link_and_never_goes_through_one() {
        let (dir, secret, tree) = tree();
        let (file, theirs) = (dir.path().join("src/a.py"), secret.path().join("a.py"));
        fs::remove_file(&file).unwrap();
        symlink(&theirs, &file).unwrap();
        tree.write("src/a.py", &mut "new".as_bytes()).unwrap();
        assert_eq!(read(&tree, "src/a.py").unwrap(), "new");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "secret");
        assert_eq!(fs::read_dir(dir.path().join("src")).unwrap().count(), 1);
        symlink(secret.path(), dir.path().join("linked")).unwrap();
        assert!(tree.write("linked/b.py", &mut "new".as_bytes()).is_err());
        assert!(tree.make_dirs("linked/c").is_err());
        assert_eq!(fs::read_dir(secret.path()).unwrap().count(), 1);
        tree.make_dirs("x/y").unwrap();
        tree.make_dirs("x/y").unwrap();
        tree.write("x/y/z", &mut "new".as_bytes()).unwrap();
        assert_eq!(read(&tree, "x/y/z").unwrap(), "new");
    }

    #[test]
    fn a_file_that_grew_beyond_the_cap_is_refused() {
        let (dir, _secret, tree) = tree();
        fs::write(dir.path().join("src/a.py"), "x".repeat(101)).unwrap();
        assert!(
            read(&tree, "src/a.py")
                .unwrap_err()
                .contains("more than 100 bytes")
        );
    }

    #[test]
    fn for_a_user_only_its_own_folder_is_opened_and_in_it_only_what_it_may_read() {
        let (dir, _secret, _) = tree();
        let me = geteuid().as_raw();
        let refused = Tree::open(dir.path(), Some(me + 1))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("is not a folder of"), "{refused}");
        let mine = Tree::open(dir.path(), Some(me)).unwrap();
        assert_eq!(read(&mine, "src/a.py").unwrap(), "own");
        if !geteuid().is_root() {
            return; // nobody else can give a file away
        }
        let other = Uid::from_raw(64_999);
        nix::unistd::chown(dir.path(), Some(other), None).unwrap();
        let theirs = Tree::open(dir.path(), Some(64_999)).unwrap();
        let file = dir.path().join("src/a.py");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(
            read(&theirs, "src/a.py").is_err(),
            "root's, and for root alone"
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&theirs, "src/a.py").unwrap(), "own");
        fs::set_permissions(dir.path().join("src"), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(theirs.names("src").is_err());
    }
}
