//! What a seal may say whose secret is the private key of a client certificate.
//!
//! The key is used in a handshake, before there is any request: methods and paths cannot narrow it, and whom it is shown to is
//! told by hosts and ports alone.

use super::read::Reader;
use super::wire::WireSeal;
use super::{Place, Policy, Port, Protocol, Rule, Seal};
use crate::host::{Host, Pattern};
use crate::name::Name;

impl Policy {
    /// The seal whose certificate is shown to a host, where there is one.
    pub(crate) fn client_key(&self, host: &Name, port: u16) -> Option<&Seal> {
        let mut keys = self
            .seals
            .iter()
            .filter(|seal| seal.place == Some(Place::ClientKey));
        keys.find(|seal| seal.is_for(host, port))
    }
}

/// The property that holds the certificate, as a JSON pointer; with every reason why the seal cannot be one of a client key.
pub(super) fn read_certificate(
    reader: &mut Reader<'_>,
    at: &str,
    property: &str,
    wire: &WireSeal,
    place: Option<&Place>,
) -> Option<String> {
    let pointer = format!("{at}/certificate");
    if place != Some(&Place::ClientKey) {
        if wire.certificate.is_some() {
            let help = "write place: client_key, or leave certificate out";
            reader.key_fault(&pointer, "a certificate goes with a client's key", help);
        }
        return None;
    }
    for (key, named) in [
        ("methods", wire.methods.is_some()),
        ("paths", wire.paths.is_some()),
    ] {
        if named {
            let message = format!("{key} narrow requests, and a key is used before there are any");
            let help = format!("leave {key} out; http.{key} of the rule narrow requests");
            reader.key_fault(&format!("{at}/{key}"), message, help);
        }
    }
    // The schema said what is wrong with an empty one.
    let name = wire
        .certificate
        .as_deref()
        .filter(|name| !name.is_empty())?;
    let own = if name.starts_with('/') {
        name.to_owned()
    } else if name.contains('/') {
        let help = "write a property (client_certificate) or, for a nested one, a JSON pointer (/tls/certificate)";
        reader.fault(&pointer, "the name is no property of the config", help);
        return None;
    } else {
        format!("/{}", name.replace('~', "~0"))
    };
    if own == property {
        let help = "leave certificate out where one value holds certificate and key";
        reader.fault(&pointer, "the certificate is the key's own property", help);
        return None;
    }
    Some(own)
}

/// Tells of a host at which no rule would show the certificate on any of the seal's ports.
pub(super) fn check_host(
    reader: &mut Reader<'_>,
    at: &str,
    host: &Pattern,
    ports: &[u16],
    rules: &[Rule],
) {
    let shows = |rule: &Rule| {
        matches!(rule.protocol, Protocol::Https | Protocol::Postgres)
            && may_be_for(&rule.host, host)
            && ports.iter().any(|&port| opens(rule, port))
    };
    if rules.iter().any(shows) {
        return;
    }
    let named: Vec<String> = ports.iter().map(u16::to_string).collect();
    let named = named.join(", ");
    let message = format!(
        "no rule of egress speaks TLS for the worker with {host} port {named}, so no certificate would be shown there"
    );
    let help = format!(
        "write a rule with host: {host}, ports: [{named}] and protocol: https or postgres, or the rule's ports into the seal"
    );
    reader.fault(at, message, help);
}

/// A seal of another property that would show another certificate at the same place.
pub(super) fn rival<'a>(seal: &Seal, others: &'a [Seal]) -> Option<&'a Seal> {
    let is_key = |seal: &Seal| seal.place == Some(Place::ClientKey);
    others.iter().find(|other| {
        is_key(seal)
            && is_key(other)
            && seal.ports.iter().any(|port| other.ports.contains(port))
            && seal
                .hosts
                .iter()
                .any(|host| other.hosts.iter().any(|own| meet(own, host)))
    })
}

/// Whether a rule may be for what a pattern stands for, as far as that can be told without a connection's config.
pub(super) fn may_be_for(rule: &Host, pattern: &Pattern) -> bool {
    match rule {
        Host::Names(own) => meet(own, pattern),
        Host::FromConfig { .. } => true,
        Host::Address(_) | Host::AnyInNetworks => false,
    }
}

fn opens(rule: &Rule, port: u16) -> bool {
    rule.ports.iter().any(|own| match own {
        Port::Fixed(own) => *own == port,
        Port::FromConfig(_) => rule.within_ports.iter().any(|range| range.contains(&port)),
    })
}

/// Whether a name can be of both.
fn meet(one: &Pattern, other: &Pattern) -> bool {
    match (one, other) {
        (pattern, Pattern::Exact(name)) | (Pattern::Exact(name), pattern) => pattern.matches(name),
        (one, other) => one == other,
    }
}
