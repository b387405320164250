//! What a caller is told to ask for.

use std::time::Duration;

use caisson_proto::v1;
use serde_json::Value;

use crate::Fault;

/// A parsed REQUEST.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    path: String,
    connector: String,
    config: String,
    stream: String,
    pub(crate) arrow: bool,
    pub(crate) test: bool,
    pub(crate) count: usize,
    pub(crate) at_once: usize,
    pub(crate) pause: Duration,
}

impl Request {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let value: Value = serde_json::from_str(text)?;
        let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| value[key].as_u64().unwrap_or(1) as usize;
        Ok(Self {
            path: word("path"),
            connector: word("connector"),
            config: value
                .get("config")
                .map_or_else(|| "{}".to_owned(), Value::to_string),
            stream: word("stream"),
            arrow: word("encoding") != "jsonl",
            test: value["test"].as_bool().unwrap_or(false),
            count: number("count"),
            at_once: number("at_once"),
            pause: Duration::from_millis(value["pause_ms"].as_u64().unwrap_or(0)),
        })
    }

    fn connection(&self) -> v1::ConnectionRef {
        let inline = v1::InlineConnection {
            connection: Some(v1::Connection {
                connector: self.connector.clone(),
                config_json: self.config.clone(),
                ..Default::default()
            }),
            path: self.path.clone(),
            ..Default::default()
        };
        v1::ConnectionRef {
            source: Some(v1::connection_ref::Source::Inline(inline)),
        }
    }

    /// A full Read of the one stream, from its beginning.
    pub(crate) fn read(&self) -> v1::ReadRequest {
        let encoding = if self.arrow {
            v1::Encoding::ArrowIpc
        } else {
            v1::Encoding::JsonLines
        };
        v1::ReadRequest {
            connection: Some(self.connection()),
            accept: vec![encoding.into()],
            streams: vec![v1::StreamSelection {
                stream: self.stream.clone(),
                mode: v1::ReadMode::Full.into(),
                ..Default::default()
            }],
            from: v1::read_request::From::Beginning.into(),
            ..Default::default()
        }
    }

    /// A Test of the connection.
    pub(crate) fn test(&self) -> v1::TestRequest {
        v1::TestRequest {
            connection: Some(self.connection()),
            ..Default::default()
        }
    }
}
