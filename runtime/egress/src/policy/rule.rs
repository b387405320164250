//! One egress rule becomes data, or every reason why not.

use super::http::read_http;
use super::read::Reader;
use super::wire::WireRule;
use super::{MAX_PORTS, Port, Protocol, Rule, RuleAt};
use crate::address::{AddressClass, classify};
use crate::host::{Fence, Host, Pattern, Target};
use crate::network::Network;
use crate::template::Template;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub(super) fn read_rules(reader: &mut Reader<'_>, wire: Vec<Option<WireRule>>) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut fixed = BTreeSet::new();
    for (index, rule) in wire.into_iter().enumerate() {
        let Some(rule) = rule else { continue };
        let at = format!("/egress/{index}");
        let (http, rate, on_429) = read_http(reader, &at, &rule);
        let networks = networks(reader, &at, &rule);
        let host = host(reader, &at, &rule, &networks);
        let (ports, within_ports) = ports(reader, &at, &rule);
        fixed.extend(ports.iter().filter_map(|port| {
            if let Port::Fixed(port) = port {
                Some(*port)
            } else {
                None
            }
        }));
        let protocol = match rule.protocol.as_deref() {
            Some("tcp") => Protocol::Tcp,
            Some("https") => Protocol::Https,
            Some("postgres") => Protocol::Postgres,
            _ => Protocol::Tls,
        };
        let Some(host) = host else { continue };
        let nameless = matches!(host, Host::Address(_))
            || (host == Host::AnyInNetworks && !networks.is_empty());
        if nameless && protocol != Protocol::Tcp && rule.protocol.is_some() {
            let message = match protocol {
                Protocol::Postgres => {
                    "the server's certificate is verified by its name, and an address is none"
                }
                _ => "an address cannot be named in a ClientHello",
            };
            let help = "write protocol: tcp, or the host's name";
            reader.fault(&format!("{at}/protocol"), message, help);
        }
        let (line, column) = reader.place(&at);
        let at = RuleAt {
            file: reader.document.file().to_owned(),
            line,
            column,
            index,
        };
        rules.push(Rule {
            at,
            host,
            ports,
            within_ports,
            networks,
            protocol,
            http: http.map(Arc::new),
            rate,
            on_429,
        });
    }
    if fixed.len() > MAX_PORTS {
        let message = format!(
            "the rules name {} ports; each is a listener in every worker",
            fixed.len()
        );
        reader.fault("/egress", message, format!("name at most {MAX_PORTS}"));
    }
    rules
}

fn networks(reader: &mut Reader<'_>, at: &str, rule: &WireRule) -> Vec<Network> {
    let mut networks = Vec::new();
    for (index, text) in rule.networks.iter().flatten().enumerate() {
        let Some(text) = text else { continue };
        let pointer = format!("{at}/networks/{index}");
        match text.parse::<Network>() {
            Err(error) => reader.error(&pointer, &error),
            Ok(network) => {
                if network.size() == 1
                    && let AddressClass::Metadata(what) | AddressClass::Never(what) =
                        classify(network.base())
                {
                    reader.fault(
                        &pointer,
                        format!("{network} is {what}, which no policy can allow"),
                        "leave it out",
                    );
                }
                networks.push(network);
            }
        }
    }
    networks
}

fn host(reader: &mut Reader<'_>, at: &str, rule: &WireRule, networks: &[Network]) -> Option<Host> {
    let pointer = format!("{at}/host");
    let Some(text) = rule.host.as_deref() else {
        if reader.document.pointer(&pointer).is_none()
            && rule.networks.as_ref().is_none_or(Vec::is_empty)
        {
            reader.fault(
                at,
                "the rule names neither host nor networks",
                "add host: api.example.com",
            );
        }
        // A host of the wrong shape was reported, and must not read as none.
        return reader
            .document
            .pointer(&pointer)
            .is_none()
            .then_some(Host::AnyInNetworks);
    };
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            reader.error(&pointer, &error);
            return None;
        }
    };
    let within = fences(reader, at, rule);
    if let Some(template) = template {
        if rule.within.is_none() {
            let help = format!(
                "add within: [\"{}\"], the names that it must lie in",
                template.likely_within()
            );
            reader.fault(&pointer, "a host from the connection has no fence", help);
        }
        return Some(Host::FromConfig { template, within });
    }
    if rule.within.is_some() {
        reader.key_fault(
            &format!("{at}/within"),
            "within fences a host from the connection, and this one is fixed",
            "leave within out",
        );
    }
    match Target::parse(text) {
        Ok(Target::Address(address)) => {
            if let AddressClass::Metadata(what) | AddressClass::Never(what) = classify(address) {
                reader.fault(
                    &pointer,
                    format!("the address is {what}, which no policy can allow"),
                    "leave the rule out",
                );
            } else if crate::stand_in::range(crate::stand_in::RANGE.0).contains(address) {
                reader.fault(
                    &pointer,
                    "inside a worker the address stands for a name that was looked up",
                    "name the host, and add networks: [198.18.0.0/15] if its address lies there",
                );
            } else if !crate::address::within(networks, address) {
                let help = format!("add networks: [{}]", Network::single(address));
                reader.fault(
                    &pointer,
                    "an address stands for no name, so networks must hold it",
                    help,
                );
            }
            return Some(Host::Address(address));
        }
        Ok(Target::Name(name)) if name.as_str() == "localhost" => {
            let loopback = ["127.0.0.1", "::1"].iter().any(|text| {
                text.parse()
                    .is_ok_and(|address| networks.iter().any(|network| network.contains(address)))
            });
            if !loopback {
                reader.fault(
                    &pointer,
                    "localhost is the daemon's own host, so networks must hold it",
                    "add networks: [127.0.0.0/8]",
                );
            }
        }
        Ok(Target::Name(name)) if crate::address::is_metadata_name(&name) => {
            reader.fault(
                &pointer,
                "the name is cloud metadata, which no policy can allow",
                "leave the rule out",
            );
        }
        _ => {}
    }
    match Pattern::parse(text) {
        Ok(pattern) => Some(Host::Names(pattern)),
        Err(error) => {
            reader.error(&pointer, &error);
            None
        }
    }
}

fn fences(reader: &mut Reader<'_>, at: &str, rule: &WireRule) -> Vec<Fence> {
    let mut fences = Vec::new();
    for (index, text) in rule.within.iter().flatten().enumerate() {
        let Some(text) = text else { continue };
        match Fence::parse(text) {
            Ok(fence) => fences.push(fence),
            Err(error) => reader.error(&format!("{at}/within/{index}"), &error),
        }
    }
    fences
}

fn ports(
    reader: &mut Reader<'_>,
    at: &str,
    rule: &WireRule,
) -> (Vec<Port>, Vec<RangeInclusive<u16>>) {
    let pointer = format!("{at}/ports");
    let mut ports = Vec::new();
    match &rule.ports {
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                ports.extend(port(reader, &format!("{pointer}/{index}"), item));
            }
        }
        Some(item) => ports.extend(port(reader, &pointer, item)),
        None => {}
    }
    let mut within = Vec::new();
    for (index, item) in rule.within_ports.iter().flatten().enumerate() {
        match item.as_ref().map(range) {
            Some(Some(range)) => within.push(range),
            Some(None)
                if item
                    .as_ref()
                    .and_then(Value::as_str)
                    .is_some_and(|text| text.contains('-')) =>
            {
                let help = "write a port from 1 to 65535, or a range such as 5432-5439";
                reader.fault(
                    &format!("{at}/within_ports/{index}"),
                    "not a port or range",
                    help,
                );
            }
            _ => {}
        }
    }
    let from_config = ports.iter().any(|port| matches!(port, Port::FromConfig(_)));
    if from_config && rule.within_ports.is_none() {
        reader.fault(
            &pointer,
            "a port from the connection has no fence",
            "add within_ports: [5432], the ports that it must lie in",
        );
    }
    if !from_config && rule.within_ports.is_some() && !ports.is_empty() {
        reader.key_fault(
            &format!("{at}/within_ports"),
            "within_ports fences a port from the connection, and these are fixed",
            "leave within_ports out",
        );
    }
    (ports, within)
}

fn port(reader: &mut Reader<'_>, pointer: &str, item: &Value) -> Option<Port> {
    match item {
        Value::Number(number) => {
            let port = number
                .as_u64()
                .and_then(|port| u16::try_from(port).ok())
                .filter(|&port| port > 0)?;
            if port == 53 {
                reader.fault(
                    pointer,
                    "port 53 is the gateway's own DNS",
                    "leave it out; names are answered by the gateway",
                );
                return None;
            }
            Some(Port::Fixed(port))
        }
        Value::String(text) => match Template::parse(text) {
            Ok(Some(template)) => Some(Port::FromConfig(template)),
            Ok(None) => None,
            Err(error) => {
                reader.error(pointer, &error);
                None
            }
        },
        _ => None,
    }
}

/// `None` for a range that is none.
fn range(item: &Value) -> Option<RangeInclusive<u16>> {
    let bounds = match item {
        Value::Number(number) => {
            let port = u16::try_from(number.as_u64()?).ok()?;
            (port, port)
        }
        Value::String(text) => {
            let (low, high) = text.split_once('-')?;
            (low.parse().ok()?, high.parse().ok()?)
        }
        _ => return None,
    };
    (bounds.0 > 0 && bounds.0 <= bounds.1).then_some(bounds.0..=bounds.1)
}
