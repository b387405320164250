//! One published version, as it is written to disk and read back.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RegistryError;

/// The sha256 of a bundle: `sha256:` and 64 small hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Of 32 bytes.
    pub fn of(bytes: &[u8; 32]) -> Digest {
        Digest(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl FromStr for Digest {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Digest, RegistryError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() == 64 && hex.bytes().all(is_digit) {
            Ok(Digest(hex.to_owned()))
        } else {
            Err(RegistryError::NotADigest(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = RegistryError;

    fn try_from(text: String) -> Result<Digest, RegistryError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// What is to be published.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The workspace that may use it.
    pub workspace: String,
    /// The connector.
    pub name: String,
    /// The exact version, `1.4.2`.
    pub version: String,
    /// The bundle, a file that stays where it is.
    pub bundle: PathBuf,
    /// What the bundle's sha256 must be.
    pub digest: Digest,
    /// The connector's manifest as JSON, kept for Spec and lists.
    pub manifest: Value,
}

/// What publishing came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The version.
    pub entry: Entry,
    /// The same bundle had been published before.
    pub existed: bool,
}

/// Reserved: a version that should not be used any more. Nothing writes it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yanked {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

/// A published version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The workspace.
    pub workspace: String,
    /// The connector.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The bundle's sha256.
    pub digest: Digest,
    /// The bundle's size.
    pub bytes: u64,
    /// When it was published.
    pub published: DateTime<Utc>,
    /// The connector's manifest.
    pub manifest: Value,
    /// Reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<Yanked>,
}

impl Entry {
    /// `name@1.4.2`.
    pub fn pin(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("an entry is plain data");
        text.push(b'\n');
        text
    }

    /// The file's place and its content must say the same.
    pub(super) fn from_json(
        text: &[u8],
        workspace: &str,
        name: &str,
        version: &Version,
    ) -> Result<Entry, String> {
        let entry: Entry = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if entry.workspace != workspace || entry.name != name || entry.version != *version {
            return Err(format!(
                "it describes {} of workspace {}",
                entry.pin(),
                entry.workspace
            ));
        }
        Ok(entry)
    }
}

/// Names become names of directories: a letter or digit, then letters, digits, `-`, `_` and `.`.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), RegistryError> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 64 && name.bytes().all(inner) {
        Ok(())
    } else {
        Err(RegistryError::Name {
            what,
            name: name.to_owned(),
        })
    }
}
