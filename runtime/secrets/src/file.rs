//! The file provider: reads regular files inside one directory and nothing else.
//!
//! The kernel holds the fence: `openat2` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, relative to a descriptor of the
//! directory that was opened once. No symbolic link is followed, also not one that stays inside: whoever may write one
//! subdirectory must not reach its neighbour under a name that a policy grants.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use zeroize::Zeroizing;

use crate::lasting::Lasting;
use crate::provider::{Content, Provider, ProviderError, Session};
use crate::reference::Scheme;
use crate::value::SecretValue;

/// The largest secret file, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Secrets in the files of one directory. Cheap to clone.
#[derive(Clone)]
pub struct FileProvider {
    dir: Arc<OwnedFd>,
    path: PathBuf,
}

impl FileProvider {
    /// Opens the directory; what is mounted or renamed over its name later is not seen.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn new(dir: &Path) -> Result<FileProvider, FileProviderError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(dir, flags, Mode::empty()) {
            Ok(fd) => Ok(FileProvider {
                dir: Arc::new(fd),
                path: dir.to_owned(),
            }),
            Err(errno) => Err(FileProviderError {
                dir: dir.to_owned(),
                errno,
            }),
        }
    }
}

/// The configured directory of secret files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the directory of secret files {} cannot be opened ({errno}); create it (mode 0700, owned by the daemon's user) or leave it out of the configuration", dir.display())]
pub struct FileProviderError {
    /// The directory.
    pub dir: PathBuf,
    /// The cause.
    pub errno: Errno,
}

#[async_trait]
impl Provider for FileProvider {
    fn scheme(&self) -> Scheme {
        Scheme::File
    }

    async fn open(&self, _: &str) -> Result<Box<dyn Session>, ProviderError> {
        Ok(self.session())
    }
}

#[async_trait]
impl Lasting for FileProvider {
    async fn get(&self, path: &str) -> Result<Content, ProviderError> {
        let (dir, path, shown) = (self.dir.clone(), path.to_owned(), self.path.clone());
        let value = tokio::task::spawn_blocking(move || read(&dir, &path, &shown))
            .await
            .map_err(|_| ProviderError::unavailable("reading was interrupted", "try again"))??;
        Ok(Content::Text(value))
    }
}

fn read(dir: &OwnedFd, path: &str, shown: &Path) -> Result<SecretValue, ProviderError> {
    let file = open_beneath(dir, path).map_err(|errno| explain(errno, shown))?;
    read_open(&File::from(file))
}

/// The text of a regular file, without its last newline.
pub(crate) fn read_open(file: &File) -> Result<SecretValue, ProviderError> {
    let facts = file.metadata().map_err(|error| unreadable(&error))?;
    if !facts.is_file() {
        return Err(ProviderError::malformed(
            "not a regular file",
            "refer to a regular file",
        ));
    }
    let too_large = || {
        ProviderError::malformed(
            format!("larger than {MAX_FILE_BYTES} bytes"),
            "refer to a file that holds one secret",
        )
    };
    let size = usize::try_from(facts.len()).unwrap_or(usize::MAX);
    if size > MAX_FILE_BYTES {
        return Err(too_large());
    }
    // One allocation that never grows, so that no copy is left behind in freed memory.
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match (&*file).read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    if filled > size {
        return Err(ProviderError::unavailable(
            "the file grew while it was read",
            "replace secret files by renaming, and try again",
        ));
    }
    let text = std::str::from_utf8(&bytes[..filled]).map_err(|_| {
        ProviderError::malformed("not UTF-8", "store binary secrets as base64 text")
    })?;
    let text = text
        .strip_suffix('\n')
        .map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        return Err(ProviderError::malformed(
            "the file is empty",
            "write the secret into it",
        ));
    }
    Ok(SecretValue::new(text))
}

fn open_beneath(dir: &OwnedFd, path: &str) -> nix::Result<OwnedFd> {
    // Non-blocking: opening a FIFO would otherwise wait for a writer for ever.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    // EAGAIN: something was renamed during the walk and the kernel cannot prove the fence (openat2(2)).
    for _ in 0..8 {
        match openat2(dir, path, OpenHow::new().flags(flags).resolve(resolve)) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
    Err(Errno::EAGAIN)
}

fn unreadable(error: &std::io::Error) -> ProviderError {
    ProviderError::unavailable(
        format!("the file cannot be read ({})", error.kind()),
        "try again, or look at the disk",
    )
}

fn explain(errno: Errno, dir: &Path) -> ProviderError {
    let dir = dir.display();
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => ProviderError::not_found(
            format!("no such file in {dir}"),
            "write the secret into that file, or mend the reference",
        ),
        Errno::ELOOP => ProviderError::denied(
            "a symbolic link is on the path",
            format!("put the file itself into {dir}"),
        ),
        Errno::EXDEV => ProviderError::denied(
            "the path leaves the directory",
            format!("put the file into {dir}"),
        ),
        Errno::EACCES | Errno::EPERM => ProviderError::denied(
            "the daemon's user may not read the file",
            "give it to the daemon's user, mode 0400",
        ),
        Errno::ENOSYS => ProviderError::denied(
            "this kernel has no openat2",
            "run the daemon on Linux 5.6 or later",
        ),
        other => {
            ProviderError::unavailable(format!("the file cannot be opened ({other})"), "try again")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderFault;
    use std::fs;
    use std::os::unix::fs::symlink;

    async fn text(provider: &FileProvider, path: &str) -> Result<String, ProviderError> {
        match provider.get(path).await? {
            Content::Text(text) => Ok(text.expose().to_owned()),
            Content::Fields(_) | Content::Same(_) => panic!("a file is one text"),
        }
    }

    #[tokio::test]
    async fn a_file_is_read_without_its_last_newline() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("shop")).unwrap();
        for (written, expected) in [
            ("a b", "a b"),
            ("x\n", "x"),
            ("x\r\n", "x"),
            ("x\n\n", "x\n"),
            (" x ", " x "),
        ] {
            fs::write(dir.path().join("shop/token"), written).unwrap();
            let provider = FileProvider::new(dir.path()).unwrap();
            assert_eq!(text(&provider, "shop/token").await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn nothing_outside_the_directory_is_reached() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("outside"), "hunter22").unwrap();
        let dir = outer.path().join("secrets");
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("inside"), "fine").unwrap();
        symlink("../outside", dir.join("link")).unwrap();
        symlink("inside", dir.join("near")).unwrap();
        symlink("..", dir.join("sub/up")).unwrap();
        let provider = FileProvider::new(&dir).unwrap();
        let absolute = outer.path().join("outside");
        for path in [
            "../outside",
            "link",
            "near",
            "sub/up/inside",
            "sub/../../outside",
            absolute.to_str().unwrap(),
            "/etc/passwd",
        ] {
            let error = text(&provider, path).await.unwrap_err();
            assert_eq!(error.fault, ProviderFault::Denied, "{path}: {error}");
        }
        assert_eq!(text(&provider, "inside").await.unwrap(), "fine");
    }

    #[tokio::test]
    async fn what_is_no_secret_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("empty"), "\n").unwrap();
        fs::write(at("bytes"), [0xff, 0xfe]).unwrap();
        fs::write(at("largest"), "x".repeat(MAX_FILE_BYTES)).unwrap();
        fs::write(at("large"), "x".repeat(MAX_FILE_BYTES + 1)).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRUSR).unwrap();
        let provider = FileProvider::new(dir.path()).unwrap();
        assert_eq!(
            text(&provider, "largest").await.unwrap().len(),
            MAX_FILE_BYTES
        );
        for (name, fault) in [
            ("folder", ProviderFault::Malformed),
            ("empty", ProviderFault::Malformed),
            ("bytes", ProviderFault::Malformed),
            ("large", ProviderFault::Malformed),
            ("fifo", ProviderFault::Malformed),
            ("none", ProviderFault::NotFound),
            ("largest/below", ProviderFault::NotFound),
        ] {
            let error = text(&provider, name).await.unwrap_err();
            assert_eq!(error.fault, fault, "{name}: {error}");
            assert!(!error.help.is_empty());
        }
    }

    #[test]
    fn a_missing_directory_is_named_with_what_to_do() {
        let error = FileProvider::new(Path::new("/nonexistent/secrets"))
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("/nonexistent/secrets") && error.contains("create it"),
            "{error}"
        );
    }
}
