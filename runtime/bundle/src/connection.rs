//! A connection file: one configured use of a connector, pinned to one exact
//! version. The same text serves the command line and Connections.Put.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use caisson_document::{Document, Faults, Schema};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::parse(include_str!("connection.schema.json"))
        .expect("the schema of a connection is valid")
});

/// A checked connection file. Its config is not checked against the connector's schema yet; that
/// is [`crate::ConfigSchema::check`] on [`Connection::config`].
#[derive(Debug, Clone)]
pub struct Connection {
    /// Exactly which connector.
    pub connector: Pin,
    /// The config, with its places in the file.
    pub config: Document,
    /// What to do with which stream, in the order of the file; empty means every stream.
    pub streams: Vec<(String, StreamChoice)>,
    /// The key of state, where the connection has no name.
    pub state_key: Option<String>,
}

/// How one stream is read and written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamChoice {
    /// How it is read; what the stream itself prefers where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ReadMode>,
    /// How it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<WriteMode>,
    /// The object it is written to, where that has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// How a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// Everything, every time.
    Full,
    /// What changed since the committed checkpoint.
    Incremental,
    /// Without end.
    Streaming,
}

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// Records are added.
    Append,
    /// Records replace those with the same key.
    Upsert,
}

/// Exactly one connector: `shop@1.4.2` or `shop@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pin {
    /// The connector's name.
    pub name: String,
    /// Which bundle of that name.
    pub which: Which,
}

/// Which bundle of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one published under this version.
    Version(Version),
    /// The one with this digest.
    Digest(Digest),
}

/// The text pins nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// No connector is named that way.
    #[error("not a connector; write NAME@VERSION, such as shop@1.4.2")]
    Name,
    /// A version is missing.
    #[error("{name} without a version; versions are pinned: write {name}@VERSION")]
    NoVersion {
        /// The connector that was named.
        name: String,
    },
    /// A range, or another text that is no exact version.
    #[error("{name} with a range instead of a version; versions are pinned: write {name}@VERSION")]
    NotExact {
        /// The connector that was named.
        name: String,
        /// What stood after `@`.
        range: String,
    },
    /// Something that begins like a digest and is none.
    #[error("{name} with a digest that is none; write {name}@sha256: and 64 hexadecimal digits")]
    Digest {
        /// The connector that was named.
        name: String,
    },
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, which) = text
            .split_once('@')
            .map_or((text, None), |(name, which)| (name, Some(which)));
        if !is_name(name) {
            return Err(PinError::Name);
        }
        let name = name.to_owned();
        let which = match which {
            None | Some("") => return Err(PinError::NoVersion { name }),
            Some(digest) if digest.starts_with("sha256:") => match digest.parse() {
                Ok(digest) => Which::Digest(digest),
                Err(_) => return Err(PinError::Digest { name }),
            },
            Some(version) => match Version::parse(version) {
                Ok(version) => Which::Version(version),
                Err(_) => {
                    return Err(PinError::NotExact {
                        name,
                        range: version.to_owned(),
                    });
                }
            },
        };
        Ok(Pin { name, which })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Version(version) => write!(f, "{}@{version}", self.name),
            Which::Digest(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

/// The rule of connectors' names: lower-case words of letters and digits, joined by hyphens.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (2..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
}

impl Connection {
    /// Parses the text of a connection file.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse(file: &str, text: &str) -> Result<Connection, Faults> {
        Connection::from_document(&Document::parse(file, text)?)
    }

    /// Checks a parsed connection file, or one that came as data.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn from_document(document: &Document) -> Result<Connection, Faults> {
        let mut faults = document.check(&SCHEMA);
        let pin = document
            .pointer("/connector")
            .and_then(Value::as_str)
            .map(Pin::from_str);
        if let Some(Err(error)) = &pin {
            faults.push(document.fault("/connector", error.to_string(), ""));
        }
        Faults::or(faults, ())?;
        let Some(Ok(connector)) = pin else {
            return Err(document.fault("/connector", "missing", "").into());
        };
        let entries: serde_json::Map<String, Value> =
            document.get::<Option<_>>("/streams")?.unwrap_or_default();
        let mut streams = Vec::with_capacity(entries.len());
        for name in entries.keys() {
            let choice: Option<StreamChoice> =
                document.get(&caisson_document::join("/streams", name))?;
            streams.push((name.clone(), choice.unwrap_or_default()));
        }
        Ok(Connection {
            connector,
            config: document.part("/config"),
            streams,
            state_key: document.get("/state_key")?,
        })
    }

    /// The connection as data, to be stored.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let streams: serde_json::Map<String, Value> = self
            .streams
            .iter()
            .map(|(name, choice)| {
                (
                    name.clone(),
                    serde_json::to_value(choice).unwrap_or(Value::Null),
                )
            })
            .collect();
        let mut value = serde_json::json!({
            "connector": self.connector.to_string(),
            "config": self.config.value(),
            "streams": streams,
        });
        if let Some(key) = &self.state_key {
            value["state_key"] = Value::from(key.as_str());
        }
        value
    }
}
