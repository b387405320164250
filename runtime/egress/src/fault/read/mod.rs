//! A document becomes a script, or every reason why not.

mod answer;
mod makes;
mod matches;

use super::FaultScript;
use super::count::Counter;
use super::entry::Entry;
use super::wire::{WireEntry, WireScript};
use caisson_document::{Document, Fault, Faults, ReadError, Schema, join};
use serde_json::Value;
use std::path::Path;
use std::sync::LazyLock;

/// The format of fault scripts as a JSON Schema, the same text that editors are given.
pub const SCHEMA: &str = include_str!("../../../../../sandbox-profiles/faults.schema.json");

static COMPILED: LazyLock<Schema> = LazyLock::new(|| {
    Schema::parse(SCHEMA).expect("faults.schema.json is a valid JSON Schema: a test compiles it")
});

/// Every fault that an entry can make, as the schema has them.
pub(super) const KEYS: [&str; 13] = [
    "answer",
    "reset",
    "stall",
    "slow",
    "truncate",
    "content_type",
    "empty",
    "broken_gzip",
    "redirect_loop",
    "refuse",
    "certificate",
    "dns",
    "expire_token",
];

impl FaultScript {
    /// Reads a script out of text.
    ///
    /// # Errors
    /// Every fault of the text at once, each with line, column and what to write instead.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        Self::of_document(&Document::parse(file, text).map_err(with_help)?)
    }

    /// Reads the script in the file at `path`.
    ///
    /// # Errors
    /// As [`FaultScript::parse`], and where the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let document = Document::read(path).map_err(|error| match error {
            ReadError::Faults(faults) => with_help(faults).into(),
            error => error,
        })?;
        Ok(Self::of_document(&document)?)
    }

    fn of_document(document: &Document) -> Result<Self, Faults> {
        let mut reader = Reader {
            document,
            faults: document.check(&COMPILED),
        };
        let wire: WireScript = serde_json::from_value(document.value().clone()).unwrap_or_default();
        let mut entries = Vec::new();
        for (index, wire) in wire.faults.iter().enumerate() {
            let Some(wire) = wire else { continue };
            entries.extend(reader.entry(&format!("/faults/{index}"), wire));
        }
        Faults::or(
            reader.faults,
            Self {
                file: document.file().to_owned(),
                entries,
            },
        )
    }
}

/// Unquoted stars are the commonest slip of syntax (YAML reads `*.example.com` as an alias), and its words do not lead there.
fn with_help(mut faults: Faults) -> Faults {
    for fault in faults.0.iter_mut().filter(|fault| fault.help.is_empty()) {
        fault.help = "close what was opened; text that begins with * or { stands in quotes, as in host: \"*.example.com\"".to_owned();
    }
    faults
}

/// The document under check and what was found so far. What the schema has said is not said again: such a part is `None`.
struct Reader<'a> {
    document: &'a Document,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        self.faults
            .push(self.document.fault(pointer, message, help));
    }

    fn key_fault(&mut self, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        self.faults
            .push(self.document.key_fault(pointer, message, help));
    }

    /// An error whose text is `message; help`.
    fn error(&mut self, pointer: &str, error: &dyn std::error::Error) {
        let text = error.to_string();
        let (message, help) = text.split_once("; ").unwrap_or((&text, ""));
        self.fault(pointer, message, help);
    }

    fn has(&self, pointer: &str) -> bool {
        self.document.pointer(pointer).is_some()
    }

    fn entry(&mut self, at: &str, wire: &WireEntry) -> Option<Entry> {
        let key = self.key(at);
        let makes = key.and_then(|key| self.makes(at, key, wire));
        let matches = wire
            .what
            .as_ref()
            .and_then(|wire| self.matches(&join(at, "match"), key, wire));
        let line = self.document.mark(at).map_or(1, |mark| mark.line);
        Some(Entry {
            line,
            key: key?,
            matches: matches?,
            makes: makes?,
            made: Counter::default(),
        })
    }

    /// The one fault of an entry.
    fn key(&mut self, at: &str) -> Option<&'static str> {
        let mut keys = KEYS.into_iter().filter(|key| self.has(&join(at, key)));
        let (first, others) = (keys.next(), keys.collect::<Vec<_>>());
        if let Some(first) = first {
            for other in others {
                let help = "give each an entry of its own, with the same match";
                self.key_fault(
                    &join(at, other),
                    format!("{other} stands beside {first}, and an entry makes one fault"),
                    help,
                );
            }
        } else if self
            .document
            .pointer(at)
            .and_then(Value::as_object)
            .is_some_and(|keys| keys.keys().all(|key| key == "match"))
        {
            // Of a key that is unknown the schema has said which ones are not.
            let help = format!("add one of {}", KEYS.join(", "));
            self.fault(at, "the entry makes no fault", help);
        }
        first
    }
}
