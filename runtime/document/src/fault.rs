//! One fault of a document, and all of them together.

use std::fmt;

use serde::Serialize;

use crate::Mark;

/// What is wrong at one place of a document, and what to write instead.
///
/// Displays as `policies/shop.yaml:4:7: egress[0].ports: message; help`, and
/// leaves out what it does not have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Fault {
    /// The file as the reader was given it, or a name such as `config`.
    pub file: String,
    /// The line from 1, or 0 where the document came from no text.
    pub line: usize,
    /// The column in characters from 1, or 0 where the document came from no text.
    pub column: usize,
    /// The path of the value, as people write it (`egress[0].ports`); empty for the root.
    pub path: String,
    /// What is wrong. Never holds a value of the document.
    pub message: String,
    /// What to write instead; may be empty.
    pub help: String,
}

impl Fault {
    /// A fault of a whole file, or of a file that is no [`crate::Document`].
    #[must_use]
    pub fn of_file(
        file: &str,
        mark: Option<Mark>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        Fault {
            file: file.to_owned(),
            line: mark.map_or(0, |mark| mark.line),
            column: mark.map_or(0, |mark| mark.column),
            path: String::new(),
            message: on_one_line(message.into()),
            help: on_one_line(help.into()),
        }
    }

    /// The place in the text, where there is a text.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        (self.line > 0).then_some(Mark {
            line: self.line,
            column: self.column,
        })
    }
}

/// What a library said may quote the document: nothing of it breaks the line, moves a terminal's cursor or turns the
/// direction of what follows.
fn on_one_line(text: String) -> String {
    let is_plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.chars().all(is_plain) {
        return text;
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            line.push(c);
        } else {
            line.extend(c.escape_default());
        }
    }
    line
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// Every fault of a document at once, one per line when displayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// `Ok` with `value` if there is no fault, else all of them in the order of the text.
    ///
    /// # Errors
    /// The faults, where there are any.
    pub fn or<T>(mut faults: Vec<Fault>, value: T) -> Result<T, Faults> {
        if faults.is_empty() {
            return Ok(value);
        }
        faults.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        faults.dedup();
        Err(Faults(faults))
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Faults(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
