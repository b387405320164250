//! A fault script as it is written, before anybody believed it.
//!
//! As with policies, the schema reports what has the wrong shape; such a part is absent here, so that all faults of a
//! file come out at once.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

fn fitting<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

/// Entries that do not fit stay as `None`, so that indexes are those of the file.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Vec<Option<T>>, D::Error> {
    let Value::Array(items) = Value::deserialize(from)? else {
        return Ok(Vec::new());
    };
    Ok(items
        .into_iter()
        .map(|item| serde_json::from_value(item).ok())
        .collect())
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireScript {
    #[serde(deserialize_with = "list")]
    pub faults: Vec<Option<WireEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireEntry {
    #[serde(rename = "match", deserialize_with = "fitting")]
    pub what: Option<WireMatch>,
    #[serde(deserialize_with = "fitting")]
    pub answer: Option<WireAnswer>,
    #[serde(deserialize_with = "fitting")]
    pub reset: Option<WireAfter>,
    #[serde(deserialize_with = "fitting")]
    pub stall: Option<WireAfter>,
    #[serde(deserialize_with = "fitting")]
    pub slow: Option<WireSlow>,
    #[serde(deserialize_with = "fitting")]
    pub truncate: Option<WireAfter>,
    #[serde(deserialize_with = "fitting")]
    pub content_type: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub certificate: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub dns: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireMatch {
    #[serde(deserialize_with = "fitting")]
    pub host: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub method: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub path: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub nth: Option<u64>,
    #[serde(deserialize_with = "fitting")]
    pub every: Option<u64>,
    #[serde(deserialize_with = "fitting")]
    pub after: Option<u64>,
    #[serde(deserialize_with = "fitting")]
    pub times: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireAnswer {
    #[serde(deserialize_with = "fitting")]
    pub status: Option<u16>,
    #[serde(deserialize_with = "fitting")]
    pub headers: Option<Map<String, Value>>,
    #[serde(deserialize_with = "fitting")]
    pub body: Option<String>,
    pub retry_after: Option<Value>,
}

/// `reset`, `stall` and `truncate`; only `stall` has `for`, as the schema says.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireAfter {
    #[serde(deserialize_with = "fitting")]
    pub after: Option<u64>,
    #[serde(rename = "for", deserialize_with = "fitting")]
    pub lasting: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireSlow {
    #[serde(deserialize_with = "fitting")]
    pub bytes_per_second: Option<u64>,
}
