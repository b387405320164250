//! What stands behind a connector's name: an exact version, a digest, or a range (which is then refused).

use semver::{BuildMetadata, Version, VersionReq};

use super::entry::{Digest, check_name};
use super::error::RegistryError;

/// The part behind `name@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// `1.4.2`
    Version(Version),
    /// `sha256:…`
    Digest(Digest),
    /// `^1.4`, `1.x`, `1.4`, `latest`, or nothing at all.
    Range {
        /// As it was written.
        text: String,
        /// Nothing: every version.
        range: Option<VersionReq>,
    },
}

impl Pin {
    /// Reads `name@version`, `name@sha256:…` or, to refuse it with good words, a range.
    ///
    /// # Errors
    /// Neither of them.
    pub fn parse(text: &str) -> Result<(&str, Pin), RegistryError> {
        let (name, pin) = text.split_once('@').unwrap_or((text, ""));
        check_name("connector", name)?;
        if pin.starts_with("sha256:") {
            return Ok((name, Pin::Digest(pin.parse()?)));
        }
        if let Some(version) = exact(pin) {
            return Ok((name, Pin::Version(version)));
        }
        let range = match pin {
            "" | "latest" => None,
            range => {
                Some(VersionReq::parse(range).map_err(|_| RegistryError::Pin(text.to_owned()))?)
            }
        };
        Ok((
            name,
            Pin::Range {
                text: pin.to_owned(),
                range,
            },
        ))
    }
}

/// An exact version. Build metadata is refused: two versions that differ only there are equal in order.
pub(super) fn exact(text: &str) -> Option<Version> {
    Version::parse(text)
        .ok()
        .filter(|version| version.build == BuildMetadata::EMPTY)
}
