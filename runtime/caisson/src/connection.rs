//! From arguments and files to the connection that a call names. Everything
//! that can be told from the files alone is told here, all at once; what the
//! daemon finds in the configuration later is brought back to its line.

use std::path::{Path, PathBuf};

use caisson_bundle::{Connection, Pin, PinError, ReadMode, StreamChoice, WriteMode};
use caisson_document::{Document, Faults, join};
use caisson_proto::v1::{self, connection_ref::Source};
use serde_json::Value;

use crate::args::ConnectionArgs;
use crate::stop::{Result, Stop};

/// A connection, and where its configuration stands in a file.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) reference: v1::ConnectionRef,
    config: Option<Place>,
}

/// The configuration as a part of a document.
#[derive(Debug)]
struct Place {
    document: Document,
    pointer: &'static str,
}

impl ConnectionArgs {
    /// Reads the files that the arguments name.
    pub(crate) fn choose(&self) -> Result<Chosen> {
        if let Some(name) = &self.name {
            let reference = v1::ConnectionRef {
                source: Some(Source::Name(name.clone())),
            };
            return Ok(Chosen {
                reference,
                config: None,
            });
        }
        let state_key = self.state_key.clone();
        if let Some(file) = &self.file {
            return from_file(file, state_key);
        }
        if self.connector.is_none() && self.path.is_none() {
            return Err(Stop::usage(
                "name a connection file, or --connector NAME@VERSION or --path DIR with --config FILE",
            ));
        }
        let config = self.config.clone().or_else(|| self.sample());
        let config = config.as_deref().map(config_file).transpose()?;
        let connection = v1::Connection {
            connector: self.connector.clone().unwrap_or_default(),
            config_json: config
                .as_ref()
                .map_or_else(|| "{}".to_owned(), |d| d.value().to_string()),
            streams: Default::default(),
        };
        let path = self.path.as_deref().map(folder).transpose()?;
        Ok(Chosen {
            reference: inline(connection, state_key, path),
            config: config.map(|document| Place {
                document,
                pointer: "",
            }),
        })
    }
}

impl ConnectionArgs {
    /// A project's own `samples/config.yaml`, what it is tried with where
    /// nothing else is named.
    fn sample(&self) -> Option<PathBuf> {
        let sample = self.path.as_deref()?.join("samples/config.yaml");
        sample.is_file().then_some(sample)
    }
}

/// Reads a connection file.
pub(crate) fn from_file(file: &Path, state_key: Option<String>) -> Result<Chosen> {
    let document = Document::read(file)?;
    let (connection, own_key) = parse(&document)?;
    Ok(Chosen {
        reference: inline(connection, state_key.or(own_key), None),
        config: Some(Place {
            document,
            pointer: "/config",
        }),
    })
}

/// A connection that the daemon stored.
pub(crate) fn stored(name: &str) -> Chosen {
    let reference = v1::ConnectionRef {
        source: Some(Source::Name(name.to_owned())),
    };
    Chosen {
        reference,
        config: None,
    }
}

/// A folder as the daemon is told of it: absolute, without links.
pub(crate) fn folder(path: &Path) -> Result<String> {
    let full = path
        .canonicalize()
        .map_err(|error| anyhow::anyhow!("cannot open the folder {}: {error}", path.display()))?;
    if !full.join("connector.yaml").is_file() {
        return Err(Stop::Other(anyhow::anyhow!(
            "no connector.yaml in {}",
            path.display()
        )));
    }
    full.into_os_string()
        .into_string()
        .map_err(|_| Stop::usage(format!("{} is not UTF-8", path.display())))
}

fn config_file(file: &Path) -> Result<Document> {
    let document = Document::read(file)?;
    if !document.value().is_object() {
        let fault = document.fault(
            "",
            "expected a mapping",
            "write the configuration's fields as `name: value`",
        );
        return Err(Stop::Faults(fault.into()));
    }
    Ok(document)
}

fn parse(document: &Document) -> Result<(v1::Connection, Option<String>)> {
    let read = match Connection::from_document(document) {
        // Versions are pinned, but only the daemon can say which ones match.
        Err(faults) => ranged(document, faults)?,
        Ok(read) => read,
    };
    let pin = document
        .pointer("/connector")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let targets = read
        .streams
        .iter()
        .filter(|(_, choice)| choice.target.is_some());
    let faults: Vec<_> = targets
        .map(|(name, _)| {
            let pointer = join(&join("/streams", name), "target");
            document.key_fault(&pointer, "this build cannot rename streams", "remove it")
        })
        .collect();
    Faults::or(faults, ())?;
    let config = read.config.value();
    let connection = v1::Connection {
        connector: pin.to_owned(),
        config_json: if config.is_null() {
            "{}".to_owned()
        } else {
            config.to_string()
        },
        streams: read
            .streams
            .into_iter()
            .map(|(name, choice)| (name, options(&choice)))
            .collect(),
    };
    Ok((connection, read.state_key))
}

/// The connection of a document whose only fault is a range in place of a version.
fn ranged(document: &Document, faults: Faults) -> Result<Connection> {
    let pin = document
        .pointer("/connector")
        .and_then(Value::as_str)
        .map(str::parse::<Pin>);
    let Some(Err(PinError::NotExact { name, .. })) = pin else {
        return Err(faults.into());
    };
    if faults.0.iter().any(|fault| fault.path != "connector") {
        return Err(faults.into());
    }
    let mut value = document.value().clone();
    value["connector"] = Value::from(format!("{name}@0.0.0"));
    let exact = Connection::from_document(&Document::from_value(document.file(), value))?;
    Ok(Connection {
        config: document.part("/config"),
        ..exact
    })
}

fn options(choice: &StreamChoice) -> v1::StreamOptions {
    let mode = match choice.mode {
        Some(ReadMode::Full) => v1::ReadMode::Full,
        Some(ReadMode::Incremental) => v1::ReadMode::Incremental,
        Some(ReadMode::Streaming) => v1::ReadMode::Streaming,
        None => v1::ReadMode::Unspecified,
    };
    let write = match choice.write {
        Some(WriteMode::Append) => v1::WriteMode::Append,
        Some(WriteMode::Upsert) => v1::WriteMode::Upsert,
        None => v1::WriteMode::Unspecified,
    };
    v1::StreamOptions {
        mode: mode.into(),
        write: write.into(),
    }
}

fn inline(
    connection: v1::Connection,
    state_key: Option<String>,
    path: Option<String>,
) -> v1::ConnectionRef {
    v1::ConnectionRef {
        source: Some(Source::Inline(v1::InlineConnection {
            connection: Some(connection),
            state_key: state_key.unwrap_or_default(),
            path: path.unwrap_or_default(),
        })),
    }
}

impl Chosen {
    /// True if the daemon keeps checkpoints for this connection.
    pub(crate) fn has_stored_state(&self) -> bool {
        match &self.reference.source {
            Some(Source::Inline(inline)) => !inline.state_key.is_empty(),
            _ => true,
        }
    }

    /// The same stop, its faults at their lines.
    pub(crate) fn explain(&self, mut stop: Stop) -> Stop {
        if let Stop::Failed(failure) = &mut stop {
            self.locate(failure, "");
        }
        stop
    }

    /// Gives the daemon's faults of the configuration their file and line.
    ///
    /// Their paths may begin with `prefix`.
    pub(crate) fn locate(&self, failure: &mut v1::Failure, prefix: &str) {
        let Some(place) = &self.config else { return };
        // The daemon saw the configuration as one line of JSON.
        let theirs =
            |fault: &&mut v1::Fault| fault.line == 0 || fault.file.ends_with("config.json");
        for fault in failure.faults.iter_mut().filter(theirs) {
            let path = fault.path.strip_prefix(prefix).unwrap_or(&fault.path);
            let path = path.strip_prefix("config").unwrap_or(path);
            let inside = if path.starts_with('/') {
                path.to_owned()
            } else {
                pointer(path)
            };
            let pointer = format!("{}{inside}", place.pointer);
            let Some(mark) = place.document.mark(&pointer) else {
                continue;
            };
            fault.file = place.document.file().to_owned();
            fault.line = u32::try_from(mark.line).unwrap_or(0);
            fault.column = u32::try_from(mark.column).unwrap_or(0);
        }
    }
}

/// Turns `egress[0].ports` back into `/egress/0/ports`.
fn pointer(path: &str) -> String {
    let mut pointer = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (key, after) = match rest.strip_prefix('[') {
            Some(inside) => {
                let end = inside.find(']').unwrap_or(inside.len());
                (
                    inside[..end].trim_matches('"'),
                    inside.get(end + 1..).unwrap_or(""),
                )
            }
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        pointer = join(&pointer, key);
        rest = after;
    }
    pointer
}

/// What names a connection file's checkpoints where nothing else does: its
/// place. A file that moves begins anew, which loses nothing.
pub(crate) fn key_of(file: &Path) -> Result<String> {
    let full: PathBuf = file
        .canonicalize()
        .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", file.display()))?;
    Ok(full.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_file_becomes_a_connection() {
        let text = "connector: shop@1.4.2\nconfig: {shop: acme, api_key: {$secret: 'env:CAISSON_SECRET_K'}}\nstreams:\n  orders: {mode: incremental, write: upsert}\n  items:\n";
        let document = Document::parse("shop.yaml", text).expect("it parses");
        let (connection, key) = parse(&document).expect("it is valid");
        assert_eq!(key, None);
        assert_eq!(connection.connector, "shop@1.4.2");
        assert_eq!(
            connection.config_json,
            r#"{"shop":"acme","api_key":{"$secret":"env:CAISSON_SECRET_K"}}"#
        );
        assert_eq!(
            connection.streams["orders"].mode(),
            v1::ReadMode::Incremental
        );
        assert_eq!(
            connection.streams["items"].write(),
            v1::WriteMode::Unspecified
        );
    }

    #[test]
    fn a_range_is_left_to_the_daemon_which_knows_the_versions_that_match() {
        let document = Document::parse("shop.yaml", "connector: shop@^1.4\nconfig: {a: 1}\n")
            .expect("it parses");
        let (connection, _) = parse(&document).expect("the range is the daemon's to refuse");
        assert_eq!(
            (
                connection.connector.as_str(),
                connection.config_json.as_str()
            ),
            ("shop@^1.4", r#"{"a":1}"#)
        );
    }

    #[test]
    fn every_fault_of_a_connection_file_is_reported_at_once_with_its_line() {
        let text = "conector: shop@1.4.2\nconfig: []\nstreams: {orders: {mode: weekly}}\n";
        let document = Document::parse("shop.yaml", text).expect("it parses");
        let Err(Stop::Faults(faults)) = parse(&document) else {
            panic!("it is not valid")
        };
        insta::assert_snapshot!(faults);
    }

    #[test]
    fn a_fault_that_the_daemon_found_gets_the_line_of_the_file() {
        let text = "connector: shop@1.4.2\nconfig:\n  shop: acme\n  ports:\n    - 80\n    - x\n";
        let document = Document::parse("shop.yaml", text).expect("it parses");
        let chosen = Chosen {
            reference: stored("x").reference,
            config: Some(Place {
                document,
                pointer: "/config",
            }),
        };
        let fault = |path: &str| v1::Fault {
            path: path.into(),
            ..Default::default()
        };
        let mut failure = v1::Failure {
            faults: vec![fault("ports[1]"), fault("config.shop"), fault("missing")],
            ..Default::default()
        };
        chosen.locate(&mut failure, "");
        let lines: Vec<_> = failure.faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [6, 3, 2]);
        assert_eq!(failure.faults[0].file, "shop.yaml");
    }
}
