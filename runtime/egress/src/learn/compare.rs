//! What a connector declares, what operators allow it, and what it did, place by place.

use super::{Observed, What};
use crate::host::Host;
use crate::name::Name;
use crate::policy::{Policy, Port, Rule};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// One entry of a connector's `egress`, as connector.yaml writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// A name, `*.name`, or text with `${config.property}`.
    pub host: String,
    /// Ports, or `${config.property}`.
    pub ports: Vec<String>,
    /// `tcp`, `tls` or `https`.
    pub protocol: String,
}

/// A place, and who names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The host as it is written, or as it was seen.
    pub host: String,
    /// The port as it is written, or as it was seen.
    pub port: String,
    /// What connector.yaml says is spoken there.
    pub declared: Option<String>,
    /// What the policy says, with the rule.
    pub allowed: Option<String>,
    /// How often it was seen; none where nothing was given to look at.
    pub observed: Option<u64>,
    /// How often it was refused.
    pub refused: u64,
}

impl Row {
    /// Whether somebody has to look: seen and not declared, declared and not allowed, or another protocol than declared.
    #[must_use]
    pub fn differs(&self) -> bool {
        let undeclared =
            self.declared.is_none() && (self.observed.unwrap_or(0) > 0 || self.refused > 0);
        let not_allowed = self.declared.is_some() && self.allowed.is_none();
        let otherwise = match (&self.declared, &self.allowed) {
            // Who asks for bytes gets them under postgres too.
            (Some(declared), Some(allowed)) if declared == "tcp" => {
                !allowed.starts_with("tcp") && !allowed.starts_with("postgres")
            }
            (Some(declared), Some(allowed)) => !allowed.starts_with(declared.as_str()),
            _ => false,
        };
        undeclared || not_allowed || otherwise
    }
}

/// Every place that one of the three names. Without `seen`, nothing is said of what was observed.
#[must_use]
pub fn compare(declared: &[Declared], policy: &Policy, seen: Option<&[Observed]>) -> Vec<Row> {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let row = |rows: &mut BTreeMap<(String, String), Row>, host: &str, port: &str| {
        let key = (host.to_owned(), port.to_owned());
        rows.entry(key).or_insert_with(|| Row {
            host: host.to_owned(),
            port: port.to_owned(),
            declared: None,
            allowed: None,
            observed: seen.map(|_| 0),
            refused: 0,
        });
    };
    for one in declared {
        for port in &one.ports {
            row(&mut rows, &one.host, port);
        }
    }
    for rule in &policy.egress {
        for port in &rule.ports {
            row(&mut rows, &rule.host.to_string(), &written(port));
        }
    }
    for one in seen.unwrap_or_default() {
        if let Some(port) = one.to.port
            && !rows
                .keys()
                .any(|(host, other)| fits(host, &one.to.host) && port_fits(other, port))
        {
            row(&mut rows, &one.to.host, &port.to_string());
        }
    }
    for row in rows.values_mut() {
        let asked = declared
            .iter()
            .find(|one| one.host == row.host)
            .or_else(|| declared.iter().find(|one| fits(&one.host, &row.host)));
        let asked = asked.filter(|one| one.ports.iter().any(|port| same(port, &row.port)));
        row.declared = asked.map(|one| one.protocol.clone());
        // A template stands for what was seen; of what somebody wrote, only for the same template.
        let written = |host: &str| {
            declared.iter().any(|one| one.host == host)
                || policy
                    .egress
                    .iter()
                    .any(|rule| rule.host.to_string() == host)
        };
        let is_seen = !written(&row.host);
        let rules = || policy.egress.iter();
        let rule = rules()
            .find(|rule| allows(rule, row, is_seen))
            .or_else(|| rules().find(|rule| narrows(rule, row)));
        row.allowed = rule.map(|rule| format!("{} by {}", rule.protocol.as_str(), rule.at));
        for one in seen.unwrap_or_default() {
            let is_of = fits(&row.host, &one.to.host)
                && one.to.port.is_some_and(|port| port_fits(&row.port, port));
            match (&one.what, &mut row.observed) {
                (What::Refused { times, .. }, _) if is_of => row.refused += times,
                (What::Request { .. }, Some(observed)) if is_of => *observed += 1,
                // Requests tell of their connection.
                (What::Connection, Some(observed)) if is_of && one.to.protocol != "https" => {
                    *observed += 1
                }
                _ => {}
            }
        }
    }
    rows.into_values().collect()
}

fn written(port: &Port) -> String {
    match port {
        Port::Fixed(port) => port.to_string(),
        Port::FromConfig(template) => template.to_string(),
    }
}

fn allows(rule: &Rule, row: &Row, is_seen: bool) -> bool {
    let host = match (&rule.host, Name::parse(&row.host)) {
        (Host::Names(pattern), Ok(name)) => pattern.matches(&name),
        (own, _) if is_seen => same(&own.to_string(), &row.host),
        (own, _) => own.to_string() == row.host,
    };
    host && rule
        .ports
        .iter()
        .any(|port| same(&written(port), &row.port))
}

/// Whether a rule is for what a template may stand for: the operator allows less than the connector asks for.
fn narrows(rule: &Rule, row: &Row) -> bool {
    let is_template = row.host.contains("${") || row.port.contains("${");
    is_template
        && fits(&row.host, &rule.host.to_string())
        && rule
            .ports
            .iter()
            .any(|port| row.port.starts_with("${") || same(&written(port), &row.port))
}

/// Whether two texts name the same; a template is known by its text.
fn same(one: &str, other: &str) -> bool {
    one == other || fits(one, other)
}

/// Whether a host as it is written may be one that was seen: `*` is one label, and a template any text.
fn fits(written: &str, seen: &str) -> bool {
    match (written.find("${"), written.strip_prefix("*.")) {
        (Some(start), _) => {
            let end = written.rfind('}').map_or(written.len(), |end| end + 1);
            seen.len() > start + written.len() - end
                && seen.starts_with(&written[..start])
                && seen.ends_with(&written[end..])
        }
        (None, Some(rest)) => seen.split_once('.').is_some_and(|(_, tail)| tail == rest),
        (None, None) => written.eq_ignore_ascii_case(seen),
    }
}

fn port_fits(written: &str, seen: u16) -> bool {
    written.starts_with("${") || written.parse() == Ok(seen)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or =
            |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
        let mark = if self.differs() { '!' } else { ' ' };
        write!(
            f,
            "{mark} {} port {}: declared {}, allowed {}",
            self.host,
            self.port,
            or(&self.declared, "not"),
            or(&self.allowed, "not")
        )?;
        if let Some(observed) = self.observed {
            write!(f, ", seen {observed} times")?;
        }
        if self.refused > 0 {
            write!(f, ", refused {} times", self.refused)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::observe;

    #[test]
    fn a_template_that_the_policy_narrows_to_one_place_is_allowed() {
        let declared = [Declared {
            host: "${config.host}".into(),
            ports: vec!["${config.port}".into()],
            protocol: "https".into(),
        }];
        let rule = |protocol: &str| {
            let text = format!(
                "format: 1\nconnector: shop\negress:\n  - {{ host: a.example.com, ports: [8443], protocol: {protocol} }}\n"
            );
            let policy = Policy::parse("shop.yaml", &text).unwrap();
            let rows = compare(&declared, &policy, None);
            rows.iter().filter(|row| row.differs()).count()
        };
        assert_eq!(rule("https"), 0);
        assert_eq!(rule("tls"), 2);
    }

    #[test]
    fn each_place_says_who_names_it_and_what_differs_is_marked() {
        let declared = |host: &str, port: &str, protocol: &str| Declared {
            host: host.into(),
            ports: vec![port.into()],
            protocol: protocol.into(),
        };
        let declared = [
            declared("${config.shop}.example.com", "443", "https"),
            declared("files.example.com", "443", "https"),
            declared("never.example.com", "443", "https"),
        ];
        let text = "format: 1\nconnector: shop\negress:\n\
                    \x20 - { host: '${config.shop}.example.com', within: ['*.example.com'], ports: [443], protocol: https }\n\
                    \x20 - { host: files.example.com, ports: [443], protocol: tls }\n\
                    \x20 - { host: old.example.org, ports: [22], protocol: tcp }\n";
        let policy = Policy::parse("shop.yaml", text).unwrap();
        let log = [
            r#"{"time":"t","event":"request","name":"acme.example.com","port":443,"protocol":"https","method":"GET","path":"/a"}"#,
            r#"{"time":"t","event":"refused","name":"evil.example.org","port":443,"protocol":"tcp","reason":"name_not_allowed","times":2}"#,
        ];
        let seen = observe("audit.jsonl", &log.join("\n")).unwrap();
        let rows: Vec<String> = compare(&declared, &policy, Some(&seen))
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(rows.join("\n"));
        assert!(
            compare(&declared, &policy, None)
                .iter()
                .all(|row| row.observed.is_none())
        );
    }
}
