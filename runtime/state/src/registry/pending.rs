//! Archives whose version is not published yet.
//!
//! An archive is in place before its entry is, so that no entry ever names nothing. A crash between the two would
//! leave an archive that belongs to nobody; so each is announced in `tmp` first, and only what was announced is ever
//! removed: an archive that merely has no entry may be half of a backup.

use std::path::{Path, PathBuf};

use super::entry::Digest;
use super::error::RegistryError;
use super::files;

const END: &str = ".pending";

/// The announcement of one archive.
pub(super) struct Pending(PathBuf);

impl Pending {
    /// Announces it, durably. `tmp` is a name of its own in `tmp/`.
    pub(super) fn announce(tmp: &Path, digest: &Digest) -> Result<Pending, RegistryError> {
        let mut name = tmp.as_os_str().to_owned();
        name.push(format!("-{}{END}", digest.hex()));
        let path = PathBuf::from(name);
        files::write(&path, b"")?;
        files::sync_dir_of(&path)?;
        Ok(Pending(path))
    }

    /// Takes it back: a version names the archive, or there is no archive.
    pub(super) fn settle(self) -> Result<(), RegistryError> {
        files::remove(&self.0)
    }
}

/// Removes the archives that were announced and that no version names, before `tmp` is emptied.
pub(super) fn sweep(root: &Path) -> Result<(), RegistryError> {
    let announced: Vec<String> = files::names(&root.join("tmp"))?
        .iter()
        .filter_map(|name| Some(name.strip_suffix(END)?.rsplit_once('-')?.1.to_owned()))
        .collect();
    if announced.is_empty() {
        return Ok(());
    }
    let entries = entries(&root.join("index"))?;
    for hex in announced {
        // Whatever an entry says of it: one that is damaged still keeps its archive.
        if !entries.iter().any(|entry| entry.contains(&hex)) {
            files::remove(&root.join("archives").join(format!("{hex}.tar.gz")))?;
        }
    }
    Ok(())
}

/// The text of every published version.
fn entries(index: &Path) -> Result<Vec<String>, RegistryError> {
    let mut texts = Vec::new();
    for workspace in files::names(index)? {
        for name in files::names(&index.join(&workspace))? {
            let dir = index.join(&workspace).join(name);
            for file in files::names(&dir)? {
                let text = files::read_if_there(&dir.join(file))?.unwrap_or_default();
                texts.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    Ok(texts)
}
