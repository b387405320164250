//! A policy and a connection's config together: what one call may do.
//!
//! Binding for a decision never fails: a rule that the config does not fill, or fills with something outside its fence,
//! matches nothing, so that a hot reload can always take effect. Asking for ports or files before a call starts does fail,
//! so that a config outside its fence is told early.

use super::{FileGrant, HttpRule, MAX_PORTS, OnThrottle, Policy, Port, Protocol, Rule, RuleAt};
use crate::host::{BoundHost, Host};
use crate::network::Network;
use crate::template::Missing;
use crate::throttle::Rate;
use caisson_document::{Fault, Faults, Mark};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What one call may reach.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its rules, in order.
    pub rules: Vec<BoundRule>,
    /// Where the config and the policy do not fit.
    pub faults: Vec<Fault>,
}

/// One rule with the connection's config in place.
#[derive(Debug, Clone)]
pub struct BoundRule {
    /// Where it stands.
    pub at: RuleAt,
    /// Its `host` as written.
    pub written: Host,
    /// What that stands for.
    pub host: BoundHost,
    /// Its ports.
    pub ports: BTreeSet<u16>,
    /// Special-purpose networks that it opens.
    pub networks: Vec<Network>,
    /// How it carries a connection.
    pub protocol: Protocol,
    /// Which requests pass; only where the protocol is inspected.
    pub http: Option<Arc<HttpRule>>,
    /// The most that is asked of the upstream.
    pub rate: Option<Rate>,
    /// What a 429 comes to.
    pub on_429: OnThrottle,
}

impl Policy {
    /// Puts a connection's config in place.
    #[must_use]
    pub fn bind(self: &Arc<Self>, config: &Value) -> Bound {
        let mut faults = Vec::new();
        let rules: Vec<BoundRule> = self
            .egress
            .iter()
            .map(|rule| bind_rule(rule, config, &mut faults))
            .collect();
        let ports: BTreeSet<u16> = rules
            .iter()
            .flat_map(|rule| rule.ports.iter().copied())
            .collect();
        if ports.len() > MAX_PORTS {
            let message = format!(
                "the rules and the connection name {} ports together",
                ports.len()
            );
            let help = format!("name at most {MAX_PORTS}; each is a listener in every worker");
            faults.push(Fault::of_file(&self.file, None, message, help));
        }
        Bound {
            policy: Arc::clone(self),
            rules,
            faults,
        }
    }

    /// The ports that the worker's namespace must listen on, ascending.
    ///
    /// # Errors
    /// A config value that no rule takes (outside `within` or `within_ports`, or no host or port), or more than 64 ports.
    pub fn ports(self: &Arc<Self>, config: &Value) -> Result<Vec<u16>, Faults> {
        let bound = self.bind(config);
        let ports = bound.ports().into_iter().collect();
        Faults::or(bound.faults, ports)
    }

    /// The ports that every worker of the connector listens on, whatever its config, ascending.
    #[must_use]
    pub fn fixed_ports(&self) -> Vec<u16> {
        let fixed = |port: &Port| match port {
            Port::Fixed(port) => Some(*port),
            Port::FromConfig(_) => None,
        };
        let all: BTreeSet<u16> = self
            .egress
            .iter()
            .flat_map(|rule| rule.ports.iter().filter_map(fixed))
            .collect();
        all.into_iter().take(MAX_PORTS).collect()
    }

    /// The host directories of a call. An entry whose property the config does not set grants nothing.
    ///
    /// # Errors
    /// A config value outside `within`, or no plain absolute path.
    pub fn files(&self, config: &Value) -> Result<Vec<FileGrant>, Faults> {
        let mut grants = Vec::new();
        let mut faults = Vec::new();
        for (index, rule) in self.files.iter().enumerate() {
            match rule.bind(config) {
                Ok(grant) => grants.extend(grant),
                Err(error) => {
                    let place = (rule.line, rule.column);
                    faults.push(fault(
                        &self.file,
                        place,
                        format!("files[{index}].dir"),
                        &error.to_string(),
                    ));
                }
            }
        }
        Faults::or(faults, grants)
    }
}

impl Bound {
    /// Every port of every rule, at most 64: the lowest win where a reload brings more.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        let all: BTreeSet<u16> = self
            .rules
            .iter()
            .flat_map(|rule| rule.ports.iter().copied())
            .collect();
        all.into_iter().take(MAX_PORTS).collect()
    }
}

fn bind_rule(rule: &Rule, config: &Value, faults: &mut Vec<Fault>) -> BoundRule {
    let place = (rule.at.line, rule.at.column);
    let path = |key: &str| format!("egress[{}].{key}", rule.at.index);
    let (host, error) = rule.host.bind(config);
    if let Some(error) = error {
        faults.push(fault(
            &rule.at.file,
            place,
            path("host"),
            &error.to_string(),
        ));
    }
    if let BoundHost::Address(address) = host
        && rule.protocol != Protocol::Tcp
        && !address.is_loopback()
    {
        let message = format!(
            "{address} stands for no name, and under protocol: {} the server is told by its name; the connection names a host, or the operator writes protocol: tcp",
            rule.protocol.as_str()
        );
        faults.push(fault(&rule.at.file, place, path("host"), &message));
    }
    if let BoundHost::Address(address) = host
        && !crate::address::within(&rule.networks, address)
    {
        let message = format!(
            "{address} stands for no name, so networks must hold it; the connection names a host, or the operator adds networks: [{}]",
            Network::single(address)
        );
        faults.push(fault(&rule.at.file, place, path("networks"), &message));
    }
    let mut ports = BTreeSet::new();
    for port in &rule.ports {
        match port {
            Port::Fixed(port) => {
                ports.insert(*port);
            }
            Port::FromConfig(template) => match template.fill(config) {
                Err(Missing::Absent(_)) => {}
                Err(Missing::NotText(property)) => {
                    let message = format!(
                        "{property} is no port; put a number from 1 to 65535 into the connection's config"
                    );
                    faults.push(fault(&rule.at.file, place, path("ports"), &message));
                }
                Ok(text) => match parse_port(&text) {
                    Some(port)
                        if rule.within_ports.iter().any(|range| range.contains(&port))
                            && port != 53 =>
                    {
                        ports.insert(port);
                    }
                    Some(port) => {
                        let message = format!(
                            "port {port} is not inside `within_ports`; the operator may add it, or the connection names another"
                        );
                        faults.push(fault(&rule.at.file, place, path("ports"), &message));
                    }
                    None => {
                        let message = format!(
                            "{template} does not become a port; put a number from 1 to 65535 into the connection's config"
                        );
                        faults.push(fault(&rule.at.file, place, path("ports"), &message));
                    }
                },
            },
        }
    }
    BoundRule {
        at: rule.at.clone(),
        written: rule.host.clone(),
        host,
        ports,
        networks: rule.networks.clone(),
        protocol: rule.protocol,
        http: rule.http.clone(),
        rate: rule.rate,
        on_429: rule.on_429,
    }
}

/// A port as plain digits; `+1`, ` 1` and `1.0` are none.
fn parse_port(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port: &u16| plain && port > 0)
}

fn fault(file: &str, (line, column): (usize, usize), path: String, text: &str) -> Fault {
    let (message, help) = text.split_once("; ").unwrap_or((text, ""));
    Fault {
        path,
        ..Fault::of_file(file, Some(Mark { line, column }), message, help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy() -> Arc<Policy> {
        let text = "format: 1\nconnector: db\negress:\n  - host: ${config.host}\n    within: ['*.db.example']\n    \
                    ports: [443, '${config.port}']\n    within_ports: [5432-5439]\n    networks: [10.20.0.0/16]\n    protocol: tcp\n\
                    files: [{ dir: '${config.dir}', within: [/srv/lake], access: write }]\n";
        Arc::new(Policy::parse("db.yaml", text).unwrap())
    }

    #[test]
    fn ports_are_the_fixed_ones_and_the_connections() {
        let ports = |config| policy().ports(&config).map_err(|faults| faults.to_string());
        assert_eq!(
            ports(json!({"host": "a.db.example", "port": 5433})).unwrap(),
            [443, 5433]
        );
        assert_eq!(ports(json!({"port": "5433"})).unwrap(), [443, 5433]);
        assert_eq!(ports(json!({})).unwrap(), [443]);
    }

    #[test]
    fn a_config_outside_its_fences_is_told_with_the_rules_place() {
        let config = json!({"host": "evil.example", "port": 22, "dir": "/etc"});
        let faults = policy().ports(&config).unwrap_err().to_string();
        insta::assert_snapshot!(faults, @r"
        db.yaml:4:5: egress[0].host: evil.example is not inside `within`; the operator may add it to `within`, or the connection names another host
        db.yaml:4:5: egress[0].ports: port 22 is not inside `within_ports`; the operator may add it, or the connection names another
        ");
        let faults = policy().files(&config).unwrap_err().to_string();
        assert!(
            faults.contains("files[0].dir: \"/etc\" is not inside `within`"),
            "{faults}"
        );
    }

    #[test]
    fn a_secret_reference_is_neither_host_nor_port_nor_directory() {
        let reference = json!({"$secret": "env:CAISSON_SECRET_X"});
        let config = json!({"host": reference, "port": reference, "dir": reference});
        assert_eq!(policy().ports(&config).unwrap_err().0.len(), 2);
        assert_eq!(policy().files(&config).unwrap_err().0.len(), 1);
    }
}
