//! Looks for the placeholders of sealed secrets in what a worker sends where no value can be put in.

use crate::decision::Refusal;
use crate::host::Target;
use crate::policy::RuleAt;
use crate::reason::Reason;
use caisson_secrets::{Redactor, StreamRedactor};
use std::io;

/// Looks through one way of a connection, or through one body.
pub(crate) struct Lookout {
    stream: Option<StreamRedactor>,
    found: bool,
}

impl Lookout {
    /// Knows what the redactor does.
    pub(crate) fn for_all_of(placeholders: &Redactor) -> Self {
        Self {
            stream: Some(placeholders.stream()),
            found: false,
        }
    }

    /// Whether a placeholder is complete with these bytes.
    pub(crate) fn finds(&mut self, bytes: &[u8]) -> bool {
        if let Some(stream) = &mut self.stream {
            stream.push(bytes);
            self.found |= stream.has_seen();
        }
        self.found
    }

    /// Whether one is complete because nothing follows.
    pub(crate) fn finds_at_end(&mut self) -> bool {
        self.found |= self.stream.take().is_some_and(StreamRedactor::finish_found);
        self.found
    }

    pub(crate) fn has_found(&self) -> bool {
        self.found
    }

    /// As [`Lookout::finds`] for a piece of a stream; an empty one is its end.
    ///
    /// # Errors
    /// A placeholder is complete. The piece is not to be sent on.
    pub(crate) fn admit(&mut self, piece: &[u8]) -> io::Result<()> {
        let found = if piece.is_empty() {
            self.finds_at_end()
        } else {
            self.finds(piece)
        };
        if found {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

/// What is said of a placeholder in bytes that are relayed as they are: what has it, and what to do instead.
pub(crate) fn misplaced(
    target: &Target,
    port: u16,
    what: &str,
    mend: &str,
    rule: RuleAt,
) -> Refusal {
    let detail = format!(
        "{target} port {port}: {what} a sealed secret's placeholder, and no value is put in there; {mend}"
    );
    Refusal {
        nearest: Some(rule),
        ..Refusal::flat(Reason::SecretMisplaced, detail)
    }
}
