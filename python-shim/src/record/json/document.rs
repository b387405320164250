//! A whole text: whether it is plain, and where its parts are.
//!
//! Plain is what RFC 8259 and CPython's `json.loads` read alike without a
//! second thought: UTF-8 without a byte order mark, no `NaN`, no half of a
//! surrogate pair, not too deep. Of everything else, Python decides.

use super::ahead::Ahead;
use super::cursor::{Cursor, DEPTH};

/// Members of the outermost object; one with more is for Python.
const MEMBERS: usize = 256;

/// The elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Items {
    /// Where the first one begins, or the array's end stands.
    pub(crate) start: usize,
    pub(crate) count: usize,
    /// Where the last one begins.
    pub(crate) last: usize,
}

impl Items {
    /// Over an array, which is looked at; its elements are made into rows if
    /// there is somebody who does.
    fn read(text: &mut Cursor<'_>, depth: usize, mut ahead: Option<&mut Ahead>) -> Option<Self> {
        if depth >= DEPTH || !text.take(b'[') {
            return None;
        }
        text.peek()?;
        let mut items = Self {
            start: text.at,
            count: 0,
            last: text.at,
        };
        if let Some(ahead) = &mut ahead {
            ahead.begin(text.at);
        }
        let mut first = true;
        while text.more(b']', &mut first)? {
            text.peek()?;
            items.count += 1;
            items.last = text.at;
            match &mut ahead {
                Some(ahead) => ahead.record(text, depth + 1)?,
                None => text.skip(depth + 1)?,
            }
        }
        if let Some(ahead) = ahead {
            ahead.end(text.at);
        }
        Some(items)
    }
}

/// A member of the outermost object.
#[derive(Debug)]
struct Member {
    key: Box<str>,
    start: usize,
    /// Where it is an array.
    items: Option<Items>,
}

/// What was found of a plain text.
#[derive(Debug)]
pub(crate) struct Document {
    /// None: it is no object.
    members: Option<Vec<Member>>,
    /// Where it is an array.
    items: Option<Items>,
    start: usize,
}

/// A value at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Where it begins.
    At(usize),
    Nothing,
    /// Only Python knows what this path means.
    Odd,
}

impl Document {
    /// None if the text is not plain. The array that `ahead` waits for is made
    /// into rows on the way.
    pub(crate) fn of(text: &str, ahead: Option<&mut Ahead>) -> Option<Self> {
        let mut text = Cursor::new(text, 0);
        let mut document = Self {
            members: None,
            items: None,
            start: 0,
        };
        let outermost = text.peek()?;
        document.start = text.at;
        match outermost {
            b'{' => document.members = Some(members(&mut text, ahead)?),
            b'[' => {
                let ahead = ahead.filter(|ahead| ahead.waits_for(None));
                document.items = Some(Items::read(&mut text, 0, ahead)?);
            }
            _ => text.skip(0)?,
        }
        text.peek().is_none().then_some(document)
    }

    /// The value at a dotted path, by the rules of `pages.find`: a key that
    /// has dots itself wins, and the last of several equal keys.
    pub(crate) fn find(&self, text: &str, path: Option<&str>) -> Found {
        let Some(path) = path else {
            return Found::At(self.start);
        };
        if let Some(member) = self.member(path) {
            return Found::At(member.start);
        }
        let mut parts = path.split('.');
        let mut at = match (&self.members, parts.next()) {
            (Some(_), Some(part)) => match self.member(part) {
                Some(member) => member.start,
                None => return Found::Nothing,
            },
            // An array's element, or nothing.
            _ => return Found::Odd,
        };
        for part in parts {
            let mut value = Cursor::new(text, at);
            at = match value.peek() {
                Some(b'{') => match last_member(&mut value, part) {
                    Some(Some(start)) => start,
                    Some(None) => return Found::Nothing,
                    None => return Found::Odd,
                },
                _ => return Found::Odd,
            };
        }
        Found::At(at)
    }

    fn member(&self, key: &str) -> Option<&Member> {
        let members = self.members.as_ref()?;
        members.iter().rev().find(|member| *member.key == *key)
    }

    /// The elements of the array that begins here; None if none does.
    pub(crate) fn items(&self, text: &str, start: usize) -> Option<Items> {
        if start == self.start {
            return self.items;
        }
        let known = self.members.iter().flatten().find(|m| m.start == start);
        match known {
            Some(member) => member.items,
            None => Items::read(&mut Cursor::new(text, start), 1, None),
        }
    }
}

fn members(text: &mut Cursor<'_>, mut ahead: Option<&mut Ahead>) -> Option<Vec<Member>> {
    text.take(b'{');
    let mut members = Vec::new();
    let mut first = true;
    while text.more(b'}', &mut first)? {
        let key: Box<str> = text.key()?.into();
        let array = text.peek()? == b'[';
        let start = text.at;
        let items = if array {
            let ahead = ahead.as_deref_mut().filter(|a| a.waits_for(Some(&key)));
            Some(Items::read(text, 1, ahead)?)
        } else {
            text.skip(1)?;
            None
        };
        if members.len() == MEMBERS {
            return None;
        }
        members.push(Member { key, start, items });
    }
    Some(members)
}

/// Where the last member of this name begins, of the object that begins here.
fn last_member(text: &mut Cursor<'_>, name: &str) -> Option<Option<usize>> {
    text.take(b'{');
    let mut found = None;
    let mut first = true;
    while text.more(b'}', &mut first)? {
        let key = text.key()?;
        text.peek()?;
        if key == name {
            found = Some(text.at);
        }
        text.skip(0)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn found(text: &str, path: &str) -> Option<String> {
        let document = Document::of(text, None)?;
        let Found::At(start) = document.find(text, Some(path)) else {
            return None;
        };
        let mut end = Cursor::new(text, start);
        end.skip(0)?;
        Some(text[start..end.at].to_owned())
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_another_parser_wrote_is_plain(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert!(Document::of(&text.unwrap(), None).is_some());
        }

        #[test]
        fn what_is_plain_another_parser_reads(value in json(), edits in prop::collection::vec((any::<prop::sample::Index>(), "[\"\\\\{}\\[\\],:0-9eEu.+\\-tn \n\u{1}é]{0,2}"), 1..4)) {
            let mut text = serde_json::to_string(&value).unwrap();
            for (place, new) in edits {
                let mut at = place.index(text.len() + 1);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                let end = text[at..].chars().next().map_or(at, |gone| at + gone.len_utf8());
                text.replace_range(at..end, &new);
            }
            if Document::of(&text, None).is_some() {
                // The one thing that it does not take: a float beyond all floats.
                let read = serde_json::from_str::<Value>(&text).map_err(|error| error.to_string());
                prop_assert!(read.is_ok() || read.clone().unwrap_err().contains("out of range"), "{text}: {read:?}");
            }
        }

        #[test]
        fn any_text_is_looked_at_without_a_panic(text in any::<String>(), path in "[a-c.0-9]{0,6}") {
            found(&text, &path);
        }
    }

    #[test]
    fn values_are_found_by_path() {
        let text = r#" {"a": {"b": [1, 2], "b": 3}, "a.b": "x", "c": [ ], "d": {"e": null}} "#;
        assert_eq!(found(text, "a.b").unwrap(), "\"x\"");
        assert_eq!(found(text, "d.e").unwrap(), "null");
        assert_eq!(found(text, "d.f"), None);
        let document = Document::of(text, None).unwrap();
        let Found::At(start) = document.find(text, Some("c")) else {
            panic!("it is there");
        };
        assert_eq!(document.items(text, start).unwrap().count, 0);
        assert_eq!(document.find(text, Some("c.0")), Found::Odd);
    }
}
