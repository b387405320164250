//! Hosts as connector.yaml writes them: names, one-label wildcards, and
//! `${config.x}` holes that a connection fills.

use caisson_document::{Document, Fault, join, nearest};
use serde_json::Value;

/// Names of the `${config.NAME}` holes of a text, or what is wrong with one.
pub(crate) fn holes(text: &str) -> Result<Vec<&str>, &'static str> {
    const FORM: &str = "a hole is written ${config.name}";
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let after = &rest[start + 2..];
        let end = after.find('}').ok_or(FORM)?;
        let name = after[..end].strip_prefix("config.").ok_or(FORM)?;
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain {
            return Err(FORM);
        }
        names.push(name);
        rest = &after[end + 1..];
    }
    Ok(names)
}

/// What is wrong with a host, if anything: `(message, help)`.
pub(crate) fn host_fault(host: &str) -> Option<(&'static str, &'static str)> {
    if let Err(message) = holes(host) {
        return Some((message, "the name is that of a property of config"));
    }
    if host.contains("://") || host.contains('/') {
        return Some((
            "a URL instead of a host",
            "write the host alone, such as api.example.com",
        ));
    }
    let filled = fill(host);
    if filled.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    if filled.contains(':') {
        return Some(("a port in the host", "write it under `ports`"));
    }
    let labels: Vec<&str> = filled.split('.').collect();
    if labels.iter().skip(1).any(|label| label.contains('*'))
        || (labels[0].contains('*') && labels[0] != "*")
    {
        return Some((
            "a wildcard that is not the first label",
            "write *.example.com",
        ));
    }
    if labels[0] == "*" && labels.len() < 3 {
        return Some((
            "a wildcard over a whole public suffix",
            "name the domain: *.example.com",
        ));
    }
    let valid = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    };
    let names = if labels[0] == "*" {
        &labels[1..]
    } else {
        &labels[..]
    };
    if names.iter().all(|label| valid(label)) {
        None
    } else {
        Some((
            "not a host name",
            "write lower-case letters, digits, hyphens and dots, such as api.example.com",
        ))
    }
}

/// The host with a plain label in every hole.
fn fill(host: &str) -> String {
    let mut filled = String::new();
    let mut rest = host;
    while let Some(start) = rest.find("${") {
        filled.push_str(&rest[..start]);
        filled.push('x');
        rest = rest[start..]
            .find('}')
            .map_or("", |end| &rest[start + end + 1..]);
    }
    filled.push_str(rest);
    filled
}

/// Faults of the egress that a connector declares.
pub(crate) fn faults(document: &Document) -> Vec<Fault> {
    let mut faults = Vec::new();
    let rules = document.pointer("/egress").and_then(Value::as_array);
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let place = join("/egress", &index.to_string());
        if let Some(host) = rule.get("host").and_then(Value::as_str) {
            let host_place = join(&place, "host");
            match host_fault(host) {
                Some((message, help)) => faults.push(document.fault(&host_place, message, help)),
                None => faults.extend(unknown_holes(document, &host_place, host)),
            }
        }
        let ports = rule.get("ports").and_then(Value::as_array);
        for (index, port) in ports.into_iter().flatten().enumerate() {
            let port_place = join(&join(&place, "ports"), &index.to_string());
            faults.extend(
                port.as_str()
                    .into_iter()
                    .flat_map(|port| unknown_holes(document, &port_place, port)),
            );
        }
    }
    faults
}

fn unknown_holes(document: &Document, place: &str, text: &str) -> Vec<Fault> {
    let properties = document
        .pointer("/config/properties")
        .and_then(Value::as_object);
    let known: Vec<&str> = properties
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect();
    holes(text)
        .unwrap_or_default()
        .into_iter()
        .filter(|name| !known.contains(name))
        .map(|name| {
            let help =
                nearest(name, known.iter().copied()).map(|name| format!("did you mean `{name}`?"));
            document.fault(
                place,
                format!("config has no property `{name}`"),
                help.unwrap_or_default(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_wildcards_of_one_label_and_holes() {
        for host in [
            "api.example.com",
            "*.db.example.com",
            "${config.shop}.example.com",
            "${config.host}",
            "10.0.0.1",
            "localhost",
            "::1",
        ] {
            assert_eq!(host_fault(host), None, "{host}");
        }
        for host in [
            "https://x.com",
            "x.com:443",
            "*.com",
            "a.*.com",
            "a*.x.com",
            "UP.com",
            "-a.com",
            "a..b",
            "${shop}.x.com",
            "${config.a-b}.com",
            "${config.a.com",
            "a b",
        ] {
            assert!(host_fault(host).is_some(), "{host}");
        }
    }
}
