//! What is not kept of a text: the secrets of the call, the credentials that OAuth 2.0 names, and what the configuration
//! names. Everything else stays as it was written, letter for letter.

use super::HIDDEN;
use super::request::{decoded, pairs};
use caisson_secrets::{REDACTED, Redactor};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Headers whose values are credentials.
const HEADERS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
];

/// Parameters and members whose values are credentials (RFC 6749, 6750, 7521, 7636), most of them made by the server, so
/// that no secret of the call tells of them.
const CREDENTIALS: [&str; 8] = [
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "client_assertion",
    "assertion",
    "code_verifier",
    "password",
];

/// Whether a header's value is a credential; `ignored` names more of them.
pub(super) fn is_header(name: &str, ignored: &[String]) -> bool {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    HEADERS.iter().any(|other| is(other)) || ignored.iter().any(|other| is(other))
}

/// A text without secrets.
pub(super) fn secrets<'t>(redactor: &Redactor, text: &'t str) -> Cow<'t, str> {
    match redactor.redact(text) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(text) => Cow::Owned(text.replace(REDACTED, HIDDEN)),
    }
}

/// A query (application/x-www-form-urlencoded) without the parameters of these names, in any spelling, and without
/// credentials.
pub(super) fn query(text: &str, ignored: &[String]) -> String {
    let kept: Vec<Cow<'_, str>> = text
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (spelt, _) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(spelt);
            if ignored.contains(&name) {
                None
            } else if CREDENTIALS.contains(&name.as_str()) {
                Some(Cow::Owned(format!("{spelt}={HIDDEN}")))
            } else {
                Some(Cow::Borrowed(pair))
            }
        })
        .collect();
    kept.join("&")
}

/// A body without what is not kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// JSON, or a JSON text in each line: every place in it was looked at.
    Json(String),
    /// Any other text.
    Other(String),
}

/// A body without secrets, without credentials, and without the values that `pointers` (RFC 6901, split) lead to.
pub(super) fn body(text: &str, pointers: &[Vec<String>], redactor: &Redactor) -> Hidden {
    let hidden = |json: Json<'_>| json.hidden(pointers, redactor);
    let lines = || {
        let lines = text.split_inclusive('\n').map(|line| match line.trim() {
            "" => Some(line.to_owned()),
            _ => Json::of(line).map(hidden),
        });
        lines.collect::<Option<String>>()
    };
    let done = |text: String| secrets(redactor, &text).into_owned();
    match Json::of(text).map(hidden).or_else(lines) {
        Some(json) => Hidden::Json(done(json)),
        None if is_form(text) => Hidden::Other(done(query(text, &[]))),
        None => Hidden::Other(secrets(redactor, text).into_owned()),
    }
}

/// A form that holds a credential. Without one it stays as it is written.
fn is_form(text: &str) -> bool {
    let fields = pairs(text);
    !text.contains(char::is_whitespace)
        && fields
            .iter()
            .any(|field| CREDENTIALS.contains(&field.name.as_str()))
}

/// A JSON text, in which places are found without writing it anew.
struct Json<'t> {
    text: &'t str,
    whole: &'t RawValue,
}

impl<'t> Json<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let whole = serde_json::from_str(text).ok()?;
        Some(Self { text, whole })
    }

    fn hidden(&self, pointers: &[Vec<String>], redactor: &Redactor) -> String {
        let mut places = Vec::new();
        for steps in pointers {
            self.named(self.whole, steps, &mut places);
        }
        if let Some(Parts::Members(members)) = Parts::of(self.whole) {
            let is_credential = |name: &str| CREDENTIALS.contains(&name);
            let values = members
                .iter()
                .filter(|(name, value)| is_credential(name) && value.get().starts_with('"'));
            places.extend(values.map(|(_, value)| self.place(value)));
        }
        if redactor.finds(self.text.as_bytes()) {
            self.numbers(self.whole, redactor, &mut places);
        }
        // A place inside of another begins behind it.
        places.sort_by_key(|place| (place.start, std::cmp::Reverse(place.end)));
        let (mut shown, mut from) = (String::with_capacity(self.text.len()), 0);
        for place in places {
            if place.start >= from {
                shown.push_str(&self.text[from..place.start]);
                shown.push('"');
                shown.push_str(HIDDEN);
                shown.push('"');
                from = place.end;
            }
        }
        shown.push_str(&self.text[from..]);
        shown
    }

    fn named(&self, value: &'t RawValue, steps: &[String], places: &mut Vec<Range<usize>>) {
        let Some((step, rest)) = steps.split_first() else {
            places.push(self.place(value));
            return;
        };
        match Parts::of(value) {
            Some(Parts::Members(members)) => members
                .iter()
                .filter(|(name, _)| step == "*" || name == step)
                .for_each(|(_, member)| self.named(member, rest, places)),
            Some(Parts::Items(items)) => items
                .iter()
                .enumerate()
                .filter(|(number, _)| step == "*" || step.parse() == Ok(*number))
                .for_each(|(_, item)| self.named(item, rest, places)),
            None => {}
        }
    }

    /// Numbers that hold a secret: a text in their place would be no JSON.
    fn numbers(&self, value: &'t RawValue, redactor: &Redactor, places: &mut Vec<Range<usize>>) {
        let is_number =
            |text: &str| text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        match Parts::of(value) {
            Some(Parts::Members(members)) => members
                .iter()
                .for_each(|(_, member)| self.numbers(member, redactor, places)),
            Some(Parts::Items(items)) => items
                .iter()
                .for_each(|item| self.numbers(item, redactor, places)),
            None if is_number(value.get()) && redactor.finds(value.get().as_bytes()) => {
                places.push(self.place(value));
            }
            None => {}
        }
    }

    /// Where a value stands in the text.
    fn place(&self, value: &RawValue) -> Range<usize> {
        let start = value.get().as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + value.get().len()
    }
}

/// What an object or an array is made of.
enum Parts<'t> {
    Members(Vec<(String, &'t RawValue)>),
    Items(Vec<&'t RawValue>),
}

impl<'t> Parts<'t> {
    /// `None` for a value that has no parts.
    fn of(value: &'t RawValue) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use caisson_secrets::SecretValue;

    fn body(text: &str, pointers: &[Vec<String>], redactor: &Redactor) -> String {
        match super::body(text, pointers, redactor) {
            Hidden::Json(text) | Hidden::Other(text) => text,
        }
    }

    fn steps(pointer: &str) -> Vec<String> {
        pointer[1..].split('/').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_not_hidden_stays_letter_for_letter() {
        let text = r#"{"a": 1.50, "n" : 12345678901234567890123, "people":[{"email":"x@y","id":7},{"email":null}],
            "email":"é\u00e9"}"#;
        let shown = body(
            text,
            &[steps("/people/*/email"), steps("/people/0")],
            &Redactor::new([]),
        );
        assert_eq!(
            shown,
            text.replace(r#"{"email":"x@y","id":7}"#, r#""[secret]""#)
                .replace("null", r#""[secret]""#)
        );
    }

    #[test]
    fn every_line_of_json_lines_is_looked_through() {
        let lines = "{\"a\":1}\n\n{\"a\":2,\"b\":1.0}\n";
        assert_eq!(
            super::body(lines, &[steps("/a")], &Redactor::new([])),
            Hidden::Json("{\"a\":\"[secret]\"}\n\n{\"a\":\"[secret]\",\"b\":1.0}\n".into())
        );
        assert_eq!(
            super::body("{", &[], &Redactor::new([])),
            Hidden::Other("{".into())
        );
    }

    #[test]
    fn a_secret_that_is_a_number_leaves_json() {
        let key = SecretValue::new("123456789");
        let redactor = Redactor::new([("key", &key)]);
        assert_eq!(
            body(r#"{"a":[123456789,1],"b":"x 123456789"}"#, &[], &redactor),
            r#"{"a":["[secret]",1],"b":"x [secret]"}"#
        );
    }

    #[test]
    fn the_credentials_that_oauth_names_are_not_kept() {
        let nobody = Redactor::new([]);
        assert_eq!(
            body(
                r#"{"access_token":"a","expires_in":3600,"refresh_token":"b","x":{"id_token":1}}"#,
                &[],
                &nobody
            ),
            r#"{"access_token":"[secret]","expires_in":3600,"refresh_token":"[secret]","x":{"id_token":1}}"#
        );
        assert_eq!(
            body(
                "grant_type=refresh_token&refresh%5Ftoken=b&scope=a+b",
                &[],
                &nobody
            ),
            "grant_type=refresh_token&refresh%5Ftoken=[secret]&scope=a+b"
        );
        assert_eq!(body("a=1&&b=%41", &[], &nobody), "a=1&&b=%41");
        assert_eq!(
            query("k%65y=1&b=%41&access_token=x", &["key".into()]),
            "b=%41&access_token=[secret]"
        );
    }
}
