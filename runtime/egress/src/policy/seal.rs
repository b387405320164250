//! Where a policy has the gateway put a sealed secret in.

use super::client_key::{check_host, may_be_for, read_certificate};
use super::read::Reader;
use super::wire::{WireSeal, WireSecret};
use super::{Protocol, Rule};
use crate::host::Pattern;
use crate::http::path;
use crate::name::Name;
use http::HeaderName;
use std::fmt;
use std::str::FromStr;

/// One place of one sealed secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// JSON pointer of the property of the config that holds the secret.
    pub property: String,
    /// Whom the value is for.
    pub hosts: Vec<Pattern>,
    /// Ports of these hosts.
    pub ports: Vec<u16>,
    /// Methods of requests that may carry it; all where none is named.
    pub methods: Option<Vec<String>>,
    /// Paths of requests that may carry it; all where none is named.
    pub paths: Option<Vec<path::Pattern>>,
    /// Where it stands. `None`: in Authorization, as it is or in Basic's pair.
    pub place: Option<Place>,
    /// JSON pointer of the property that holds the certificate of a client's key. `None`: the key's own value does.
    pub certificate: Option<String>,
}

/// Where a sealed secret stands, in a request or in the handshake before it. The text form is the policy's:
/// `header:X-Api-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the value of this header field, whatever stands around it.
    Header(HeaderName),
    /// The whole value of this parameter of the query.
    Query(String),
    /// The whole value of this field of a form (application/x-www-form-urlencoded) in the body.
    Form(String),
    /// The whole text at this JSON pointer (RFC 6901) of the body.
    Json(String),
    /// The user name or the password of Basic authentication (RFC 7617).
    Basic,
    /// In no request: it is the private key of a client certificate (RFC 8446, 4.4.2), used in handshakes.
    ClientKey,
}

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no place in a request; write header:NAME, query:KEY, form:FIELD, json:/POINTER, basic or client_key"
)]
pub struct PlaceError(String);

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let none = || PlaceError(text.to_owned());
        match text {
            "basic" => return Ok(Self::Basic),
            "client_key" => return Ok(Self::ClientKey),
            _ => {}
        }
        let (kind, name) = text.split_once(':').ok_or_else(none)?;
        if name.is_empty() {
            return Err(none());
        }
        match kind {
            "header" => name.parse().map(Self::Header).map_err(|_| none()),
            "query" => Ok(Self::Query(name.to_owned())),
            "form" => Ok(Self::Form(name.to_owned())),
            "json" if name.starts_with('/') => Ok(Self::Json(name.to_owned())),
            _ => Err(none()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(key) => write!(f, "query:{key}"),
            Self::Form(field) => write!(f, "form:{field}"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
            Self::Basic => f.write_str("basic"),
            Self::ClientKey => f.write_str("client_key"),
        }
    }
}

impl Seal {
    /// Whether a host and port are among those that the value is for.
    #[must_use]
    pub fn is_for(&self, host: &Name, port: u16) -> bool {
        self.ports.contains(&port) && self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// Whether requests of this method may carry the value.
    pub(crate) fn admits_method(&self, method: &str) -> bool {
        let methods = self.methods.as_ref();
        methods.is_none_or(|all| all.iter().any(|own| own == method))
    }

    /// Whether requests for this path may carry the value. `None`: it cannot be judged.
    pub(crate) fn admits_path(&self, path: Option<&path::Path>) -> bool {
        self.paths.as_ref().is_none_or(|patterns| {
            path.is_some_and(|path| patterns.iter().any(|pattern| pattern.matches(path)))
        })
    }
}

/// `seal` of one entry of `secrets`.
pub(super) fn read_seals(
    reader: &mut Reader<'_>,
    at: &str,
    property: &str,
    secret: &WireSecret,
    rules: &[Rule],
) -> Vec<Seal> {
    let one = reader
        .document
        .pointer(&format!("{at}/seal"))
        .is_some_and(|seal| seal.is_object());
    let mut seals = Vec::new();
    for (index, wire) in secret.seal.iter().flatten().enumerate() {
        let Some(wire) = wire else { continue };
        let at = if one {
            format!("{at}/seal")
        } else {
            format!("{at}/seal/{index}")
        };
        seals.push(read_seal(reader, &at, property, wire, rules));
    }
    seals
}

fn read_seal(
    reader: &mut Reader<'_>,
    at: &str,
    property: &str,
    wire: &WireSeal,
    rules: &[Rule],
) -> Seal {
    let place = wire.place.as_deref().and_then(|text| {
        let place = text.parse();
        place
            .map_err(|error: PlaceError| reader.error(&format!("{at}/place"), &error))
            .ok()
    });
    let misspelt = place.is_none() && wire.place.is_some();
    let ports: Vec<u16> = wire.ports.iter().flatten().flatten().copied().collect();
    let ports = if ports.is_empty() { vec![443] } else { ports };
    let certificate = read_certificate(reader, at, property, wire, place.as_ref());
    let mut hosts = Vec::new();
    for (index, text) in wire.hosts.iter().flatten().enumerate() {
        let Some(text) = text else { continue };
        let at = format!("{at}/hosts/{index}");
        match Pattern::parse(text) {
            Ok(pattern) => {
                if place == Some(Place::ClientKey) {
                    check_host(reader, &at, &pattern, &ports, rules);
                } else if !misspelt && !rules.iter().any(|rule| inspects(rule, &pattern)) {
                    let message = format!(
                        "no rule of egress inspects {pattern}, so nothing could be put in there"
                    );
                    reader.fault(
                        &at,
                        message,
                        format!("write a rule with host: {pattern} and protocol: https"),
                    );
                }
                hosts.push(pattern);
            }
            Err(error) => reader.error(&at, &error),
        }
    }
    let mut paths = Vec::new();
    for (index, text) in wire.paths.iter().flatten().enumerate() {
        let Some(text) = text else { continue };
        match path::Pattern::parse(text) {
            Ok(pattern) => paths.push(pattern),
            Err(error) => reader.error(&format!("{at}/paths/{index}"), &error),
        }
    }
    Seal {
        property: property.to_owned(),
        hosts,
        ports,
        methods: wire
            .methods
            .is_some()
            .then(|| wire.methods.iter().flatten().flatten().cloned().collect()),
        paths: wire.paths.is_some().then_some(paths),
        place,
        certificate,
    }
}

/// Whether a rule ends TLS for what a pattern stands for, as far as that can be told without a connection's config.
fn inspects(rule: &Rule, pattern: &Pattern) -> bool {
    rule.protocol == Protocol::Https && may_be_for(&rule.host, pattern)
}
