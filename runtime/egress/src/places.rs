//! Places in a JSON text, found without writing it anew: what is not replaced stays letter for letter.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;

/// A JSON text.
pub(crate) struct Json<'t> {
    text: &'t str,
    whole: &'t RawValue,
}

impl<'t> Json<'t> {
    /// `None`: it is none.
    pub(crate) fn of(text: &'t str) -> Option<Self> {
        let whole = serde_json::from_str(text).ok()?;
        Some(Self { text, whole })
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    pub(crate) fn whole(&self) -> &'t RawValue {
        self.whole
    }

    /// The values that the steps of a pointer (RFC 6901) lead to; a step `*` stands for every member or item.
    pub(crate) fn at(&self, steps: &[String]) -> Vec<&'t RawValue> {
        let mut found = Vec::new();
        at(self.whole, steps, &mut found);
        found
    }

    /// Every value that has no parts.
    pub(crate) fn leaves(&self, each: &mut impl FnMut(&'t RawValue)) {
        leaves(self.whole, each);
    }

    /// Where a value stands in the text.
    pub(crate) fn place(&self, value: &RawValue) -> Range<usize> {
        let start = value.get().as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + value.get().len()
    }
}

/// The steps of a pointer.
pub(crate) fn steps(pointer: &str) -> Vec<String> {
    let steps = pointer.strip_prefix('/').unwrap_or(pointer).split('/');
    steps
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// A text with other words in these places. Of a place inside of another, the outer one counts.
pub(crate) fn replaced(text: &str, mut places: Vec<(Range<usize>, &str)>) -> String {
    places.sort_by_key(|(place, _)| (place.start, Reverse(place.end)));
    let (mut shown, mut from) = (String::with_capacity(text.len()), 0);
    for (place, word) in places {
        if place.start >= from {
            shown.push_str(&text[from..place.start]);
            shown.push_str(word);
            from = place.end;
        }
    }
    shown.push_str(&text[from..]);
    shown
}

fn at<'t>(value: &'t RawValue, steps: &[String], found: &mut Vec<&'t RawValue>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    match Parts::of(value) {
        Some(Parts::Members(members)) => members
            .iter()
            .filter(|(name, _)| step == "*" || name == step)
            .for_each(|(_, member)| at(member, rest, found)),
        Some(Parts::Items(items)) => items
            .iter()
            .enumerate()
            .filter(|(number, _)| step == "*" || step.parse() == Ok(*number))
            .for_each(|(_, item)| at(item, rest, found)),
        None => {}
    }
}

fn leaves<'t>(value: &'t RawValue, each: &mut impl FnMut(&'t RawValue)) {
    match Parts::of(value) {
        Some(Parts::Members(members)) => {
            members.iter().for_each(|(_, member)| leaves(member, each))
        }
        Some(Parts::Items(items)) => items.iter().for_each(|item| leaves(item, each)),
        None => each(value),
    }
}

/// What an object or an array is made of.
pub(crate) enum Parts<'t> {
    Members(Vec<(String, &'t RawValue)>),
    Items(Vec<&'t RawValue>),
}

impl<'t> Parts<'t> {
    /// `None` for a value that has no parts.
    pub(crate) fn of(value: &'t RawValue) -> Option<Self> {
        let text = value.get();
        if !text.starts_with(['{', '[']) {
            return None;
        }
        serde_json::from_str(text).ok()
    }
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or an array")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Parts::Members(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Parts::Items(items))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
