//! File operations that survive a crash: write, make durable, move into place, make the directory durable.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::entry::Digest;
use super::error::{RegistryError, io};

const DIR_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

pub(super) fn create_dir(path: &Path) -> Result<(), RegistryError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(io("creating", path))?;
    // The mode above passes through the umask; the one below does not.
    fs::set_permissions(path, Permissions::from_mode(DIR_MODE)).map_err(io("creating", path))?;
    sync_dir_of(path)
}

/// The names in a directory; none where there is no such directory.
pub(super) fn names(path: &Path) -> Result<Vec<String>, RegistryError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io("reading", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io("reading", path))?;
        // Every name that this program writes is text.
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

pub(super) fn remove(path: &Path) -> Result<(), RegistryError> {
    let facts = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        facts => facts.map_err(io("removing", path))?,
    };
    let removed = if facts.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(io("removing", path))
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(io("reading", path)),
    }
}

/// Writes a new file durably.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut file = create(path)?;
    file.write_all(bytes)
        .and_then(|()| finish(&file))
        .map_err(io("writing", path))
}

/// Copies a file durably into a new one, and tells what was copied.
pub(super) fn copy_hashed(from: &Path, to: &Path) -> Result<(Digest, u64), RegistryError> {
    let mut target = create(to)?;
    let read = hash_into(from, |bytes| {
        target.write_all(bytes).map_err(io("writing", to))
    })?;
    finish(&target).map_err(io("writing", to))?;
    Ok(read)
}

pub(super) fn hash(path: &Path) -> Result<Digest, RegistryError> {
    Ok(hash_into(path, |_| Ok(()))?.0)
}

fn hash_into(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), RegistryError>,
) -> Result<(Digest, u64), RegistryError> {
    let mut file = File::open(path).map_err(io("reading", path))?;
    let (mut hasher, mut total, mut buffer) = (Sha256::new(), 0, vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((Digest::of(&hasher.finalize().into()), total)),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                total += n as u64;
                each(&buffer[..n])?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io("reading", path)(error)),
        }
    }
}

fn create(path: &Path) -> Result<File, RegistryError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(io("creating", path))
}

fn finish(file: &File) -> std::io::Result<()> {
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.sync_all()
}

/// Moves a durable file into place, over what is there.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), RegistryError> {
    fs::rename(from, to).map_err(io("writing", to))?;
    sync_dir_of(to)
}

/// Moves a durable file into place, unless something is there; tells whether it did.
pub(super) fn link_new(from: &Path, to: &Path) -> Result<bool, RegistryError> {
    let linked = match fs::hard_link(from, to) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(io("writing", to)(error)),
    };
    remove(from)?;
    sync_dir_of(to)?;
    Ok(linked)
}

pub(super) fn sync_dir_of(path: &Path) -> Result<(), RegistryError> {
    let dir = path.parent().unwrap_or(path);
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io("writing", dir))
}

/// Makes a tree readable by every user id, because workers have mapped ones, and durable. Links and special files are
/// refused: nobody may follow one out of a bundle.
pub(super) fn open_to_all_and_sync(root: &Path) -> Result<(), RegistryError> {
    fn walk(root: &Path, dir: &Path) -> Result<(), RegistryError> {
        fs::set_permissions(dir, Permissions::from_mode(DIR_MODE)).map_err(io("opening", dir))?;
        for entry in fs::read_dir(dir).map_err(io("reading", dir))? {
            let entry = entry.map_err(io("reading", dir))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(io("reading", dir))?);
            if kind.is_dir() {
                walk(root, &path)?;
            } else if kind.is_file() {
                // A program of a wheel stays one.
                let there = entry
                    .metadata()
                    .map_err(io("reading", &path))?
                    .permissions();
                let runs = if there.mode() & 0o100 == 0 { 0 } else { 0o111 };
                fs::set_permissions(&path, Permissions::from_mode(FILE_MODE | runs))
                    .map_err(io("opening", &path))?;
                File::open(&path)
                    .and_then(|file| file.sync_all())
                    .map_err(io("writing", &path))?;
            } else {
                return Err(RegistryError::Special {
                    path: path.strip_prefix(root).unwrap_or(&path).to_owned(),
                });
            }
        }
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(io("writing", dir))
    }
    walk(root, root)
}
