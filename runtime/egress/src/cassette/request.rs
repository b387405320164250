//! What makes two requests the same: method, host, path, query in any order, and body, JSON in any spelling.
//!
//! A part that was hidden while recording is compared with nothing.

use super::HIDDEN;
use super::har::{Pair, Request, bytes};
use crate::form::decoded;
use base64::DecodeError;
use serde_json::Value;
use std::fmt;

/// A request in one spelling.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    query: Vec<Pair>,
    body: Body,
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    Json(Value),
    Bytes(Vec<u8>),
}

impl Key {
    /// Of a request as it was sent, without the query parameters that are not compared.
    pub(super) fn new(method: &str, url: &str, body: &[u8], ignored: &[String]) -> Self {
        let (head, query) = url.split_once('?').unwrap_or((url, ""));
        let rest = head.split_once("://").map_or(head, |(_, rest)| rest);
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let mut query: Vec<Pair> = pairs(query)
            .into_iter()
            .filter(|pair| !ignored.contains(&pair.name))
            .collect();
        query.sort();
        Self {
            method: method.to_ascii_uppercase(),
            host: host.to_ascii_lowercase(),
            path: path.to_owned(),
            query,
            body: Body::of(body),
        }
    }

    /// Of a recording.
    ///
    /// # Errors
    /// Its body is no base64, though it says so.
    pub(super) fn of(request: &Request, ignored: &[String]) -> Result<Self, DecodeError> {
        let data = request.post_data.as_ref();
        let body = data.map(|data| bytes(&data.text, data.encoding.as_deref()));
        let body = body.transpose()?.unwrap_or_default();
        Ok(Self::new(&request.method, &request.url, &body, ignored))
    }

    /// Whether this recording is one of `asked`. Hosts are compared where the cassette has several.
    pub(super) fn is_of(&self, asked: &Self, hosts: bool) -> bool {
        self.differs(asked, hosts).is_none()
    }

    /// Whether method, path and, where the cassette has several, host are those of `asked`.
    pub(super) fn is_next_to(&self, asked: &Self, hosts: bool) -> bool {
        self.method == asked.method
            && same(&self.path, &asked.path)
            && (!hosts || self.host == asked.host)
    }

    /// The first part in which they differ.
    pub(super) fn differs(&self, asked: &Self, hosts: bool) -> Option<&'static str> {
        let same_query = self.query.len() == asked.query.len()
            && self
                .query
                .iter()
                .zip(&asked.query)
                .all(|(own, other)| own.name == other.name && same(&own.value, &other.value));
        if self.method != asked.method {
            Some("method")
        } else if hosts && self.host != asked.host {
            Some("host")
        } else if !same(&self.path, &asked.path) {
            Some("path")
        } else if !same_query {
            Some("query")
        } else if !self.body.is_of(&asked.body) {
            Some("body")
        } else {
            None
        }
    }
}

impl Body {
    fn of(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(value) => Self::Json(value),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }

    fn is_of(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::Json(own), Self::Json(asked)) => same_json(own, asked),
            (Self::Bytes(own), Self::Bytes(asked)) => own == asked || same_text(own, asked),
            _ => false,
        }
    }
}

/// Equal, but for what is hidden in the recording.
fn same(own: &str, asked: &str) -> bool {
    let mut pieces: Vec<&str> = own.split(HIDDEN).collect();
    let first = pieces.remove(0);
    let Some(mut rest) = asked.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn same_json(own: &Value, asked: &Value) -> bool {
    match (own, asked) {
        (Value::String(own), Value::String(asked)) => same(own, asked),
        // What a pointer names is hidden whole, whatever it was.
        (Value::String(own), _) => own == HIDDEN,
        (Value::Object(own), Value::Object(asked)) => {
            own.len() == asked.len()
                && own
                    .iter()
                    .all(|(key, value)| asked.get(key).is_some_and(|asked| same_json(value, asked)))
        }
        (Value::Array(own), Value::Array(asked)) => {
            own.len() == asked.len()
                && own
                    .iter()
                    .zip(asked)
                    .all(|(own, asked)| same_json(own, asked))
        }
        _ => own == asked,
    }
}

/// A text with a hidden part: a form (`application/x-www-form-urlencoded`) field by field, any other as a whole.
fn same_text(own: &[u8], asked: &[u8]) -> bool {
    let (Ok(own), Ok(asked)) = (std::str::from_utf8(own), std::str::from_utf8(asked)) else {
        return false;
    };
    let (fields, others) = (pairs(own), pairs(asked));
    let is_form = own.contains('=') && fields.len() == others.len();
    let same_field =
        |(own, asked): (&Pair, &Pair)| own.name == asked.name && same(&own.value, &asked.value);
    same(own, asked) || is_form && fields.iter().zip(&others).all(same_field)
}

/// Names and values of a query, decoded (application/x-www-form-urlencoded).
pub(super) fn pairs(query: &str) -> Vec<Pair> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Pair {
            name: decoded(name),
            value: decoded(value),
        }
    };
    query
        .split('&')
        .filter(|text| !text.is_empty())
        .map(pair)
        .collect()
}

/// Method, host, path, and the names of query parameters: their values may be anybody's.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.host, self.path)?;
        for (number, pair) in self.query.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { '?' } else { '&' }, pair.name)?;
        }
        match &self.body {
            Body::Bytes(bytes) if bytes.is_empty() => Ok(()),
            Body::Json(_) => f.write_str(" with a JSON body"),
            Body::Bytes(bytes) => write!(f, " with a body of {} bytes", bytes.len()),
        }
    }
}
