//! The value of a secret: wiped when dropped, invisible to formatting, not serialisable by accident.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::memory::Memory;

/// A secret in memory that is wiped when dropped and stays out of core files. `Debug` and `Display` print `[secret]`; there
/// is no `Serialize`. A clone is the same memory.
#[derive(Clone)]
pub struct SecretValue(Arc<Memory>);

impl SecretValue {
    /// Takes ownership of a value. A `String` with spare capacity is moved into an exact allocation; prefer `Box<str>`.
    pub fn new(value: impl Into<Box<str>>) -> SecretValue {
        let value = Zeroizing::new(value.into());
        SecretValue(Arc::new(Memory::of([value.as_bytes()])))
    }

    /// The value itself. Every call of this is a place to review.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only text comes in")
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatting_a_value_shows_nothing_of_it() {
        let value = SecretValue::new("hunter22");
        let shown = format!("{value} {value:?} {:?} {:#?}", Some(&value), vec![&value]);
        assert!(!shown.contains("hunter22"), "{shown}");
        assert_eq!(value.expose(), "hunter22");
    }
}
