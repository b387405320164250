//! Places in a text, and the two spellings of a place in a value: the JSON
//! pointer (RFC 6901) that programs use and the path that people read.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

/// A place in a text. Both numbers count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Mark {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Mark {
    /// The first character of a text.
    pub const START: Mark = Mark { line: 1, column: 1 };
}

/// Where keys and values stand, by JSON pointer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    pub(crate) keys: HashMap<String, Mark>,
    pub(crate) values: HashMap<String, Mark>,
}

impl Marks {
    /// The mark of `pointer`, or of its nearest ancestor that has one.
    pub(crate) fn nearest<'a>(
        &self,
        mut pointer: &'a str,
        pick: impl Fn(&Self, &'a str) -> Option<Mark>,
    ) -> Option<Mark> {
        loop {
            if let Some(mark) = pick(self, pointer) {
                return Some(mark);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// Appends one segment (a key or an index) to a JSON pointer, escaped as
/// RFC 6901 asks.
///
/// ```
/// assert_eq!(caisson_document::join("/paths", "/v1"), "/paths/~1v1");
/// ```
#[must_use]
pub fn join(pointer: &str, segment: &str) -> String {
    let mut joined = String::with_capacity(pointer.len() + segment.len() + 1);
    joined.push_str(pointer);
    joined.push('/');
    for character in segment.chars() {
        match character {
            '~' => joined.push_str("~0"),
            '/' => joined.push_str("~1"),
            other => joined.push(other),
        }
    }
    joined
}

/// The path that people read: `/egress/0/ports` becomes `egress[0].ports`.
/// `root` tells a list's index from a key that is a number.
#[must_use]
pub fn path_of(root: &Value, pointer: &str) -> String {
    let mut path = String::new();
    let mut at = Some(root);
    for segment in pointer.split('/').skip(1) {
        let key = segment.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Array(items)) = at {
            path.push_str(&format!("[{key}]"));
            at = key.parse::<usize>().ok().and_then(|index| items.get(index));
            continue;
        }
        if is_plain(&key) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&key);
        } else {
            path.push_str(&format!("[{}]", quoted(&key)));
        }
        at = at.and_then(|value| value.get(&key));
    }
    path
}

/// A key as faults print it: cut to 48 characters, control characters escaped.
pub(crate) fn quoted(key: &str) -> String {
    let cut: String = key.chars().take(48).collect();
    if cut.len() < key.len() {
        format!("{:?}…", cut)
    } else {
        format!("{cut:?}")
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 64
        && key
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_tells_an_index_from_a_key_that_is_a_number() {
        let root = json!({"a": [{"b": {"0": 1}}]});
        assert_eq!(path_of(&root, "/a/0/b/0"), "a[0].b.0");
        assert_eq!(path_of(&root, ""), "");
    }

    #[test]
    fn a_key_with_dots_or_slashes_is_quoted() {
        let root = json!({"a": {"v1/x.y": 1}});
        assert_eq!(path_of(&root, &join("/a", "v1/x.y")), "a[\"v1/x.y\"]");
    }
}
