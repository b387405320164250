//! Host names, made canonical exactly once.
//!
//! Every name that the gateway ever compares is a [`Name`], and a `Name` can only be made here: from policy text, from a
//! config value, from the labels of a DNS question, from a ClientHello. Two spellings of one host are therefore equal, and
//! a spelling that only one of two parsers would understand (`evil\0.allowed.com`, `127.1`, `[host]`) is no name at all.

use std::fmt;

/// Longest name in its textual form, without the trailing dot (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;
/// Longest label (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// A canonical host name: lower case, ASCII, no trailing dot, labels of letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

/// Why a text is not a host name; each says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was left of the text.
    #[error("a host name is empty; write a name such as api.example.com")]
    Empty,
    /// The text exceeds 253 bytes.
    #[error("a host name has at most 253 characters; write the name that DNS knows")]
    TooLong,
    /// A label exceeds 63 bytes.
    #[error("a label between two dots has at most 63 characters; write the name that DNS knows")]
    LabelTooLong,
    /// Two dots in a row, or a leading dot.
    #[error("a host name has an empty label; write it without leading or doubled dots")]
    EmptyLabel,
    /// NUL, CR, LF, space or another control character.
    #[error("a host name holds a space or a control character; write the name alone")]
    Control,
    /// A character outside ASCII.
    #[error("a host name holds a character outside ASCII; write its punycode form (xn--…)")]
    NotAscii,
    /// `%`, brackets, `/`, `:`, `@`, `*` and whatever else no host name has.
    #[error(
        "a host name holds {0:?}; write letters, digits, `-`, `_` and dots only, without scheme, port, zone or brackets"
    )]
    Character(char),
    /// A label begins or ends with a hyphen.
    #[error("a label begins or ends with `-`; write the name that DNS knows")]
    Hyphen,
    /// The last label is a number, so that some parsers would read the text as an address.
    #[error(
        "a host name that ends in a number may be read as an address; write an address in full, as in 192.0.2.10"
    )]
    LooksLikeAddress,
}

impl Name {
    /// Parses text: lower-cases, strips one trailing dot, refuses everything that two parsers could read differently.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        Self::from_labels(text.as_bytes().split(|&b| b == b'.'))
    }

    /// Joins the raw labels of a DNS question. A label may hold any byte on the wire, dots and NUL included; none of those
    /// survive this.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut name = String::new();
        for label in labels {
            if !name.is_empty() {
                name.push('.');
            }
            push_label(&mut name, label)?;
            if name.len() > MAX_NAME {
                return Err(NameError::TooLong);
            }
        }
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if is_number(name.rsplit('.').next().unwrap_or_default()) {
            return Err(NameError::LooksLikeAddress);
        }
        Ok(Self(name.into_boxed_str()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label; `None` for a single label.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, rest)| rest)
    }
}

fn push_label(name: &mut String, label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    for &byte in label {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                name.push(char::from(byte.to_ascii_lowercase()))
            }
            0..=b' ' | 0x7f => return Err(NameError::Control),
            0x80.. => return Err(NameError::NotAscii),
            other => return Err(NameError::Character(char::from(other))),
        }
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::LabelTooLong);
    }
    if label.starts_with(b"-") || label.ends_with(b"-") {
        return Err(NameError::Hyphen);
    }
    Ok(())
}

/// The "ends in a number" test of the WHATWG URL standard: such a host is parsed as an IPv4 address by browsers and, in
/// the shorter forms, by `inet_aton`.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    label.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_and_the_trailing_dot_do_not_make_another_name() {
        assert_eq!(
            Name::parse("API.Example.COM.").unwrap(),
            Name::parse("api.example.com").unwrap()
        );
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_no_name() {
        let refused = [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a.com..", NameError::EmptyLabel),
            ("evil\0.allowed.com", NameError::Control),
            ("a.com\r\nHost: b", NameError::Control),
            ("a b.com", NameError::Control),
            ("[::1]", NameError::Character('[')),
            ("fe80::1%lo", NameError::Character(':')),
            ("a%2e.com", NameError::Character('%')),
            ("a.com:443", NameError::Character(':')),
            ("user@a.com", NameError::Character('@')),
            ("*.a.com", NameError::Character('*')),
            ("münchen.example", NameError::NotAscii),
            ("-a.com", NameError::Hyphen),
            ("2130706433", NameError::LooksLikeAddress),
            ("0x7f000001", NameError::LooksLikeAddress),
            ("0x", NameError::LooksLikeAddress),
            ("127.1", NameError::LooksLikeAddress),
            ("0177.0.0.1", NameError::LooksLikeAddress),
            ("169.254.169.254", NameError::LooksLikeAddress),
            ("allowed.com.0X1F", NameError::LooksLikeAddress),
        ];
        for (text, error) in refused {
            assert_eq!(Name::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::LabelTooLong));
        assert_eq!(
            Name::parse(&["abcdefg"; 40].join(".")),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn a_dot_or_a_nul_inside_a_wire_label_does_not_reach_another_name() {
        let dotted: [&[u8]; 2] = [b"api.example", b"com"];
        assert_eq!(Name::from_labels(dotted), Err(NameError::Character('.')));
        let nul: [&[u8]; 3] = [b"evil\0", b"allowed", b"com"];
        assert_eq!(Name::from_labels(nul), Err(NameError::Control));
    }

    proptest! {
        #[test]
        fn making_a_name_canonical_twice_changes_nothing(text in "\\PC{0,80}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(Name::parse(name.as_str()).unwrap(), name.clone());
                prop_assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
            }
        }

        #[test]
        fn text_and_wire_labels_give_the_same_name(text in "[a-zA-Z0-9_-]{1,10}(\\.[a-zA-Z0-9_-]{1,10}){0,4}\\.?") {
            let trimmed = text.strip_suffix('.').unwrap_or(&text);
            prop_assert_eq!(Name::parse(&text), Name::from_labels(trimmed.split('.').map(str::as_bytes)));
        }
    }
}
