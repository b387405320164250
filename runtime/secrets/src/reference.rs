//! Secret references: `scheme:path#key`, parsed once into a canonical form.
//!
//! Everything later (rules, providers, errors, logs) works on the parsed form, so a spelling that means one thing to a
//! rule and another to a provider cannot exist: `.`, `..`, empty segments, backslashes, percent signs and control
//! characters are refused here. This file performs no IO.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest reference that is accepted, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 1024;

/// Where a secret is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// A variable of the daemon's environment whose name begins with `CAISSON_SECRET_`.
    Env,
    /// A file inside the one directory that the operator configured.
    File,
    /// A path of HashiCorp Vault or OpenBao.
    Vault,
    /// What the operator's command prints when it is given the path.
    Command,
}

impl Scheme {
    /// Every scheme, in the order in which messages list them.
    pub const ALL: [Scheme; 4] = [Scheme::Env, Scheme::File, Scheme::Vault, Scheme::Command];

    /// The scheme as it is written before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Env => "env",
            Scheme::File => "file",
            Scheme::Vault => "vault",
            Scheme::Command => "command",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Scheme> {
        Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.as_str() == name)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reference to a secret, never its value: `env:CAISSON_SECRET_SHOP`, `file:shop/api#token`, `vault:kv/data/shop#api_key`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    scheme: Scheme,
    path: String,
    key: Option<String>,
}

impl Reference {
    /// Parses `scheme:path` or `scheme:path#key`.
    ///
    /// # Errors
    /// Names the part that is wrong and what to write instead. The text is not repeated: someone who pastes a value
    /// where a reference belongs must not find it in a log.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        if text.len() > MAX_REFERENCE_BYTES {
            return Err(ReferenceError::TooLong);
        }
        let (scheme, rest) = split_scheme(text)?;
        let (path, key) = match rest.split_once('#') {
            Some((path, key)) => (path, Some(check_key(key)?.to_owned())),
            None => (rest, None),
        };
        check_path(path, |_| false)?;
        if scheme == Scheme::Env && !is_variable_name(path) {
            return Err(ReferenceError::NotAVariable);
        }
        if scheme == Scheme::Command {
            check_command_path(path)?;
        }
        Ok(Reference {
            scheme,
            path: path.to_owned(),
            key,
        })
    }

    /// Where the secret is kept.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The path inside the provider, canonical: no `.`, `..` or empty segment.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The field of the secret at [`Reference::path`], or nothing where the secret is the whole content.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.path)?;
        match &self.key {
            Some(key) => write!(f, "#{key}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        Reference::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

/// Why a text is no reference (or no pattern of references).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is no `scheme:` in front, or an unknown one.
    #[error(
        "no known scheme; write env:CAISSON_SECRET_NAME, file:NAME, vault:PATH#KEY or command:PATH"
    )]
    Scheme,
    /// Longer than [`MAX_REFERENCE_BYTES`].
    #[error(
        "longer than {MAX_REFERENCE_BYTES} bytes; a reference names a secret, it does not hold it"
    )]
    TooLong,
    /// Nothing stands after the scheme, or a slash stands first, last or twice.
    #[error(
        "the path has an empty segment; write segments joined by single slashes, none first or last"
    )]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("the path contains \".\" or \"..\"; write the path that is meant")]
    DotSegment,
    /// A character that is read differently by different programs.
    #[error("the path contains {0:?}; use letters, digits and _ - . , @ + = ~ :")]
    Character(char),
    /// `#` with nothing, too much or a control character behind it.
    #[error("the key after # is empty or contains a control character or a second #; write #KEY")]
    Key,
    /// An `env:` path that no variable can have.
    #[error("not a variable name; write env:CAISSON_SECRET_NAME with letters, digits and _")]
    NotAVariable,
    /// A segment of a `command:` path that a program could take for an option, a file or a user's home.
    #[error(
        "a segment of a command's path begins with {0:?}; begin each with a letter, a digit or _"
    )]
    OptionLike(char),
    /// A pattern for `env:` outside the names that the environment provider reads.
    #[error(
        "env reads only variables that begin with CAISSON_SECRET_; write env:CAISSON_SECRET_NAME or env:CAISSON_SECRET_*"
    )]
    OutsideFence,
    /// `**` that is not a whole segment.
    #[error("** stands for whole segments; write it alone between slashes, or * inside a segment")]
    DoubleStar,
}

pub(crate) fn split_scheme(text: &str) -> Result<(Scheme, &str), ReferenceError> {
    let (scheme, rest) = text.split_once(':').ok_or(ReferenceError::Scheme)?;
    Ok((Scheme::named(scheme).ok_or(ReferenceError::Scheme)?, rest))
}

/// An allowlist on purpose: `%`, `?`, `\` and the like mean something to an HTTP provider or to a file system.
pub(crate) fn check_path(path: &str, also: impl Fn(char) -> bool) -> Result<(), ReferenceError> {
    for segment in path.split('/') {
        match segment {
            "" => return Err(ReferenceError::EmptySegment),
            "." | ".." => return Err(ReferenceError::DotSegment),
            _ => {}
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.,@+=~:".contains(c) || also(c);
        if let Some(c) = segment.chars().find(|&c| !allowed(c)) {
            return Err(ReferenceError::Character(c));
        }
    }
    Ok(())
}

/// What a program is given as an argument: neither `-f` nor `@file`, `~root`, `+x` or `.x`, also where it splits at slashes.
pub(crate) fn check_command_path(path: &str) -> Result<(), ReferenceError> {
    check_path(path, |c| c == '*')?;
    let firsts = path.split('/').filter_map(|segment| segment.chars().next());
    let plain = |c: &char| c.is_ascii_alphanumeric() || "_*".contains(*c);
    match firsts.into_iter().find(|first| !plain(first)) {
        Some(first) => Err(ReferenceError::OptionLike(first)),
        None => Ok(()),
    }
}

pub(crate) fn check_key(key: &str) -> Result<&str, ReferenceError> {
    if key.is_empty() || key.chars().any(|c| c.is_control() || c == '#') {
        return Err(ReferenceError::Key);
    }
    Ok(key)
}

fn is_variable_name(path: &str) -> bool {
    !path.starts_with(|c: char| c.is_ascii_digit())
        && path.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_written_as_it_was_read() {
        for text in [
            "env:CAISSON_SECRET_SHOP",
            "file:shop/api.token",
            "file:shop#token",
            "vault:kv/data/shop#api_key",
            "command:shop/stripe@live#api_key",
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn spellings_that_could_slip_past_a_rule_are_refused() {
        let refused = [
            ("file:../x", ReferenceError::DotSegment),
            ("vault:kv/../admin", ReferenceError::DotSegment),
            ("vault:kv/./x", ReferenceError::DotSegment),
            ("vault:kv//x", ReferenceError::EmptySegment),
            ("file:/etc/shadow", ReferenceError::EmptySegment),
            ("file:x/", ReferenceError::EmptySegment),
            ("file:", ReferenceError::EmptySegment),
            ("vault:kv/%2e%2e/admin", ReferenceError::Character('%')),
            ("vault:kv/x?version=1", ReferenceError::Character('?')),
            ("file:a\\b", ReferenceError::Character('\\')),
            ("file:a\0b", ReferenceError::Character('\0')),
            ("file:a b", ReferenceError::Character(' ')),
            ("file:*", ReferenceError::Character('*')),
            ("file:x#", ReferenceError::Key),
            ("file:x#a#b", ReferenceError::Key),
            ("env:A/B", ReferenceError::NotAVariable),
            ("env:1A", ReferenceError::NotAVariable),
            ("command:-x", ReferenceError::OptionLike('-')),
            ("command:--help", ReferenceError::OptionLike('-')),
            ("command:shop/-x", ReferenceError::OptionLike('-')),
            ("command:@file", ReferenceError::OptionLike('@')),
            ("command:~root/x", ReferenceError::OptionLike('~')),
            ("command:=x", ReferenceError::OptionLike('=')),
            ("command:.x", ReferenceError::OptionLike('.')),
            ("command:../x", ReferenceError::DotSegment),
            ("command:a b", ReferenceError::Character(' ')),
            ("command:a;b", ReferenceError::Character(';')),
            ("command:$(x)", ReferenceError::Character('$')),
            ("command:*", ReferenceError::Character('*')),
            ("command:", ReferenceError::EmptySegment),
            ("hunter22", ReferenceError::Scheme),
            ("ENV:CAISSON_SECRET_X", ReferenceError::Scheme),
            ("https://example.com", ReferenceError::Scheme),
        ];
        for (text, error) in refused {
            assert_eq!(Reference::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            Reference::parse(&format!("file:{}", "x".repeat(1024))),
            Err(ReferenceError::TooLong)
        );
    }

    #[test]
    fn an_error_does_not_repeat_what_may_be_a_pasted_value() {
        let error = Reference::parse("sk_live_4242424242")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("sk_live"), "{error}");
    }
}
