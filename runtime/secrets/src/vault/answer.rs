//! What the vault's answers hold. Values go from the answer's bytes into wiped memory without a JSON tree between.
//! This file performs no IO.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::client::Answer;
use super::path::SecretPath;
use crate::entry::Entry;
use crate::provider::{Content, ProviderError};
use crate::value::SecretValue;

/// The frame of every answer. <https://openbao.org/api-docs/>
#[derive(Default, Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) errors: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) warnings: Vec<String>,
    #[serde(default)]
    pub(crate) lease_id: String,
    /// Seconds.
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
    #[serde(borrow, default)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) auth: Option<Auth>,
}

/// A token that the vault gave.
#[derive(Deserialize)]
pub(crate) struct Auth {
    #[serde(deserialize_with = "secret")]
    pub(crate) client_token: SecretValue,
    #[serde(default)]
    pub(crate) accessor: String,
    /// Seconds; of a new token, 0 where it does not end.
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
}

/// What `auth/token/lookup-self` tells.
#[derive(Deserialize)]
pub(crate) struct Looked {
    /// Seconds; 0 also for a token that does not end.
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
    /// Nothing for a token that does not end.
    #[serde(default)]
    expire_time: Option<String>,
}

impl Looked {
    /// What is left of the token's life.
    pub(crate) fn life(&self) -> Option<Duration> {
        self.expire_time.as_ref()?;
        Some(Duration::from_secs(self.ttl))
    }
}

/// <https://openbao.org/api-docs/secret/kv/kv-v2/#read-secret-version>
#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

fn secret<'de, D: Deserializer<'de>>(reader: D) -> Result<SecretValue, D::Error> {
    Box::<str>::deserialize(reader).map(SecretValue::new)
}

/// The vault writes null where it means nothing.
fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    reader: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(reader).map(Option::unwrap_or_default)
}

impl Answer {
    /// The frame of an answer that is to have one.
    pub(crate) fn envelope(&self) -> Result<Envelope<'_>, ProviderError> {
        if self.body.is_empty() {
            return Ok(Envelope::default());
        }
        serde_json::from_slice(&self.body).map_err(|_| strange())
    }

    /// The frame of a refusal, if it has one.
    pub(crate) fn refusal(&self) -> Envelope<'_> {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The token that a login or a creation gave.
    pub(crate) fn auth(&self) -> Result<Auth, ProviderError> {
        self.envelope()?.auth.ok_or_else(strange)
    }

    /// What a look at a token told.
    pub(crate) fn looked(&self) -> Result<Looked, ProviderError> {
        let data = self.envelope()?.data.ok_or_else(strange)?;
        serde_json::from_str(data.get()).map_err(|_| strange())
    }
}

/// The parser's message is not repeated: it may quote what it could not read.
fn strange() -> ProviderError {
    ProviderError::malformed(
        "the answer is not one of a vault's API",
        "look whether address is that of a vault or OpenBao, and of no proxy's login page",
    )
}

/// The fields of a secret, those of a versioned store unwrapped.
pub(crate) fn fields(asked: &SecretPath<'_>, data: &RawValue) -> Result<Content, ProviderError> {
    let inner = match versioned(asked, data) {
        None => data,
        Some(versioned) => match versioned.data {
            Some(inner) => inner,
            None => return Err(gone(asked, &versioned.metadata)),
        },
    };
    let raw: BTreeMap<String, &RawValue> =
        serde_json::from_str(inner.get()).map_err(|_| strange())?;
    let fields = raw.into_iter().map(|(name, raw)| (name, text(raw)));
    Ok(Content::Fields(fields.collect()))
}

/// A whole entry of a versioned store.
pub(crate) fn entry(asked: &SecretPath<'_>, data: &RawValue) -> Result<Entry, ProviderError> {
    let Some(versioned) = versioned(asked, data) else {
        return Err(ProviderError::malformed(
            format!("{} is not in a store that keeps versions", asked.path),
            "keep what is to be stored in a KV store of version 2: vault:MOUNT/data/NAME",
        ));
    };
    let Some(inner) = versioned.data else {
        return Err(gone(asked, &versioned.metadata));
    };
    let raw: BTreeMap<String, &RawValue> =
        serde_json::from_str(inner.get()).map_err(|_| strange())?;
    Ok(Entry::new(raw, versioned.metadata.version))
}

/// A 404 that tells when the version that was asked for was deleted.
pub(crate) fn deleted(asked: &SecretPath<'_>, data: &RawValue) -> Option<ProviderError> {
    versioned(asked, data).map(|versioned| gone(asked, &versioned.metadata))
}

fn versioned<'a>(asked: &SecretPath<'_>, data: &'a RawValue) -> Option<Versioned<'a>> {
    let versioned = asked.data.then(|| serde_json::from_str(data.get()));
    versioned?.ok()
}

fn gone(asked: &SecretPath<'_>, metadata: &Metadata) -> ProviderError {
    let (path, version) = (asked.path, metadata.version);
    if metadata.destroyed {
        return ProviderError::not_found(
            format!("version {version} of {path} was destroyed"),
            "write the secret anew, or refer to another version with @VERSION",
        );
    }
    ProviderError::not_found(
        format!(
            "version {version} of {path} was deleted at {}",
            metadata.deletion_time
        ),
        "undelete it, write the secret anew, or refer to another version with @VERSION",
    )
}

/// The text of a field: of numbers and booleans, how they are written.
fn text(raw: &RawValue) -> Option<Zeroizing<Box<str>>> {
    let raw = raw.get();
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok().map(Zeroizing::new),
        b'{' | b'[' | b'n' => None,
        _ => Some(Zeroizing::new(raw.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, data: &str) -> Result<Vec<(String, Option<String>)>, ProviderError> {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        match fields(&SecretPath::parse(path).unwrap(), &data)? {
            Content::Fields(fields) => Ok(fields
                .into_iter()
                .map(|(name, value)| (name, value.map(|value| value.to_string())))
                .collect()),
            Content::Text(_) | Content::Same(_) => panic!("a vault answers fields"),
        }
    }

    fn field(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn only_what_a_versioned_store_wraps_is_unwrapped() {
        let wrapped = r#"{"data": {"k": "v"}, "metadata": {"version": 2}}"#;
        assert_eq!(read("kv/data/x", wrapped).unwrap(), [field("k", Some("v"))]);
        let both = [field("data", None), field("metadata", None)];
        assert_eq!(read("kv/x", wrapped).unwrap(), both);
        let alike = r#"{"data": "d", "metadata": "m"}"#;
        let both = [field("data", Some("d")), field("metadata", Some("m"))];
        assert_eq!(read("kv/data/x", alike).unwrap(), both);
    }

    #[test]
    fn what_is_no_text_becomes_one_or_is_marked() {
        let data =
            r#"{"a": 5432, "b": true, "c": {"x": 1}, "d": null, "e": "p\"w\u00e9", "f": 1.50}"#;
        let expected = [
            field("a", Some("5432")),
            field("b", Some("true")),
            field("c", None),
            field("d", None),
            field("e", Some("p\"wé")),
            field("f", Some("1.50")),
        ];
        assert_eq!(read("kv/x", data).unwrap(), expected);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_a_fault(bytes: Vec<u8>, json in "[\\[{\"a-z:,0-9}\\]]{0,40}") {
            for body in [bytes, json.clone().into_bytes(), format!("{{\"data\":{json}}}").into_bytes()] {
                let answer = Answer { status: http::StatusCode::OK, body: body.into() };
                let data = answer.envelope().ok().and_then(|envelope| envelope.data);
                let asked = SecretPath::parse("kv/data/x").unwrap();
                let _ = (data.map(|data| fields(&asked, data)), answer.auth().is_ok());
                proptest::prop_assert!(answer.refusal().errors.len() <= 40);
            }
        }
    }

    #[test]
    fn an_answer_of_something_else_is_quoted_nowhere() {
        let answer = Answer {
            status: http::StatusCode::OK,
            body: b"<html>hunter22".to_vec().into(),
        };
        let error = answer.envelope().err().unwrap().to_string();
        assert!(!error.contains("hunter22"), "{error}");
    }
}
