//! A whole entry of a store, read so that a part of it can be written back.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::value::SecretValue;

/// The fields of an entry and which version of it they are. What is not changed is written back letter by letter.
pub struct Entry {
    /// The JSON of each field.
    fields: BTreeMap<String, Zeroizing<String>>,
    version: u64,
}

impl Entry {
    pub(crate) fn new<'a>(
        fields: impl IntoIterator<Item = (String, &'a RawValue)>,
        version: u64,
    ) -> Entry {
        let fields = fields
            .into_iter()
            .map(|(name, raw)| (name, Zeroizing::new(raw.get().to_owned())));
        Entry {
            fields: fields.collect(),
            version,
        }
    }

    /// Which version it is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<SecretValue> {
        let raw = self.fields.get(name)?;
        serde_json::from_str::<Box<str>>(raw)
            .ok()
            .map(SecretValue::new)
    }

    /// Gives a field another text.
    pub fn set(&mut self, name: &str, text: &str) {
        let raw = serde_json::to_string(text).unwrap_or_default();
        self.fields.insert(name.to_owned(), Zeroizing::new(raw));
    }

    /// Leaves a field out.
    pub fn remove(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// The fields as a JSON object.
    pub(crate) fn to_json(&self) -> Zeroizing<String> {
        let mut json = Zeroizing::new(String::with_capacity(
            self.fields
                .iter()
                .map(|(name, raw)| 6 * name.len() + raw.len() + 4)
                .sum::<usize>()
                + 2,
        ));
        json.push('{');
        for (index, (name, raw)) in self.fields.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(&serde_json::to_string(name).unwrap_or_default());
            json.push(':');
            json.push_str(raw);
        }
        json.push('}');
        json
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("fields", &self.fields.keys())
            .field("version", &self.version)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_is_written_back_as_it_was() {
        let text = r#"{"a":1.50,"b\"":{"x":[null]},"token":"old"}"#;
        let raw: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap();
        let mut entry = Entry::new(raw, 3);
        assert_eq!(*entry.to_json(), text);
        assert_eq!(entry.text("token").unwrap().expose(), "old");
        assert!(entry.text("a").is_none());
        entry.set("token", "n\"ew");
        entry.remove("a");
        assert_eq!(*entry.to_json(), r#"{"b\"":{"x":[null]},"token":"n\"ew"}"#);
        assert!(!format!("{entry:?}").contains("ew\""));
    }
}
