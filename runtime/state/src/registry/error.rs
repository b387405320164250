//! Why the registry refuses or fails; every message says what to do.

use std::path::{Path, PathBuf};

use semver::Version;

use super::entry::Digest;

/// The registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A name that cannot be a directory's.
    #[error(
        "{what} {name:?} is no name; write a letter or digit, then letters, digits, - _ and ., 64 in all"
    )]
    Name {
        /// `workspace` or `connector`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Not an exact version.
    #[error("{0:?} is no version; write MAJOR.MINOR.PATCH, for example 1.4.2")]
    Version(String),
    /// Not `sha256:` and 64 digits.
    #[error("{0:?} is no digest; write sha256: and 64 small hex digits")]
    NotADigest(String),
    /// Neither version, digest nor range.
    #[error("{0:?} names no connector version; write NAME@1.4.2 or NAME@sha256:DIGEST")]
    Pin(String),
    /// A range where an exact pin belongs.
    #[error("{} is a range and would change by itself; {}", ranged(.name, .range), instead(.name, .matching, .versions))]
    Range {
        /// The connector.
        name: String,
        /// The range as it was written.
        range: String,
        /// The versions that match it, the newest first.
        matching: Vec<Version>,
        /// All versions, the newest first.
        versions: Vec<Version>,
    },
    /// No connector of that name.
    #[error("workspace {workspace} has no connector {name:?}; {}", if .names.is_empty() { "publish one first".into() } else { format!("there is {}", crate::nearest::listed(.names)) })]
    UnknownName {
        /// The workspace.
        workspace: String,
        /// The name that was asked for.
        name: String,
        /// The names that there are, the nearest first.
        names: Vec<String>,
    },
    /// No such version.
    #[error("connector {name} has no version {wanted}; there is {}", list(.versions))]
    UnknownVersion {
        /// The connector.
        name: String,
        /// The version or digest that was asked for.
        wanted: String,
        /// The versions that there are, the newest first.
        versions: Vec<Version>,
    },
    /// A version never changes.
    #[error(
        "{pin} is published already, as {published}, and this bundle is {given}; raise the version in connector.yaml"
    )]
    Published {
        /// The version.
        pin: String,
        /// Its digest.
        published: Digest,
        /// The digest of what was to be published.
        given: Digest,
    },
    /// A bundle's bytes are not what was said.
    #[error("{} is {found}, not {expected}; it was damaged on the way or on disk: send or publish it again", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The bundle could not be unpacked.
    #[error("{pin} cannot be unpacked: {detail}")]
    Unpack {
        /// The version.
        pin: String,
        /// The cause.
        detail: String,
    },
    /// An unpacked bundle holds something else than files and directories.
    #[error("the bundle holds {}, which is neither a file nor a directory; pack it without links and special files", path.display())]
    Special {
        /// Where, inside the bundle.
        path: PathBuf,
    },
    /// A file of the registry is not what this program wrote.
    #[error("{} is damaged ({detail}); restore it from a backup, or remove it and publish the version again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The file system failed.
    #[error("{doing} {}: {source}; look at the disk and at the owner of the data directory", path.display())]
    Io {
        /// A verb: "writing".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The daemon is ending.
    #[error("the daemon is ending; try again when it is back")]
    Interrupted,
}

/// For `map_err`.
pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RegistryError {
    let path = path.to_owned();
    move |source| RegistryError::Io {
        doing,
        path,
        source,
    }
}

fn list(versions: &[Version]) -> String {
    versions
        .iter()
        .map(Version::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn ranged(name: &str, range: &str) -> String {
    if range.is_empty() {
        format!("{name} without a version")
    } else {
        format!("{name}@{range}")
    }
}

fn instead(name: &str, matching: &[Version], versions: &[Version]) -> String {
    match matching {
        [] => format!("no version matches it: there is {}", list(versions)),
        [newest, ..] => format!("it matches {}: write {name}@{newest}", list(matching)),
    }
}
