//! Host directories that a policy grants.
//!
//! The check here is on text; the sandbox resolves the directory beneath `within` without following links, so that what
//! the disk says is judged too.

use crate::template::{Missing, Template};
use serde_json::Value;
use std::path::{Component, Path, PathBuf};

/// One entry of `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule {
    /// Line of the entry, from 1.
    pub line: usize,
    /// Column of the entry, from 1.
    pub column: usize,
    /// Which directory.
    pub dir: Dir,
    /// Directories that it must lie in.
    pub within: Vec<PathBuf>,
    /// What the worker may do there.
    pub access: Access,
}

/// A directory in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dir {
    /// Written in the policy.
    Fixed(PathBuf),
    /// From the connection.
    FromConfig(Template),
}

/// What a worker may do in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// A directory of one call: what the sandbox binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileGrant {
    /// The directory.
    pub dir: PathBuf,
    /// Resolved beneath one of these.
    pub within: Vec<PathBuf>,
    /// Whether it may be written.
    pub write: bool,
}

/// Why a config's directory is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileBindError {
    #[error("{0} is no text; put the directory's path into the connection's config")]
    NotText(String),
    #[error("{0:?} is no plain absolute path; write it from / on, without . and ..")]
    NotAbsolute(String),
    #[error(
        "{0:?} is not inside `within`; the operator may add a directory to `within`, or the connection names another"
    )]
    Outside(String),
}

/// An absolute path without `.`, `..`, NUL or doubled meaning.
pub(super) fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = path.is_absolute()
        && !text.contains('\0')
        && !text.split('/').any(|part| part == "." || part == "..")
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    plain.then(|| path.components().collect())
}

impl FileRule {
    /// `None` where the config does not set the property.
    pub(super) fn bind(&self, config: &Value) -> Result<Option<FileGrant>, FileBindError> {
        let dir = match &self.dir {
            Dir::Fixed(dir) => dir.clone(),
            Dir::FromConfig(template) => match template.fill(config) {
                Err(Missing::Absent(_)) => return Ok(None),
                Err(Missing::NotText(path)) => return Err(FileBindError::NotText(path)),
                Ok(text) => absolute(&text).ok_or(FileBindError::NotAbsolute(text))?,
            },
        };
        if !self.within.iter().any(|within| dir.starts_with(within)) {
            return Err(FileBindError::Outside(dir.display().to_string()));
        }
        Ok(Some(FileGrant {
            dir,
            within: self.within.clone(),
            write: self.access == Access::Write,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_directory_from_the_config_stays_inside_its_fence() {
        let rule = FileRule {
            line: 1,
            column: 1,
            dir: Dir::FromConfig(Template::parse("${config.dir}").unwrap().unwrap()),
            within: vec!["/srv/lake".into()],
            access: Access::Write,
        };
        let bind = |dir: &str| rule.bind(&json!({ "dir": dir }));
        assert_eq!(
            bind("/srv/lake/a/").unwrap().unwrap().dir,
            Path::new("/srv/lake/a")
        );
        assert_eq!(
            bind("/srv/lake").unwrap().unwrap().dir,
            Path::new("/srv/lake")
        );
        for outside in ["/srv/lakeside", "/srv", "/", "/etc"] {
            assert!(
                matches!(bind(outside), Err(FileBindError::Outside(_))),
                "{outside}"
            );
        }
        for odd in [
            "/srv/lake/../../etc",
            "srv/lake",
            "",
            "/srv/lake/./a",
            "/srv/lake\0",
        ] {
            assert!(
                matches!(bind(odd), Err(FileBindError::NotAbsolute(_))),
                "{odd:?}"
            );
        }
        assert_eq!(rule.bind(&json!({})), Ok(None));
    }
}
