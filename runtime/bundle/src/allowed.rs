//! dependencies.toml: what an operator lets connectors depend on. What it
//! does not name is not allowed.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use caisson_document::{Fault, Faults, Mark};
use pep440_rs::{Version, VersionSpecifiers};
use toml::Spanned;

use crate::lock::{LOCK_FILE, Lock, Locked, normalise};

/// The file's name.
pub const ALLOWED_FILE: &str = "dependencies.toml";

/// Allowed ranges by normalised name. The default allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedDependencies {
    ranges: BTreeMap<String, VersionSpecifiers>,
}

/// What the operator says of one locked dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowance {
    /// It is inside its range.
    Allowed,
    /// Its name is not listed.
    NotListed,
    /// It is outside this range.
    OutOfRange(String),
}

impl Allowance {
    /// What is told of a dependency that is not allowed, and what to do.
    pub(crate) fn refusal(&self, entry: &Locked) -> Option<(String, String)> {
        let Locked { name, version, .. } = entry;
        match self {
            Allowance::Allowed => None,
            Allowance::NotListed => Some((
                format!("{name} is not in the operator's {ALLOWED_FILE}"),
                format!(
                    "have the operator add {name} = \"=={version}\" (or a range), or do without it"
                ),
            )),
            Allowance::OutOfRange(range) => Some((
                format!("{name} {version} is outside the operator's range {range}"),
                "lock a version inside it".to_owned(),
            )),
        }
    }
}

impl AllowedDependencies {
    /// Parses lines of `name = ">=1,<3"`.
    ///
    /// # Errors
    /// Every line that is none.
    pub fn parse(file: &str, text: &str) -> Result<AllowedDependencies, Faults> {
        let table: BTreeMap<Spanned<String>, Spanned<toml::Value>> = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => {
                let mark = error.span().map(|span| mark_at(text, span.start));
                let message = format!(
                    "not valid TOML: {}",
                    error.message().lines().next().unwrap_or_default()
                );
                return Err(Fault::of_file(file, mark, message, "write name = \">=1,<3\"").into());
            }
        };
        let mut ranges = BTreeMap::new();
        let mut faults = Vec::new();
        for (key, value) in table {
            let mark = Some(mark_at(text, value.span().start));
            let name = normalise(key.get_ref());
            let mut fault = |message: &str, help: &str| {
                let mut fault = Fault::of_file(file, mark, message, help);
                fault.path.clone_from(key.get_ref());
                faults.push(fault);
            };
            let Some(range) = value.get_ref().as_str() else {
                fault(
                    "expected a version range in quotation marks",
                    "write name = \">=1,<3\"",
                );
                continue;
            };
            let Ok(specifiers) = VersionSpecifiers::from_str(range) else {
                fault(
                    "not a version range (PEP 440)",
                    "write \">=1,<3\", \"==2.5.*\", or \"\" for every version",
                );
                continue;
            };
            if ranges.insert(name, specifiers).is_some() {
                fault(
                    "named twice",
                    "names that differ only in case, - and _ are one",
                );
            }
        }
        Faults::or(faults, AllowedDependencies { ranges })
    }

    /// Reads the operator's file; a missing file allows nothing.
    ///
    /// # Errors
    /// Every fault of the file; one that cannot be read is a fault as well.
    pub fn read(path: &Path) -> Result<AllowedDependencies, Faults> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => AllowedDependencies::parse(&file, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(AllowedDependencies::default())
            }
            Err(error) => {
                Err(Fault::of_file(&file, None, format!("cannot be read: {error}"), "").into())
            }
        }
    }

    /// Whether this version of this distribution is allowed.
    #[must_use]
    pub fn allows(&self, name: &str, version: &Version) -> Allowance {
        match self.ranges.get(&normalise(name)) {
            None => Allowance::NotListed,
            Some(range) if range.contains(version) => Allowance::Allowed,
            Some(range) => Allowance::OutOfRange(range.to_string()),
        }
    }

    /// Whether all of a lock is allowed.
    ///
    /// # Errors
    /// Every dependency that is not listed, or outside of its range, at its line.
    pub fn check(&self, lock: &Lock) -> Result<(), Faults> {
        let fault = |entry: &Locked| {
            let (message, help) = self.allows(&entry.name, &entry.version).refusal(entry)?;
            let mark = Mark {
                line: entry.line,
                column: 1,
            };
            Some(Fault::of_file(LOCK_FILE, Some(mark), message, help))
        };
        Faults::or(lock.entries.iter().filter_map(fault).collect(), ())
    }

    /// True if nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

fn mark_at(text: &str, offset: usize) -> Mark {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Mark {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
