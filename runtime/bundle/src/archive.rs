//! The bundle as a file: a reproducible tar.gz, known by its SHA-256. Two
//! packings of one tree are one file, byte by byte.
//!
//! Unpacking trusts nothing: paths, kinds, sizes and counts are checked
//! before a byte is written, wheels are held against the lock, and the result
//! appears under its name only when all of it is there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use caisson_document::{Document, Faults};
use flate2::{Compression, GzBuilder, read::GzDecoder};
use tar::{Archive, Builder, EntryType, Header};

use crate::digest::Hashing;
use crate::entries;
use crate::lock::{LOCK_FILE, Lock};
use crate::project::{MANIFEST_FILE, ProjectDir, ProjectError, WHEEL_CACHE};
use crate::wheel::{Wheel, WheelError, match_lock, unpack_wheels, wheel_name, wheels_in};
use crate::{Digest, Manifest};

/// A bundle's file has at most this many bytes.
pub const MAX_BUNDLE: u64 = 512 << 20;
/// A bundle holds at most this many bytes when unpacked, its wheels counted apart and alike.
pub const MAX_UNPACKED: u64 = 2 << 30;
/// A bundle holds at most this many files.
const MAX_FILES: usize = 50_000;

/// What stands at the top of a bundle.
const TOP: [&str; 10] = [
    MANIFEST_FILE,
    LOCK_FILE,
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "LICENSE.txt",
    "icon.svg",
    "icon.png",
    "docs",
    "src",
];

/// A bundle that has been packed or read.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What it is.
    pub manifest: Manifest,
    /// What it is known by.
    pub digest: Digest,
    /// Bytes of the file.
    pub size: u64,
}

/// Why a bundle cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The project cannot be used.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// A wheel is refused.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// Faults of connector.yaml or requirements.lock inside.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The system refused, or the archive is damaged.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry that a bundle must not have.
    #[error("the bundle carries {path:?}: {reason}")]
    Entry {
        /// The entry.
        path: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// There is no connector.yaml in it.
    #[error("no bundle: it has no connector.yaml")]
    NoManifest,
    /// More bytes or files than the caps.
    #[error(
        "the bundle is too large: at most {MAX_BUNDLE} bytes packed, {MAX_UNPACKED} unpacked, {MAX_FILES} files"
    )]
    TooLarge,
    /// The content is not what its digest says.
    #[error("the bundle's digest is {found}, not {expected}")]
    Digest {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
}

impl BundleError {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> BundleError + '_ {
        move |source| BundleError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Packs a project and its wheels into the file `out`.
///
/// # Errors
/// If connector.yaml has faults, the wheels are not those of the lock, or the result is too large.
pub fn pack(project: &ProjectDir, wheels: &[Wheel], out: &Path) -> Result<Bundle, BundleError> {
    let manifest = project.manifest()?;
    match_lock(&project.lock()?, wheels)?;
    let mut files: Vec<(String, Option<&Path>)> = project
        .bundle_files()?
        .into_iter()
        .map(|file| (file.path, None))
        .collect();
    files.extend(wheels.iter().map(|wheel| {
        let path = format!("wheels/{}", wheel.file_name);
        (path, Some(wheel.path.as_path()))
    }));
    files.sort();
    if files.len() > MAX_FILES {
        return Err(BundleError::TooLarge);
    }
    let hashing = Hashing::new(BufWriter::new(
        File::create(out).map_err(BundleError::io(out))?,
    ));
    // No name, no time, no system: the header is the same wherever it is packed.
    let zipped = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(hashing, Compression::new(6));
    let mut tar = Builder::new(zipped);
    for (path, wheel) in &files {
        let content = match wheel {
            Some(wheel) => fs::read(wheel).map_err(BundleError::io(wheel))?,
            None => project.read(path, MAX_UNPACKED)?,
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content.as_slice())
            .map_err(BundleError::io(out))?;
    }
    let mut hashing = tar
        .into_inner()
        .and_then(|zipped| zipped.finish())
        .map_err(BundleError::io(out))?;
    hashing.flush().map_err(BundleError::io(out))?;
    let size = hashing.bytes;
    if size > MAX_BUNDLE {
        return Err(BundleError::TooLarge);
    }
    Ok(Bundle {
        manifest,
        digest: hashing.finish(),
        size,
    })
}

/// Reads what a bundle file is, without unpacking it.
///
/// # Errors
/// If it is no bundle.
pub fn read(path: &Path) -> Result<Bundle, BundleError> {
    let io = BundleError::io(path);
    let size = fs::metadata(path).map_err(&io)?.len();
    if size > MAX_BUNDLE {
        return Err(BundleError::TooLarge);
    }
    let file = BufReader::new(File::open(path).map_err(&io)?);
    let mut archive = Archive::new(GzDecoder::new(file).take(MAX_UNPACKED));
    let found = entries::walk(&mut archive, path, |inside, entry| {
        if inside.as_os_str() != MANIFEST_FILE {
            return Ok(None);
        }
        let mut text = Vec::new();
        entry
            .take(caisson_document::MAX_BYTES as u64 + 1)
            .read_to_end(&mut text)
            .map_err(&io)?;
        let document = Document::parse_bytes(MANIFEST_FILE, &text)?;
        Ok(Some(Manifest::from_document(&document)?))
    })?;
    Ok(Bundle {
        manifest: found.ok_or(BundleError::NoManifest)?,
        digest: Digest::of_file(path).map_err(&io)?,
        size,
    })
}

/// Unpacks a bundle into the new directory `dest`: connector.yaml, `src/`, and its wheels side
/// by side in `deps/`. Files are 0644 and directories 0755 whatever the archive says. `dest`
/// appears only if all is well.
///
/// # Errors
/// If the bundle is damaged, too large, not the one `expected`, or carries what it must not.
pub fn unpack(
    archive: &Path,
    dest: &Path,
    expected: Option<&Digest>,
) -> Result<Bundle, BundleError> {
    let io = BundleError::io(archive);
    if fs::metadata(archive).map_err(&io)?.len() > MAX_BUNDLE {
        return Err(BundleError::TooLarge);
    }
    let digest = Digest::of_file(archive).map_err(&io)?;
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        return Err(BundleError::Digest {
            expected: *expected,
            found: digest,
        });
    }
    let staging = staging_beside(dest)?;
    extract(archive, staging.path())?;
    let manifest = finish(staging.path())?;
    publish(staging, dest)?;
    let size = fs::metadata(archive).map_err(&io)?.len();
    Ok(Bundle {
        manifest,
        digest,
        size,
    })
}

/// Lays a project out in the new directory `dest` as [`unpack`] would, for running it from its
/// folder. Wheels come from [`ProjectDir::wheel_cache`].
///
/// # Errors
/// If connector.yaml has faults, or a wheel that the lock names is not in the cache.
pub fn prepare(project: &ProjectDir, dest: &Path) -> Result<Manifest, BundleError> {
    let staging = staging_beside(dest)?;
    let mut left = MAX_UNPACKED;
    let mut copy = |from: &str, to: &str| {
        let target = staging.path().join(to);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(BundleError::io(parent))?;
        }
        let mut file = project.file(from)?.take(left + 1);
        let mut into = File::create(&target).map_err(BundleError::io(&target))?;
        let copied = io::copy(&mut file, &mut into).map_err(BundleError::io(&target))?;
        // It may have grown since it was looked at.
        left = left.checked_sub(copied).ok_or(BundleError::TooLarge)?;
        Ok::<_, BundleError>(())
    };
    for file in project.bundle_files()? {
        copy(&file.path, &file.path)?;
    }
    let lock = lock_in(staging.path())?;
    for name in project.cached_wheels()? {
        let (distribution, version) =
            wheel_name(&name).ok_or_else(|| WheelError::Name(name.clone()))?;
        if lock.matching(&distribution, &version).next().is_some() {
            copy(&format!("{WHEEL_CACHE}/{name}"), &format!("wheels/{name}"))?;
        }
    }
    let manifest = finish(staging.path())?;
    publish(staging, dest)?;
    Ok(manifest)
}

fn staging_beside(dest: &Path) -> Result<tempfile::TempDir, BundleError> {
    let parent = dest
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(BundleError::io(parent))?;
    tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(parent)
        .map_err(BundleError::io(parent))
}

fn extract(archive: &Path, into: &Path) -> Result<(), BundleError> {
    let io = BundleError::io(archive);
    let file = BufReader::new(File::open(archive).map_err(&io)?);
    let mut tar = Archive::new(GzDecoder::new(file).take(MAX_UNPACKED + (64 << 20)));
    let (mut bytes, mut seen) = (0_u64, BTreeSet::new());
    entries::walk(&mut tar, archive, |path, entry| {
        let name = entries::shown(path);
        let refuse = |reason| BundleError::Entry {
            path: name.clone(),
            reason,
        };
        let kind = entry.header().entry_type();
        check_path(path).map_err(refuse)?;
        if kind == EntryType::Directory {
            return Ok(None);
        }
        if kind != EntryType::Regular {
            return Err(refuse("neither a file nor a directory"));
        }
        bytes = bytes.saturating_add(entry.size());
        if bytes > MAX_UNPACKED || seen.len() >= MAX_FILES {
            return Err(BundleError::TooLarge);
        }
        if !seen.insert(path.to_owned()) {
            return Err(refuse("it stands in the bundle twice"));
        }
        let (target, told) = (into.join(path), into.join(&name));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(BundleError::io(&told))?;
        }
        let mut out = File::create_new(&target).map_err(BundleError::io(&told))?;
        io::copy(entry, &mut out).map_err(BundleError::io(&told))?;
        Ok(None::<()>)
    })?;
    Ok(())
}

/// A relative path of plain parts, under a name that bundles have.
fn check_path(path: &Path) -> Result<(), &'static str> {
    if path.to_str().is_none_or(|text| text.contains(['\\', '\0'])) {
        return Err("a path that is not plain");
    }
    if !path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err("a path that leads out of the bundle");
    }
    let mut parts = path.components().map(|part| part.as_os_str());
    let first = parts
        .next()
        .and_then(|part| part.to_str())
        .unwrap_or_default();
    let is_wheel = first == "wheels" && path.components().count() <= 2;
    if TOP.contains(&first) || is_wheel {
        Ok(())
    } else {
        Err("a name that bundles do not have")
    }
}

/// Checks what was laid out, turns `wheels/` into `deps/` and sets the modes.
fn finish(root: &Path) -> Result<Manifest, BundleError> {
    let path = root.join(MANIFEST_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BundleError::NoManifest);
        }
        Err(error) => return Err(BundleError::io(&path)(error)),
    };
    let manifest = Manifest::from_document(&Document::parse_bytes(MANIFEST_FILE, &text)?)?;
    let lock = lock_in(root)?;
    let (deps, wheel_dir) = (root.join("deps"), root.join("wheels"));
    fs::create_dir_all(&deps).map_err(BundleError::io(&deps))?;
    fs::create_dir_all(root.join("src")).map_err(BundleError::io(root))?;
    let wheels = wheels_in(&wheel_dir)?;
    match_lock(&lock, &wheels)?;
    unpack_wheels(&wheels, &deps, MAX_UNPACKED)?;
    if wheel_dir.exists() {
        fs::remove_dir_all(&wheel_dir).map_err(BundleError::io(&wheel_dir))?;
    }
    set_modes(root)?;
    Ok(manifest)
}

fn lock_in(root: &Path) -> Result<Lock, BundleError> {
    let path = root.join(LOCK_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Lock::parse(LOCK_FILE, &text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(BundleError::io(&path)(error)),
    }
}

/// Everybody reads; programs, which only wheels bring, can be run.
fn set_modes(path: &Path) -> Result<(), BundleError> {
    let io = BundleError::io(path);
    let there = fs::symlink_metadata(path).map_err(&io)?;
    let runs = there.is_dir() || there.permissions().mode() & 0o100 != 0;
    let mode = if runs { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(&io)?;
    if there.is_dir() {
        for entry in fs::read_dir(path).map_err(&io)? {
            set_modes(&entry.map_err(&io)?.path())?;
        }
    }
    Ok(())
}

/// Gives the finished directory its name; fails if something is there under that name.
fn publish(staging: tempfile::TempDir, dest: &Path) -> Result<(), BundleError> {
    fs::rename(staging.path(), dest).map_err(BundleError::io(dest))?;
    // Its content has moved; nothing is left to remove.
    let _ = staging.keep();
    Ok(())
}
