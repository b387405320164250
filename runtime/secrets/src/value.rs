//! The value of a secret: wiped when dropped, invisible to formatting, not serialisable by accident.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A secret in memory that is wiped when dropped. `Debug` and `Display` print `[secret]`; there is no `Serialize`.
#[derive(Clone)]
pub struct SecretValue(SecretString);

impl SecretValue {
    /// Takes ownership of a value. A `String` with spare capacity is moved into an exact allocation; prefer `Box<str>`.
    pub fn new(value: impl Into<Box<str>>) -> SecretValue {
        SecretValue(SecretString::from(value.into().into_string()))
    }

    /// The value itself. Every call of this is a place to review.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
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
