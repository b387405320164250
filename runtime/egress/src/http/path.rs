//! Paths of requests: brought into one spelling once, and compared with what a policy allows.
//!
//! What servers read in more than one way is no path here: dot segments, empty segments, backslashes, control characters
//! and an encoding of an encoding (RFC 3986, 6.2.2 and 7.3). An encoded slash is a part of a segment for some servers and
//! a slash for others, so that a path which holds one is allowed only where both readings are, or where a pattern names it.

use std::borrow::Cow;
use std::fmt;

/// A path in its one spelling: escapes of unreserved characters undone, other escapes in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(String);

/// Why a text is no path that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("it does not begin with /")]
    NotAbsolute,
    #[error("it holds {0:?}, which no path may hold unescaped")]
    Character(char),
    #[error("it holds a % that no two hexadecimal digits follow")]
    Escape,
    #[error("it holds {0}, which servers read in different ways")]
    Ambiguous(&'static str),
}

impl Path {
    /// The path of a request target, without its query.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let path = spelled(text)?;
        for segment in path[1..].split('/').rev().skip(1) {
            if segment.is_empty() {
                return Err(PathError::Ambiguous("an empty segment (//)"));
            }
        }
        if path[1..].split('/').any(is_dots) {
            return Err(PathError::Ambiguous("a segment of dots (/../)"));
        }
        if let Cow::Owned(other) = slashes(&path)
            && other
                .trim_end_matches('/')
                .split('/')
                .any(|segment| segment.is_empty() || is_dots(segment))
        {
            return Err(PathError::Ambiguous(
                "an escaped slash (%2F) beside dots or another slash",
            ));
        }
        Ok(Self(path))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, as a server reads them that leaves %2F alone, and as one that does not.
    fn readings(&self) -> impl Iterator<Item = Vec<&str>> {
        // A slash that is an escape splits as well as one that is none: the texts between are the same.
        let plain: Vec<&str> = self.0[1..].split('/').collect();
        let split = self.0.contains("%2F").then(|| {
            let segments = self.0[1..].split('/');
            segments.flat_map(|segment| segment.split("%2F")).collect()
        });
        std::iter::once(plain).chain(split)
    }
}

/// One entry of `paths`: `*` is any text inside one segment, a segment `**` any number of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is no pattern of paths; each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It begins otherwise.
    #[error("a path begins with /; write /{0}")]
    NotAbsolute(String),
    /// It holds a query or fragment.
    #[error("paths are compared without query and fragment; write {0}")]
    Query(String),
    /// `**` is only a part of a segment.
    #[error(
        "** stands for whole segments; write it between slashes, as in /v1/**, or * inside a segment"
    )]
    Stars,
    /// No path that is judged could match it.
    #[error("no path matches it, since {0}; write the path as the upstream's documentation has it")]
    Never(String),
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        if let Some(end) = text.find(['?', '#']) {
            return Err(PatternError::Query(text[..end].to_owned()));
        }
        if !text.starts_with('/') {
            return Err(PatternError::NotAbsolute(text.to_owned()));
        }
        if text
            .split('/')
            .any(|segment| segment.contains("**") && segment != "**")
        {
            return Err(PatternError::Stars);
        }
        let path = Path::parse(text).map_err(|error| PatternError::Never(error.to_string()))?;
        Ok(Self(path.0))
    }

    /// Whether every reading of a path is one that this allows. A pattern that itself names an escaped slash is of an
    /// upstream that takes it for none.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        let pattern: Vec<&str> = self.0[1..].split('/').collect();
        let readings = if self.0.contains("%2F") { 1 } else { 2 };
        path.readings()
            .take(readings)
            .all(|segments| matches_all(&pattern, &segments))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn matches_all(pattern: &[&str], segments: &[&str]) -> bool {
    // The place after the last `**`, to come back to with one segment more: linear in both, as globs are matched.
    let (mut at, mut seen, mut back) = (0, 0, None);
    while seen < segments.len() {
        match pattern.get(at) {
            Some(&"**") => {
                back = Some((at, seen));
                at += 1;
            }
            Some(one) if matches_segment(one.as_bytes(), segments[seen].as_bytes()) => {
                at += 1;
                seen += 1;
            }
            _ => match back {
                Some((stars, from)) => {
                    back = Some((stars, from + 1));
                    at = stars + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == "**")
}

fn matches_segment(pattern: &[u8], segment: &[u8]) -> bool {
    let (mut at, mut seen, mut back) = (0, 0, None);
    while seen < segment.len() {
        if pattern.get(at) == Some(&b'*') {
            back = Some((at, seen));
            at += 1;
        } else if pattern.get(at) == Some(&segment[seen]) {
            at += 1;
            seen += 1;
        } else if let Some((star, from)) = back {
            back = Some((star, from + 1));
            at = star + 1;
            seen = from + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&rest| rest == b'*')
}

/// Undoes escapes that need not be, and refuses what no path holds.
fn spelled(text: &str) -> Result<String, PathError> {
    if !text.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let mut path = String::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(hex));
                let [Some(high), Some(low)] = digits else {
                    return Err(PathError::Escape);
                };
                match high << 4 | low {
                    b'\\' => return Err(PathError::Ambiguous("an escaped backslash (%5C)")),
                    0..0x20 | 0x7f => {
                        return Err(PathError::Ambiguous("an escaped control character"));
                    }
                    decoded if is_unreserved(decoded) => path.push(char::from(decoded)),
                    decoded => path.push_str(&format!("%{decoded:02X}")),
                }
            }
            b'\\' => return Err(PathError::Ambiguous("a backslash")),
            0..=0x20
            | 0x7f..
            | b'"'
            | b'<'
            | b'>'
            | b'`'
            | b'{'
            | b'}'
            | b'^'
            | b'|'
            | b'#'
            | b'?' => {
                return Err(PathError::Character(char::from(byte)));
            }
            byte => path.push(char::from(byte)),
        }
    }
    let is_twice =
        |escape: &[u8]| escape.starts_with(b"%25") && escape[3..].iter().all(u8::is_ascii_hexdigit);
    if path.as_bytes().windows(5).any(is_twice) {
        return Err(PathError::Ambiguous("an escape of an escape (%252E)"));
    }
    Ok(path)
}

/// The path of a server that undoes %2F.
fn slashes(path: &str) -> Cow<'_, str> {
    if path.contains("%2F") {
        // Without its first slash, so that no empty segment comes of that.
        Cow::Owned(path[1..].replace("%2F", "/"))
    } else {
        Cow::Borrowed(path)
    }
}

/// `.` or `..`, also with parameters (`..;x`), which some servers cut off first, and some of them after they undid `%3B`.
fn is_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    matches!(name.split("%3B").next(), Some("." | ".."))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern)
            .unwrap()
            .matches(&Path::parse(path).unwrap())
    }

    #[test]
    fn stars_are_inside_a_segment_and_two_are_any_segments() {
        for (pattern, path, expected) in [
            ("/v1/**", "/v1", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v1/a/b", true),
            ("/v1/**", "/v10/a", false),
            ("/v1/*", "/v1/a", true),
            ("/v1/*", "/v1/a/b", false),
            ("/v1/*", "/v1/", true),
            ("/v1/*/items", "/v1/a/items", true),
            ("/v1/*/items", "/v1/a/b/items", false),
            ("/**/items", "/items", true),
            ("/**/items", "/a/b/items", true),
            ("/**/items", "/a/items/b", false),
            ("/**/a/**/b", "/x/a/a/y/b/b", true),
            ("/v1/items-*.json", "/v1/items-2020.json", true),
            ("/v1/items-*.json", "/v1/items-2020.xml", false),
            ("/", "/", true),
            ("/", "/a", false),
            ("/**", "/", true),
            ("/V1/*", "/v1/a", false),
        ] {
            assert_eq!(allows(pattern, path), expected, "{pattern} and {path}");
        }
    }

    #[test]
    fn a_path_has_one_spelling() {
        let spell = |text: &str| Path::parse(text).unwrap().0;
        assert_eq!(spell("/%7Euser/%61%2d%2f%c3%a9"), "/~user/a-%2F%C3%A9");
        assert_eq!(spell("/a;v=1/b,c:d@e!$&'()*+="), "/a;v=1/b,c:d@e!$&'()*+=");
        assert!(allows("/v1/%7euser", "/v1/~user"));
        assert!(allows("/%61dmin", "/admin"));
    }

    #[test]
    fn what_servers_read_in_different_ways_is_no_path() {
        for text in [
            "",
            "v1",
            "/v1/../admin",
            "/v1/..",
            "/v1/./a",
            "/v1/%2e%2e/admin",
            "/v1/%2E./admin",
            "/v1//admin",
            "//v1",
            "/v1/..;/admin",
            "/v1/..;a=b/admin",
            "/v1\\admin",
            "/v1/%5cadmin",
            "/v1/%00",
            "/v1/%0d%0a",
            "/v1/\u{1}",
            "/v1/a b",
            "/v1/%",
            "/v1/%2",
            "/v1/%zz",
            "/v1/%252e%252e/admin",
            "/v1/%25%32%65/a",
            "/v1/%25252e/a",
            "/v1/%2541",
            "/v1/..%3Badmin",
            "/v1/..%3b/admin",
            "/v1/..%2Fadmin",
            "/v1/a%2F%2Fb",
            "/v1/a/%2Fb",
            "/v1/é",
            "/v1?x",
            "/v1#x",
        ] {
            assert!(Path::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_escaped_slash_is_allowed_where_both_readings_are() {
        assert!(allows("/projects/**", "/projects/group%2Fname/issues"));
        assert!(!allows(
            "/projects/*/issues",
            "/projects/group%2Fname/issues"
        ));
        assert!(!allows("/public/*", "/public/a%2fadmin"));
        let named = "/projects/group%2Fname/issues";
        assert!(allows(named, named) && allows("/projects/group%2fname/*", named));
        assert!(!allows(
            "/projects/group%2Fname/*",
            "/projects/group/name/issues"
        ));
        assert!(Path::parse("/50%25/100%25%20").is_ok());
    }

    #[test]
    fn a_pattern_that_is_none_says_what_to_write() {
        let say = |text: &str| Pattern::parse(text).unwrap_err().to_string();
        assert_eq!(say("v1/**"), "a path begins with /; write /v1/**");
        assert!(say("/v1?x=1").ends_with("write /v1"));
        assert!(say("/v1/a**").starts_with("** stands for whole segments"));
        assert!(
            say("/v1/../a").starts_with("no path matches it, since it holds a segment of dots")
        );
    }
}
