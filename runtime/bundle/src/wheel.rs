//! Wheels (PEP 427): their names, their hashes against the lock, and their
//! unpacking into one directory that is put on sys.path. Nothing of a wheel
//! is executed, no script is installed, and `.pth` files are left out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use pep440_rs::Version;

use crate::Digest;
use crate::lock::{Lock, normalise};

/// A wheel on disk.
#[derive(Debug, Clone)]
pub struct Wheel {
    /// Where it is.
    pub path: PathBuf,
    /// Its file name.
    pub file_name: String,
    /// Its distribution, normalised (PEP 503).
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The digest of the file.
    pub digest: Digest,
}

/// Why a wheel is refused.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The file's name is not a wheel's.
    #[error("{0} is no wheel; only wheels are carried, and their names end in .whl")]
    Name(String),
    /// The system refused.
    #[error("cannot read or write {path}: {source}", path = .path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock does not name this wheel.
    #[error("{wheel} is not in requirements.lock with the hash sha256:{hash}")]
    NotLocked {
        /// The wheel's file name.
        wheel: String,
        /// The digest found.
        hash: String,
    },
    /// A locked dependency has no wheel.
    #[error("no wheel of {name} {version}, which requirements.lock names")]
    Missing {
        /// The distribution.
        name: String,
        /// Its locked version.
        version: Version,
    },
    /// Two wheels of one distribution.
    #[error("two wheels of {0}")]
    Twice(String),
    /// It is no zip archive, or a damaged one.
    #[error("{wheel} cannot be unpacked: {reason}")]
    Archive {
        /// The wheel's file name.
        wheel: String,
        /// Why.
        reason: String,
    },
    /// A path that leads out of the directory, a link, or a file that another wheel has.
    #[error("{wheel} carries {path:?}: {reason}")]
    Entry {
        /// The wheel's file name.
        wheel: String,
        /// The entry.
        path: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// More than the cap when unpacked.
    #[error("the wheels hold more than {0} bytes or too many files when unpacked")]
    TooLarge(u64),
}

impl Wheel {
    /// Looks at a wheel's name and hashes its content.
    ///
    /// # Errors
    /// If the name is not a wheel's, or the file cannot be read.
    pub fn open(path: &Path) -> Result<Wheel, WheelError> {
        let file_name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        let (name, version) =
            wheel_name(&file_name).ok_or_else(|| WheelError::Name(file_name.clone()))?;
        let digest = Digest::of_file(path).map_err(|source| WheelError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Wheel {
            path: path.to_owned(),
            file_name,
            name,
            version,
            digest,
        })
    }
}

/// Distribution and version out of `name-version[-build]-python-abi-platform.whl`.
pub(crate) fn wheel_name(file_name: &str) -> Option<(String, Version)> {
    let parts: Vec<&str> = file_name.strip_suffix(".whl")?.split('-').collect();
    let plain = |part: &&str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._+!".contains(c))
    };
    if !(5..=6).contains(&parts.len()) || !parts.iter().all(plain) {
        return None;
    }
    Some((
        normalise(parts[0]),
        Version::from_str(&parts[1].replace('_', "-")).ok()?,
    ))
}

/// Opens the wheels of a directory, sorted by file name; no directory means none.
///
/// # Errors
/// If one of them is no wheel.
pub fn wheels_in(dir: &Path) -> Result<Vec<Wheel>, WheelError> {
    let io = |source| WheelError::Io {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(io)?;
    paths.sort();
    paths.iter().map(|path| Wheel::open(path)).collect()
}

/// Checks that the lock names every wheel with its hash, and that every dependency that is
/// always needed has one.
///
/// # Errors
/// The first wheel or entry for which that does not hold.
pub fn match_lock(lock: &Lock, wheels: &[Wheel]) -> Result<(), WheelError> {
    let mut seen: BTreeMap<&str, &Version> = BTreeMap::new();
    for wheel in wheels {
        let locked = lock
            .matching(&wheel.name, &wheel.version)
            .any(|entry| entry.hashes.contains(&wheel.digest));
        if !locked {
            return Err(WheelError::NotLocked {
                wheel: wheel.file_name.clone(),
                hash: wheel.digest.hex(),
            });
        }
        if seen.insert(&wheel.name, &wheel.version).is_some() {
            return Err(WheelError::Twice(wheel.name.clone()));
        }
    }
    for entry in &lock.entries {
        // Whether a dependency with a marker is needed here is for pip to say.
        if entry.marker.is_none() && seen.get(entry.name.as_str()) != Some(&&entry.version) {
            return Err(WheelError::Missing {
                name: entry.name.clone(),
                version: entry.version.clone(),
            });
        }
    }
    Ok(())
}

/// Unpacks wheels side by side into `dir`, which exists, up to `cap` bytes in all.
///
/// # Errors
/// If one is damaged, leads out of `dir`, carries a link, or has another file of the same name.
pub fn unpack_wheels(wheels: &[Wheel], dir: &Path, cap: u64) -> Result<(), WheelError> {
    let mut left = cap;
    let mut files = 0_usize;
    for wheel in wheels {
        let archive_fault = |reason: String| WheelError::Archive {
            wheel: wheel.file_name.clone(),
            reason,
        };
        let file = File::open(&wheel.path).map_err(|source| WheelError::Io {
            path: wheel.path.clone(),
            source,
        })?;
        let mut archive = zip::ZipArchive::new(io::BufReader::new(file))
            .map_err(|error| archive_fault(error.to_string()))?;
        files += archive.len();
        if files > 100_000 {
            return Err(WheelError::TooLarge(cap));
        }
        for index in 0..archive.len() {
            let mut entry = archive
                .by_index(index)
                .map_err(|error| archive_fault(error.to_string()))?;
            let name = entry
                .name()
                .map_err(|error| archive_fault(error.to_string()))?
                .into_owned();
            let refuse = |reason| WheelError::Entry {
                wheel: wheel.file_name.clone(),
                path: name.clone(),
                reason,
            };
            if entry.is_symlink() {
                return Err(refuse("a symbolic link"));
            }
            if entry.is_dir() {
                continue;
            }
            let Some(place) = place_of(&name).map_err(refuse)? else {
                continue;
            };
            let target = dir.join(place);
            let io = |source| WheelError::Io {
                path: target.clone(),
                source,
            };
            let mut content = Vec::new();
            (&mut entry)
                .take(left + 1)
                .read_to_end(&mut content)
                .map_err(|error| archive_fault(error.to_string()))?;
            left = left
                .checked_sub(content.len() as u64)
                .ok_or(WheelError::TooLarge(cap))?;
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(io)?;
            }
            // A program stays one: `exec` of a policy lets the connector start it.
            let program = entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0);
            match fs::read(&target) {
                Ok(there) if there == content => {}
                Ok(_) => return Err(refuse("another wheel carries another file of this name")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::write(&target, &content).map_err(io)?;
                    if program {
                        let mode = fs::Permissions::from_mode(0o755);
                        fs::set_permissions(&target, mode).map_err(io)?;
                    }
                }
                Err(error) => return Err(io(error)),
            }
        }
    }
    Ok(())
}

/// Where an entry belongs under sys.path; `None` for what is left out.
fn place_of(name: &str) -> Result<Option<PathBuf>, &'static str> {
    let path = Path::new(name);
    if name.contains('\\')
        || name.contains('\0')
        || !path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err("a path that leads out of the directory");
    }
    let mut parts = path.components();
    let first = parts
        .next()
        .and_then(|part| part.as_os_str().to_str())
        .unwrap_or_default();
    if !first.ends_with(".data") {
        let is_hook = first.ends_with(".pth") && parts.next().is_none();
        return Ok((!is_hook).then(|| path.to_owned()));
    }
    let kind = parts
        .next()
        .and_then(|part| part.as_os_str().to_str())
        .unwrap_or_default();
    let rest = parts.as_path();
    let is_hook =
        rest.components().count() == 1 && rest.extension().is_some_and(|end| end == "pth");
    if rest.as_os_str().is_empty() || is_hook {
        return Ok(None);
    }
    Ok(match kind {
        "purelib" | "platlib" => Some(rest.to_owned()),
        // Programs, as pip would put them beside the interpreter.
        "scripts" => Some(Path::new("bin").join(rest)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheel_names_are_read() {
        let (name, version) = wheel_name("Foo_Bar-1.2.3-py3-none-any.whl").expect("a wheel");
        assert_eq!(
            (name.as_str(), version.to_string().as_str()),
            ("foo-bar", "1.2.3")
        );
        assert!(
            wheel_name("foo-1.0-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
                .is_some()
        );
        for name in [
            "foo-1.0.tar.gz",
            "foo-1.0.whl",
            "foo-x-py3-none-any.whl",
            "../foo-1.0-py3-none-any.whl",
        ] {
            assert!(wheel_name(name).is_none(), "{name}");
        }
    }

    #[test]
    fn an_entry_stays_under_the_directory() {
        assert_eq!(place_of("a/b.py"), Ok(Some(PathBuf::from("a/b.py"))));
        assert_eq!(
            place_of("a-1.data/purelib/a/c.py"),
            Ok(Some(PathBuf::from("a/c.py")))
        );
        assert_eq!(
            place_of("a-1.data/scripts/tool"),
            Ok(Some(PathBuf::from("bin/tool")))
        );
        assert_eq!(place_of("a-1.data/headers/a.h"), Ok(None));
        assert_eq!(place_of("evil.pth"), Ok(None));
        assert_eq!(place_of("a-1.data/platlib/evil.pth"), Ok(None));
        for name in ["../a", "/etc/passwd", "a/../../b", "a\\..\\b"] {
            assert!(place_of(name).is_err(), "{name}");
        }
    }
}
