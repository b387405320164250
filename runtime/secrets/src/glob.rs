//! Patterns over references, as a policy's `from` writes them.
//!
//! A pattern names its scheme literally. In the path, `*` stands for any characters within one segment and `**`, alone
//! between slashes, for one or more whole segments; neither ever crosses what it says. A pattern without `#key` covers
//! every key of the paths it matches; with one, only that key (in which `*` stands for any characters). Both sides were
//! canonicalised by `reference.rs`, so matching is plain comparison.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::env::PREFIX;
use crate::reference::{
    MAX_REFERENCE_BYTES, Reference, ReferenceError, Scheme, check_command_path, check_key,
    check_path, split_scheme,
};

/// One entry of `from`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob {
    scheme: Scheme,
    path: String,
    key: Option<String>,
}

impl Glob {
    /// Parses `scheme:path` or `scheme:path#key` with stars.
    ///
    /// # Errors
    /// As [`Reference::parse`]; besides, an `env:` pattern that the provider's fence would never honour is refused.
    pub fn parse(text: &str) -> Result<Glob, ReferenceError> {
        if text.len() > MAX_REFERENCE_BYTES {
            return Err(ReferenceError::TooLong);
        }
        let (scheme, rest) = split_scheme(text)?;
        let (path, key) = match rest.split_once('#') {
            Some((path, key)) => (path, Some(check_key(key)?.to_owned())),
            None => (rest, None),
        };
        check_path(path, |c| c == '*')?;
        if path
            .split('/')
            .any(|segment| segment.contains("**") && segment != "**")
        {
            return Err(ReferenceError::DoubleStar);
        }
        if scheme == Scheme::Env && (!path.starts_with(PREFIX) || path.contains('/')) {
            return Err(ReferenceError::OutsideFence);
        }
        if scheme == Scheme::Command {
            check_command_path(path)?;
        }
        Ok(Glob {
            scheme,
            path: path.to_owned(),
            key,
        })
    }

    /// Whether the pattern covers this reference.
    pub fn matches(&self, reference: &Reference) -> bool {
        self.scheme == reference.scheme()
            && segments_match(&segments(&self.path), &segments(reference.path()))
            && match (&self.key, reference.key()) {
                (None, _) => true,
                (Some(pattern), Some(key)) => text_matches(pattern.as_bytes(), key.as_bytes()),
                (Some(_), None) => false,
            }
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').collect()
}

fn segments_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), Some((_, tail))) => {
            segments_match(rest, tail) || segments_match(pattern, tail)
        }
        (Some((first, rest)), Some((segment, tail))) => {
            text_matches(first.as_bytes(), segment.as_bytes()) && segments_match(rest, tail)
        }
        _ => false,
    }
}

/// `*` matches any run of bytes, the empty one too. Linear: on a mismatch only the last star is tried again.
fn text_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, seen)) = star {
            star = Some((at, seen + 1));
            p = at + 1;
            t = seen + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.path)?;
        match &self.key {
            Some(key) => write!(f, "#{key}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Glob {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Glob, ReferenceError> {
        Glob::parse(text)
    }
}

impl TryFrom<String> for Glob {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Glob, ReferenceError> {
        Glob::parse(&text)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, reference: &str) -> bool {
        Glob::parse(glob)
            .unwrap()
            .matches(&Reference::parse(reference).unwrap())
    }

    #[test]
    fn a_pattern_covers_exactly_what_its_stars_say() {
        let table = [
            ("env:CAISSON_SECRET_X", "env:CAISSON_SECRET_X", true),
            ("env:CAISSON_SECRET_X", "env:CAISSON_SECRET_XY", false),
            ("env:CAISSON_SECRET_*", "env:CAISSON_SECRET_SHOP", true),
            ("env:CAISSON_SECRET_*", "env:CAISSON_TOKEN", false),
            ("file:shop", "file:shop", true),
            ("file:shop", "vault:shop", false),
            ("file:shop/*", "file:shop/token", true),
            ("file:shop/*", "file:shop", false),
            ("file:shop/*", "file:shop/eu/token", false),
            ("file:*", "file:shop/token", false),
            ("vault:kv/**", "vault:kv/a/b/c#k", true),
            ("vault:kv/**", "vault:kv", false),
            ("vault:kv/**", "vault:kvx/a", false),
            ("vault:kv/**/ro", "vault:kv/a/b/ro", true),
            ("vault:kv/**/ro", "vault:kv/ro", false),
            ("vault:kv/a*c/x", "vault:kv/abbc/x", true),
            ("vault:kv/a*c/x", "vault:kv/ab/c/x", false),
            ("vault:kv/shop", "vault:kv/shop#any", true),
            ("vault:kv/shop#api_*", "vault:kv/shop#api_key", true),
            ("vault:kv/shop#api_*", "vault:kv/shop#password", false),
            ("vault:kv/shop#api_*", "vault:kv/shop", false),
        ];
        for (glob, reference, expected) in table {
            assert_eq!(
                matches(glob, reference),
                expected,
                "{glob} against {reference}"
            );
        }
    }

    #[test]
    fn a_pattern_that_could_never_be_honoured_is_refused() {
        let refused = [
            ("env:HOME", ReferenceError::OutsideFence),
            ("env:*", ReferenceError::OutsideFence),
            ("*", ReferenceError::Scheme),
            ("*:x", ReferenceError::Scheme),
            ("file:a**", ReferenceError::DoubleStar),
            ("file:../*", ReferenceError::DotSegment),
            ("vault:kv/", ReferenceError::EmptySegment),
            ("vault:kv/[ab]", ReferenceError::Character('[')),
        ];
        for (text, error) in refused {
            assert_eq!(Glob::parse(text), Err(error), "{text}");
        }
    }
}
