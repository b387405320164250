//! The entries of an archive with their names. An archive may say a name in
//! an entry of its own before the file; those are read here, and only short
//! ones, because the tar crate takes them into memory whatever their size.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use crate::BundleError;

/// Bytes of an entry that describes the next one.
const MAX_DESCRIPTION: u64 = 4096;
/// Characters of a name in an error.
const MAX_SHOWN: usize = 200;

/// Calls `visit` with each entry and its path, until it finds something.
pub(crate) fn walk<R: Read, T>(
    archive: &mut Archive<R>,
    file: &Path,
    mut visit: impl FnMut(&Path, &mut Entry<'_, R>) -> Result<Option<T>, BundleError>,
) -> Result<Option<T>, BundleError> {
    let io = BundleError::io(file);
    let mut said: Option<PathBuf> = None;
    for entry in archive.entries().map_err(&io)?.raw(true) {
        let mut entry = entry.map_err(&io)?;
        let own = entry.path().map_err(&io)?.into_owned();
        let refuse = |reason| BundleError::Entry {
            path: shown(&own),
            reason,
        };
        let kind = entry.header().entry_type();
        let describes = matches!(
            kind,
            EntryType::GNULongName
                | EntryType::GNULongLink
                | EntryType::XHeader
                | EntryType::XGlobalHeader
        );
        if !describes {
            let path = said.take().unwrap_or(own);
            if let Some(found) = visit(&path, &mut entry)? {
                return Ok(Some(found));
            }
            continue;
        }
        if entry.size() > MAX_DESCRIPTION {
            return Err(refuse("a description of more than 4096 bytes"));
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(&io)?;
        let name = match kind {
            EntryType::GNULongName => {
                text.pop_if(|last| *last == 0);
                Some(text)
            }
            EntryType::XHeader => name_in(&text).map_err(|_| refuse("a damaged description"))?,
            _ => return Err(refuse("a description that bundles do not have")),
        };
        if let Some(name) = name
            && said.replace(OsString::from_vec(name).into()).is_some()
        {
            return Err(refuse("a second name for one entry"));
        }
    }
    Ok(None)
}

/// The name that a PAX description gives. One that gives a size is refused: the size decides
/// where the next entry begins, and two readers must not see two archives.
fn name_in(text: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut name = None;
    for said in PaxExtensions::new(text) {
        let said = said?;
        match said.key_bytes() {
            b"path" => name = Some(said.value_bytes().to_vec()),
            b"size" => return Err(io::ErrorKind::InvalidData.into()),
            _ => {}
        }
    }
    Ok(name)
}

/// A name as errors show it.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
