//! A policy file as it is written, before anybody believed it.
//!
//! The schema reports what has the wrong shape; such a part is simply absent here, so that the rest of the file can still
//! be judged and all its faults come out at once.

use super::SandboxProfile;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

fn fitting<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

/// Items that do not fit stay as `None`, so that indexes are those of the file.
type List<T> = Option<Vec<Option<T>>>;

fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<List<T>, D::Error> {
    let Value::Array(items) = Value::deserialize(from)? else {
        return Ok(None);
    };
    Ok(Some(
        items
            .into_iter()
            .map(|item| serde_json::from_value(item).ok())
            .collect(),
    ))
}

/// As [`list`], and one item alone is a list of one.
fn one_or_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<List<T>, D::Error> {
    let items = match Value::deserialize(from)? {
        Value::Array(items) => items,
        one => vec![one],
    };
    let items = items.into_iter();
    Ok(Some(
        items
            .map(|item| serde_json::from_value(item).ok())
            .collect(),
    ))
}

/// Entries that do not fit are left out.
fn map<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    let Value::Object(entries) = Value::deserialize(from)? else {
        return Ok(BTreeMap::new());
    };
    Ok(entries
        .into_iter()
        .filter_map(|(key, value)| Some((key, serde_json::from_value(value).ok()?)))
        .collect())
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WirePolicy {
    #[serde(deserialize_with = "fitting")]
    pub connector: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub versions: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub digest: Option<String>,
    pub signer: Option<Value>,
    #[serde(deserialize_with = "fitting")]
    pub workspace: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub profile: Option<SandboxProfile>,
    #[serde(deserialize_with = "list")]
    pub egress: List<WireRule>,
    #[serde(deserialize_with = "map")]
    pub secrets: BTreeMap<String, WireSecret>,
    #[serde(deserialize_with = "fitting")]
    pub redact_records: Option<bool>,
    #[serde(deserialize_with = "list")]
    pub files: List<WireFile>,
    #[serde(deserialize_with = "fitting")]
    pub limits: Option<WireLimits>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireRule {
    #[serde(deserialize_with = "fitting")]
    pub host: Option<String>,
    #[serde(deserialize_with = "list")]
    pub within: List<String>,
    pub ports: Option<Value>,
    #[serde(deserialize_with = "list")]
    pub within_ports: List<Value>,
    #[serde(deserialize_with = "list")]
    pub networks: List<String>,
    #[serde(deserialize_with = "fitting")]
    pub protocol: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub http: Option<WireHttp>,
    #[serde(deserialize_with = "fitting")]
    pub rate: Option<WireRate>,
    #[serde(deserialize_with = "fitting")]
    pub on_429: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireHttp {
    #[serde(deserialize_with = "list")]
    pub methods: List<String>,
    #[serde(deserialize_with = "list")]
    pub paths: List<String>,
    #[serde(deserialize_with = "fitting")]
    pub websocket: Option<bool>,
    #[serde(deserialize_with = "fitting")]
    pub event_stream: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireRate {
    #[serde(deserialize_with = "fitting")]
    pub per_second: Option<f64>,
    #[serde(deserialize_with = "fitting")]
    pub burst: Option<u32>,
    #[serde(deserialize_with = "fitting")]
    pub concurrency: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireSecret {
    #[serde(deserialize_with = "list")]
    pub from: List<String>,
    #[serde(deserialize_with = "fitting")]
    pub reveal: Option<bool>,
    #[serde(deserialize_with = "one_or_list")]
    pub seal: List<WireSeal>,
    #[serde(deserialize_with = "fitting")]
    pub oauth2: Option<WireOAuth2>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireOAuth2 {
    #[serde(deserialize_with = "fitting")]
    pub grant: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub token_url: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub client_id: Option<WireTold>,
    #[serde(deserialize_with = "fitting")]
    pub client_secret: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub client_auth: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub scope: Option<String>,
    #[serde(deserialize_with = "map")]
    pub params: BTreeMap<String, String>,
    #[serde(deserialize_with = "fitting")]
    pub rotates: Option<bool>,
    #[serde(deserialize_with = "fitting")]
    pub issuer: Option<WireTold>,
    #[serde(deserialize_with = "fitting")]
    pub subject: Option<WireTold>,
    #[serde(deserialize_with = "fitting")]
    pub audience: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub algorithm: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub key_id: Option<String>,
}

/// A text, or where in the config it stands.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum WireTold {
    Text(String),
    Of { property: String },
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireSeal {
    #[serde(deserialize_with = "list")]
    pub hosts: List<String>,
    #[serde(deserialize_with = "list")]
    pub ports: List<u16>,
    #[serde(deserialize_with = "list")]
    pub methods: List<String>,
    #[serde(deserialize_with = "list")]
    pub paths: List<String>,
    #[serde(deserialize_with = "fitting")]
    pub place: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub certificate: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireFile {
    #[serde(deserialize_with = "fitting")]
    pub dir: Option<String>,
    #[serde(deserialize_with = "list")]
    pub within: List<String>,
    #[serde(deserialize_with = "fitting")]
    pub access: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireLimits {
    #[serde(deserialize_with = "fitting")]
    pub memory: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub tmp: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub cpu: Option<f64>,
    #[serde(deserialize_with = "fitting")]
    pub duration: Option<String>,
    #[serde(deserialize_with = "fitting")]
    pub pids: Option<u32>,
    #[serde(deserialize_with = "fitting")]
    pub open_files: Option<u64>,
}
