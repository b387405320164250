//! requirements.lock: pip's format with every version exact and every wheel's
//! hash named, which is what `pip-compile --generate-hashes` and
//! `uv pip compile --generate-hashes` write.

use std::str::FromStr;

use caisson_document::{Fault, Faults, Mark};
use pep440_rs::Version;

use crate::Digest;

/// The file's name in a project and in a bundle.
pub const LOCK_FILE: &str = "requirements.lock";

/// Every dependency of a connector, locked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// In the order of the file.
    pub entries: Vec<Locked>,
}

/// One locked dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Its name, normalised (PEP 503).
    pub name: String,
    /// Its one version.
    pub version: Version,
    /// Any of these its wheel may have.
    pub hashes: Vec<Digest>,
    /// When it is needed (PEP 508), as written; `None` means always.
    pub marker: Option<String>,
    /// The line where it begins, from 1.
    pub line: usize,
}

/// A distribution's name as PEP 503 compares it.
#[must_use]
pub fn normalise(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        let character = if matches!(character, '-' | '_' | '.') {
            '-'
        } else {
            character.to_ascii_lowercase()
        };
        if character == '-' && out.ends_with('-') {
            continue;
        }
        out.push(character);
    }
    out
}

impl Lock {
    /// Parses a lock file.
    ///
    /// # Errors
    /// Every line that is not one exact, hashed requirement.
    pub fn parse(file: &str, text: &str) -> Result<Lock, Faults> {
        let mut entries: Vec<Locked> = Vec::new();
        let mut faults = foreign_line_ends(file, text);
        for (line, text) in logical_lines(text) {
            let mark = Some(Mark { line, column: 1 });
            match requirement(line, &text) {
                Ok(entry) => {
                    let twice = entries
                        .iter()
                        .find(|known| known.name == entry.name && known.marker == entry.marker);
                    if let Some(first) = twice {
                        let message = format!("{} is locked twice", entry.name);
                        faults.push(Fault::of_file(
                            file,
                            mark,
                            message,
                            format!("it stands already on line {}", first.line),
                        ));
                    }
                    entries.push(entry);
                }
                Err((message, help)) => faults.push(Fault::of_file(file, mark, message, help)),
            }
        }
        Faults::or(faults, Lock { entries })
    }

    /// The lock as pip reads it: one entry a line, without comments, extras and whatever else the file holds.
    pub(crate) fn for_pip(&self) -> String {
        let line = |entry: &Locked| {
            let marker = entry.marker.iter().map(|marker| format!(" ; {marker}"));
            let hashes = entry.hashes.iter().map(|hash| format!(" --hash={hash}"));
            let rest: String = marker.chain(hashes).collect();
            format!("{}=={}{rest}\n", entry.name, entry.version)
        };
        self.entries.iter().map(line).collect()
    }

    /// The entries that a wheel of this name and version can belong to.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        version: &'a Version,
    ) -> impl Iterator<Item = &'a Locked> {
        self.entries
            .iter()
            .filter(move |entry| entry.name == name && entry.version == *version)
    }
}

/// Characters at which other readers end a line (pip, by Python's `str.splitlines`) and this one does not, and every
/// other control character: what is a comment here must be one to whoever reads the file.
fn foreign_line_ends(file: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let foreign = |c: char| c.is_control() && c != '\t' || matches!(c, '\u{2028}' | '\u{2029}');
        if let Some((column, character)) = line.chars().enumerate().find(|(_, c)| foreign(*c)) {
            let mark = Mark {
                line: index + 1,
                column: column + 1,
            };
            let message = format!(
                "the character U+{:04X} has no place in a lock",
                character as u32
            );
            let help = "end lines with a line feed, and write nothing else that is invisible";
            faults.push(Fault::of_file(file, Some(mark), message, help));
        }
    }
    faults
}

/// Whether a marker is made of what PEP 508 makes markers of, and of nothing that pip takes for an option, a comment
/// or a variable: it is written into the file that pip is given.
fn is_marker(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || " _.'\"=<>!~(),*+-".contains(c);
    !text.is_empty() && text.chars().all(known) && !text.contains(" -") && !text.starts_with('-')
}

/// Lines with continuations joined and comments gone, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut joined: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let without_comment = match raw.trim_start().starts_with('#') {
            true => "",
            false => raw.split(" #").next().unwrap_or_default(),
        };
        let trimmed = without_comment.trim();
        let (part, goes_on) = match trimmed.strip_suffix('\\') {
            Some(part) => (part.trim(), true),
            None => (trimmed, false),
        };
        let (line, mut sofar) = joined.take().unwrap_or((index + 1, String::new()));
        if !part.is_empty() {
            if !sofar.is_empty() {
                sofar.push(' ');
            }
            sofar.push_str(part);
        }
        if goes_on {
            joined = Some((line, sofar));
        } else if !sofar.is_empty() {
            lines.push((line, sofar));
        }
    }
    lines.extend(joined.filter(|(_, text)| !text.is_empty()));
    lines
}

fn requirement(line: usize, text: &str) -> Result<Locked, (String, String)> {
    const FORM: &str = "write name==1.2.3 --hash=sha256:…";
    let fault = |message: &str, help: &str| Err((message.to_owned(), help.to_owned()));
    if text.starts_with('-') {
        let option = text.split([' ', '=']).next().unwrap_or_default();
        return fault(&format!("the option {option} has no place in a lock"), FORM);
    }
    let (spec, options) = text
        .split_once(" --")
        .map_or((text, ""), |(spec, options)| (spec, options));
    let (requirement, marker) = match spec.split_once(';') {
        Some((requirement, marker)) => (requirement.trim(), Some(marker.trim().to_owned())),
        None => (spec.trim(), None),
    };
    if marker.as_deref().is_some_and(|marker| !is_marker(marker)) {
        return fault(
            "what follows the semicolon is no marker",
            "write it as PEP 508 does, such as sys_platform == \"linux\"",
        );
    }
    if requirement.contains('@') || requirement.contains("://") || requirement.contains('/') {
        return fault(
            "a dependency by URL or path",
            "lock a released wheel by its version",
        );
    }
    let Some((name, version)) = requirement.split_once("==") else {
        return fault("not locked to one version", FORM);
    };
    let name = name.split('[').next().unwrap_or_default().trim();
    let named = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !named {
        return fault("not a name of a distribution", FORM);
    }
    let Ok(version) = Version::from_str(version.trim_start_matches('=').trim()) else {
        return fault(&format!("{name} is not locked to one version"), FORM);
    };
    let mut hashes = Vec::new();
    let options = options
        .split_whitespace()
        .filter(|option| !option.is_empty());
    for option in options {
        let option = option.trim_start_matches("--");
        match option.strip_prefix("hash=").map(Digest::from_str) {
            Some(Ok(digest)) => hashes.push(digest),
            Some(Err(_)) => {
                return fault(
                    &format!("{name} has a hash that is not SHA-256"),
                    "write --hash=sha256:…",
                );
            }
            None => {
                return fault(
                    &format!("{name} has an option that a lock does not take"),
                    FORM,
                );
            }
        }
    }
    if hashes.is_empty() {
        return fault(
            &format!("{name} has no hash"),
            "lock with `uv pip compile --generate-hashes` or `pip-compile --generate-hashes`",
        );
    }
    Ok(Locked {
        name: normalise(name),
        version,
        hashes,
        marker,
        line,
    })
}
