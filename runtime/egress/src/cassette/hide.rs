//! What is not kept of a text: the secrets of the call, the credentials that OAuth 2.0 names, and what the configuration
//! names. Everything else stays as it was written, letter for letter.

use super::HIDDEN;
use super::request::pairs;
use crate::form::decoded;
use crate::places::{Json, Parts, replaced};
use caisson_secrets::{REDACTED, Redactor};
use std::borrow::Cow;

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
    let hidden = |json: Json<'_>| hidden(&json, pointers, redactor);
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

/// JSON without what is not kept.
fn hidden(json: &Json<'_>, pointers: &[Vec<String>], redactor: &Redactor) -> String {
    let mut places = Vec::new();
    for steps in pointers {
        places.extend(json.at(steps).into_iter().map(|value| json.place(value)));
    }
    if let Some(Parts::Members(members)) = Parts::of(json.whole()) {
        let credentials = members.iter().filter(|(name, value)| {
            CREDENTIALS.contains(&name.as_str()) && value.get().starts_with('"')
        });
        places.extend(credentials.map(|(_, value)| json.place(value)));
    }
    if redactor.finds(json.text().as_bytes()) {
        // A text in the place of a number that holds a secret would be no JSON.
        json.leaves(&mut |leaf| {
            let is_number = leaf
                .get()
                .starts_with(|first: char| first == '-' || first.is_ascii_digit());
            if is_number && redactor.finds(leaf.get().as_bytes()) {
                places.push(json.place(leaf));
            }
        });
    }
    let word = format!("\"{HIDDEN}\"");
    replaced(
        json.text(),
        places
            .into_iter()
            .map(|place| (place, word.as_str()))
            .collect(),
    )
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
