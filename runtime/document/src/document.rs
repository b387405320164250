//! A parsed document: a plain value, and the place of each part of it.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::build::RawFault;
use crate::mark::{Mark, Marks, join, path_of};
use crate::{Fault, Faults, Schema, json, yaml};

/// A document is refused when its text is longer than this.
pub const MAX_BYTES: usize = 1024 * 1024;

/// YAML 1.2 or JSON text as a value, with line and column of every key and value.
#[derive(Debug, Clone)]
pub struct Document {
    file: String,
    value: Value,
    marks: Marks,
    has_text: bool,
}

/// Why a document could not be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Io {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is no document.
    #[error(transparent)]
    Faults(#[from] Faults),
}

impl Document {
    /// Parses `text`: JSON if `file` ends in `.json` or the text is JSON already, else YAML.
    ///
    /// # Errors
    /// Every fault of the text that can be told from the text alone.
    pub fn parse(file: &str, text: &str) -> Result<Document, Faults> {
        if text.len() > MAX_BYTES {
            let message = format!("longer than {} KiB", MAX_BYTES / 1024);
            return Err(Fault::of_file(file, None, message, "").into());
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let looks_like_json = || {
            text.trim_start().starts_with(['{', '['])
                && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        };
        let is_json = file.to_ascii_lowercase().ends_with(".json") || looks_like_json();
        let (value, marks, faults) = if is_json {
            json::parse(text)
        } else {
            yaml::parse(text)
        };
        let document = Document {
            file: file.to_owned(),
            value,
            marks,
            has_text: true,
        };
        let faults = faults
            .into_iter()
            .map(|fault| document.finish(fault))
            .collect();
        Faults::or(faults, document)
    }

    /// Parses bytes, which must be UTF-8.
    ///
    /// # Errors
    /// As [`Document::parse`], and where the bytes are not UTF-8.
    pub fn parse_bytes(file: &str, bytes: &[u8]) -> Result<Document, Faults> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Document::parse(file, text),
            Err(error) => {
                let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                let mark = Mark {
                    line: before.matches('\n').count() + 1,
                    column: before[line_start..].chars().count() + 1,
                };
                Err(Fault::of_file(
                    file,
                    Some(mark),
                    "not valid UTF-8",
                    "save the file as UTF-8",
                )
                .into())
            }
        }
    }

    /// Reads and parses the file at `path`; never reads more than [`MAX_BYTES`] of it.
    ///
    /// # Errors
    /// The system's error, or the faults of the text.
    pub fn read(path: &Path) -> Result<Document, ReadError> {
        let io = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        Ok(Document::parse_bytes(&path.display().to_string(), &bytes)?)
    }

    /// A document that came as data, not as text: its faults have a path and no line.
    #[must_use]
    pub fn from_value(name: &str, value: Value) -> Document {
        Document {
            file: name.to_owned(),
            value,
            marks: Marks::default(),
            has_text: false,
        }
    }

    /// The part at `pointer` as a document of its own, which keeps file, lines and columns;
    /// null if there is none.
    #[must_use]
    pub fn part(&self, pointer: &str) -> Document {
        let inside = |marks: &std::collections::HashMap<String, Mark>| {
            marks
                .iter()
                .filter_map(|(place, mark)| {
                    let rest = place.strip_prefix(pointer)?;
                    (rest.is_empty() || rest.starts_with('/')).then(|| (rest.to_owned(), *mark))
                })
                .collect()
        };
        Document {
            file: self.file.clone(),
            value: self.value.pointer(pointer).cloned().unwrap_or(Value::Null),
            marks: Marks {
                keys: inside(&self.marks.keys),
                values: inside(&self.marks.values),
            },
            has_text: self.has_text,
        }
    }

    /// The same places with another value in them: for a check of a document in which something
    /// stands for something else.
    #[must_use]
    pub fn with_value(&self, value: Value) -> Document {
        Document {
            value,
            ..self.clone()
        }
    }

    /// The file name that was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The value of the whole document.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The whole value, taken out.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The part at a JSON pointer (`""` is the root), if it is there.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// Where the value at `pointer` stands, or the nearest value around it; `None` if the
    /// document came from no text. A list or mapping under a key stands where its key stands.
    #[must_use]
    pub fn mark(&self, pointer: &str) -> Option<Mark> {
        if !self.has_text {
            return None;
        }
        let found = self.marks.nearest(pointer, |marks, at| {
            let composite = self
                .value
                .pointer(at)
                .is_some_and(|value| value.is_object() || value.is_array());
            let value = marks.values.get(at).copied();
            if composite {
                marks.keys.get(at).copied().or(value)
            } else {
                value
            }
        });
        Some(found.unwrap_or(Mark::START))
    }

    /// Where the key at the end of `pointer` stands.
    #[must_use]
    pub fn key_mark(&self, pointer: &str) -> Option<Mark> {
        if !self.has_text {
            return None;
        }
        self.marks
            .keys
            .get(pointer)
            .copied()
            .or_else(|| self.mark(pointer))
    }

    /// A fault of the value at `pointer`, for checks that a schema cannot make. `message` and
    /// `help` must not hold values of the document.
    #[must_use]
    pub fn fault(
        &self,
        pointer: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        self.fault_at(self.mark(pointer), pointer, message.into(), help.into())
    }

    /// A fault of the key at the end of `pointer`, rather than of its value.
    #[must_use]
    pub fn key_fault(
        &self,
        pointer: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        self.fault_at(self.key_mark(pointer), pointer, message.into(), help.into())
    }

    /// Every way in which the document does not fit `schema`.
    #[must_use]
    pub fn check(&self, schema: &Schema) -> Vec<Fault> {
        self.check_at("", schema)
    }

    /// Every way in which the part at `pointer` does not fit `schema`.
    #[must_use]
    pub fn check_at(&self, pointer: &str, schema: &Schema) -> Vec<Fault> {
        let Some(part) = self.value.pointer(pointer) else {
            return vec![self.fault(pointer, "missing", "")];
        };
        crate::wording::faults(self, pointer, schema, part)
    }

    /// Checks the document and turns it into `T`.
    ///
    /// # Errors
    /// Every fault against the schema, or the one that `T` itself refuses.
    pub fn checked<T: DeserializeOwned>(&self, schema: &Schema) -> Result<T, Faults> {
        Faults::or(self.check(schema), ())?;
        self.get("").map_err(Faults::from)
    }

    /// The part at `pointer` as `T`; a part that is missing counts as null.
    ///
    /// # Errors
    /// A fault at the place that does not fit `T`, without the value found there.
    pub fn get<T: DeserializeOwned>(&self, pointer: &str) -> Result<T, Fault> {
        let part = self.value.pointer(pointer).unwrap_or(&Value::Null);
        serde_path_to_error::deserialize(part).map_err(|error| {
            let mut place = pointer.to_owned();
            for segment in error.path() {
                use serde_path_to_error::Segment;
                match segment {
                    Segment::Seq { index } => place = join(&place, &index.to_string()),
                    Segment::Map { key } => place = join(&place, key),
                    Segment::Enum { .. } | Segment::Unknown => {}
                }
            }
            self.fault(&place, without_value(&error.inner().to_string()), "")
        })
    }

    pub(crate) fn fault_at(
        &self,
        mark: Option<Mark>,
        pointer: &str,
        message: String,
        help: String,
    ) -> Fault {
        let mut fault = Fault::of_file(&self.file, mark, message, help);
        fault.path = path_of(&self.value, pointer);
        fault
    }

    fn finish(&self, fault: RawFault) -> Fault {
        self.fault_at(Some(fault.mark), &fault.pointer, fault.message, fault.help)
    }
}

/// serde's message less the value that it quotes.
fn without_value(message: &str) -> String {
    let quotes_value = ["invalid type: ", "invalid value: ", "unknown variant "];
    if !quotes_value.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => "does not fit".to_owned(),
    }
}
