//! The decision: a pure function on plain data, the one copy of what a policy means.
//!
//! `policy check`, `policy explain`, the DNS server, the relay and the watcher of refused packets all ask [`decide`].

use crate::address::{AddressClass, classify, is_metadata_name, network_of, within};
use crate::guard::Guard;
use crate::host::{BoundHost, Target};
use crate::network::Network;
use crate::policy::{Bound, BoundRule, Protocol, RuleAt};
use crate::reason::Reason;
use caisson_without::{Part, without};
use http::Method;
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How the attempt travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// Another IP protocol.
    Other(u8),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Other(number) => write!(f, "ip protocol {number}"),
        }
    }
}

/// What a worker wants.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// The host.
    pub target: &'a Target,
    /// The port; `None` while only the name is asked for.
    pub port: Option<u16>,
    /// How it travels.
    pub transport: Transport,
    /// What the name stands for; `None` while it has not been resolved. An address stands for itself.
    pub addresses: Option<&'a [IpAddr]>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go ahead.
    Allow(Allowed),
    /// Do not.
    Refuse(Refusal),
}

/// What a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The rule.
    pub rule: RuleAt,
    /// How the connection is carried.
    pub protocol: Protocol,
    /// The addresses that may be dialled; empty while the name has not been resolved.
    pub addresses: Vec<IpAddr>,
}

/// Why not, and what would change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The stable reason.
    pub reason: Reason,
    /// One sentence for people.
    pub detail: String,
    /// The rule (YAML) that would allow the attempt; `None` where no policy can.
    pub rule_to_add: Option<String>,
    /// The rule that came nearest, where one did.
    pub nearest: Option<RuleAt>,
    /// The inspected request, where one was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<Requested>>,
}

/// What an inspected request asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requested {
    /// Its method.
    pub method: String,
    /// Its path without the query, as it was written.
    pub path: String,
    /// The path was longer than is told.
    pub path_cut: bool,
}

impl Refusal {
    /// A refusal that no rule would change.
    pub(crate) fn flat(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            rule_to_add: None,
            nearest: None,
            request: None,
        }
    }

    /// The same, of a request. The query of its target goes before anybody is told.
    pub(crate) fn of(self, method: &Method, target: &str) -> Self {
        let request = Requested {
            method: method.to_string(),
            path: target.to_owned(),
            path_cut: false,
        };
        Self {
            request: Some(request.into()),
            ..self
        }
    }
}

/// Whether `policy` (none: nothing is allowed) lets `attempt` pass on a daemon whose own sockets `guard` knows.
///
/// With several rules for one host and port the first that allows wins. The name is judged first, then the port, then
/// every address.
#[must_use]
pub fn decide(policy: Option<&Bound>, guard: &Guard, attempt: &Attempt<'_>) -> Verdict {
    match judge(policy, guard, attempt) {
        Ok(allowed) => Verdict::Allow(allowed),
        Err(refusal) => Verdict::Refuse(refusal),
    }
}

fn judge(policy: Option<&Bound>, guard: &Guard, attempt: &Attempt<'_>) -> Result<Allowed, Refusal> {
    let target = attempt.target;
    beyond_policy(guard, attempt)?;
    if attempt.transport != Transport::Tcp {
        let detail = format!(
            "{} to {}: only TCP leaves a worker",
            attempt.transport,
            describe(target, attempt.port)
        );
        return Err(Refusal::flat(Reason::TransportNotAllowed, detail));
    }
    if without(Part::Policy) {
        return Ok(unruled(attempt));
    }
    let Some(bound) = policy else {
        return Err(Refusal {
            reason: Reason::NoPolicy,
            detail: "no policy file is for this connector version, so it reaches nothing"
                .to_owned(),
            rule_to_add: offer(guard, attempt),
            nearest: None,
            request: None,
        });
    };
    let for_host: Vec<&BoundRule> = bound
        .rules
        .iter()
        .filter(|rule| is_for(rule, target))
        .collect();
    let Some(nearest) = for_host.first() else {
        return Err(no_rule(bound, guard, attempt));
    };
    let for_port: Vec<&BoundRule> = for_host
        .iter()
        .copied()
        .filter(|rule| attempt.port.is_none_or(|port| rule.ports.contains(&port)))
        .collect();
    if for_port.is_empty() {
        let mut ports: Vec<u16> = for_host
            .iter()
            .flat_map(|rule| rule.ports.iter().copied())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        return Err(Refusal {
            reason: Reason::PortNotAllowed,
            detail: format!(
                "{} may be reached on port {} only",
                target,
                ports.join(", ")
            ),
            rule_to_add: offer(guard, attempt),
            nearest: Some(nearest.at.clone()),
            request: None,
        });
    }
    let own;
    let addresses = match (target, attempt.addresses) {
        (Target::Address(address), _) => {
            own = [*address];
            &own[..]
        }
        (Target::Name(_), Some(addresses)) => addresses,
        (Target::Name(_), None) => {
            let rule = for_port[0];
            return Ok(Allowed {
                rule: rule.at.clone(),
                protocol: rule.protocol,
                addresses: Vec::new(),
            });
        }
    };
    let mut first = None;
    for rule in for_port {
        let mut passed = Vec::new();
        for &address in addresses {
            match judge_address(rule, guard, attempt, address) {
                Ok(()) if !passed.contains(&address) => passed.push(address),
                Ok(()) => {}
                Err(refusal) => {
                    first.get_or_insert(refusal);
                }
            }
        }
        if !passed.is_empty() {
            return Ok(Allowed {
                rule: rule.at.clone(),
                protocol: rule.protocol,
                addresses: passed,
            });
        }
    }
    Err(first
        .unwrap_or_else(|| Refusal::flat(Reason::DnsFailed, format!("{target} has no address"))))
}

/// What the build of the escape suite answers when it asks no rules: the checks on addresses stay.
fn unruled(attempt: &Attempt<'_>) -> Allowed {
    let addresses = match (attempt.target, attempt.addresses) {
        (Target::Address(address), _) => vec![*address],
        (Target::Name(_), addresses) => addresses.unwrap_or_default().to_vec(),
    };
    let global = |address: &IpAddr| matches!(classify(*address), AddressClass::Global);
    Allowed {
        rule: RuleAt {
            file: String::new(),
            line: 0,
            column: 0,
            index: 0,
        },
        protocol: Protocol::Tcp,
        addresses: addresses.into_iter().filter(global).collect(),
    }
}

/// Each address of an allowed name that may not be dialled, with its refusal: what DNS reports even where another address
/// of the same name passes.
pub(crate) fn refused_addresses(
    bound: &Bound,
    guard: &Guard,
    attempt: &Attempt<'_>,
) -> Vec<(IpAddr, Refusal)> {
    let addresses = attempt.addresses.unwrap_or_default();
    let refused = |&address: &IpAddr| {
        let single = [address];
        match judge(
            Some(bound),
            guard,
            &Attempt {
                addresses: Some(&single),
                ..attempt.clone()
            },
        ) {
            Ok(_) => None,
            Err(refusal) => Some((address, refusal)),
        }
    };
    addresses.iter().filter_map(refused).collect()
}

/// What no policy can allow, told before any policy is asked.
fn beyond_policy(guard: &Guard, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    match attempt.target {
        Target::Name(name) if is_metadata_name(name) => {
            let detail = format!("{name} is cloud metadata, which no policy can allow");
            Err(Refusal::flat(Reason::Metadata, detail))
        }
        Target::Name(_) => Ok(()),
        Target::Address(address) if guard.stands_in(*address) => {
            let detail = format!(
                "{address} was never given out for a name in this call; look the name up first"
            );
            Err(Refusal::flat(Reason::UnknownAddress, detail))
        }
        Target::Address(address) => never(guard, attempt.port, *address),
    }
}

fn never(guard: &Guard, port: Option<u16>, address: IpAddr) -> Result<(), Refusal> {
    match classify(address) {
        AddressClass::Metadata(_) | AddressClass::Never(_) if without(Part::Addresses) => {}
        AddressClass::Metadata(what) => {
            return Err(Refusal::flat(
                Reason::Metadata,
                format!("{address} is {what}, which no policy can allow"),
            ));
        }
        AddressClass::Never(what) => {
            return Err(Refusal::flat(
                Reason::NeverReachable,
                format!("{address} is {what}, which no policy can allow"),
            ));
        }
        AddressClass::Special(_) | AddressClass::Global => {}
    }
    if let Some(port) = port
        && guard.is_own(address, port)
    {
        let detail = format!(
            "the daemon itself listens on {address} port {port}, which no policy can allow"
        );
        return Err(Refusal::flat(Reason::OwnSocket, detail));
    }
    Ok(())
}

fn judge_address(
    rule: &BoundRule,
    guard: &Guard,
    attempt: &Attempt<'_>,
    address: IpAddr,
) -> Result<(), Refusal> {
    let address = address.to_canonical();
    never(guard, attempt.port, address)?;
    match classify(address) {
        AddressClass::Special(what) if !reaches(rule, address) => {
            let network = network_of(address);
            let subject = match attempt.target {
                Target::Name(name) => format!("{name} stands for {address}, which"),
                Target::Address(_) => format!("{address}"),
            };
            Err(Refusal {
                reason: Reason::SpecialPurpose,
                detail: format!("{subject} is {what} and in no network of the rule"),
                rule_to_add: snippet(
                    attempt.target,
                    attempt.port,
                    Some(network),
                    Some(rule.protocol),
                ),
                nearest: Some(rule.at.clone()),
                request: None,
            })
        }
        _ => Ok(()),
    }
}

/// The rules for a host and port, in order.
pub(crate) fn rules_for<'a>(
    bound: &'a Bound,
    target: &Target,
    port: u16,
) -> impl Iterator<Item = &'a BoundRule> {
    bound
        .rules
        .iter()
        .filter(move |rule| is_for(rule, target) && rule.ports.contains(&port))
}

/// Whether a rule reaches this address: a special one only where its networks hold it.
pub(crate) fn reaches(rule: &BoundRule, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let special = matches!(classify(address), AddressClass::Special(_));
    !special || without(Part::Addresses) || within(&rule.networks, address)
}

/// Whether a rule is for this host. An address matches only what names addresses; loopback is what `localhost` means.
fn is_for(rule: &BoundRule, target: &Target) -> bool {
    match (target, &rule.host) {
        (Target::Name(name), BoundHost::Names(pattern)) => pattern.matches(name),
        (Target::Address(address), BoundHost::Names(crate::host::Pattern::Exact(name))) => {
            name.as_str() == "localhost"
                && address.is_loopback()
                && within(&rule.networks, *address)
        }
        (Target::Address(address), BoundHost::Address(own)) => {
            address == own && within(&rule.networks, *address) && needs_no_name(rule, *address)
        }
        (Target::Address(address), BoundHost::AnyInNetworks) => {
            within(&rule.networks, *address) && needs_no_name(rule, *address)
        }
        _ => false,
    }
}

/// Whether a rule can do without a host's name: it is what a ClientHello and a certificate are compared with. Loopback has
/// one.
fn needs_no_name(rule: &BoundRule, address: IpAddr) -> bool {
    rule.protocol == Protocol::Tcp || address.is_loopback()
}

fn no_rule(bound: &Bound, guard: &Guard, attempt: &Attempt<'_>) -> Refusal {
    let target = attempt.target;
    let outside = bound
        .rules
        .iter()
        .find(|rule| matches!(&rule.host, BoundHost::Outside(Some(own)) if own == target));
    if let Some(rule) = outside {
        return Refusal {
            reason: Reason::OutsideWithin,
            detail: format!(
                "{} becomes {target}, which is not inside `within`",
                rule.written
            ),
            rule_to_add: Some(format!("within: [{}]", quoted(target))),
            nearest: Some(rule.at.clone()),
            request: None,
        };
    }
    let (reason, detail) = match target {
        Target::Name(name) => (Reason::NameNotAllowed, format!("no rule is for {name}")),
        Target::Address(address) => (
            Reason::AddressNotAllowed,
            format!("{address} was dialled without a name, and no rule's networks hold it"),
        ),
    };
    Refusal {
        reason,
        detail,
        rule_to_add: offer(guard, attempt),
        nearest: None,
        request: None,
    }
}

/// The rule that would allow an attempt for which there is none. Where nothing that the name stands for is an ordinary
/// address, the rule names a network too; where no policy can allow any of it, there is none to add.
fn offer(guard: &Guard, attempt: &Attempt<'_>) -> Option<String> {
    let (Target::Name(_), Some(addresses)) = (attempt.target, attempt.addresses) else {
        return snippet(attempt.target, attempt.port, None, None);
    };
    let mut reachable = addresses
        .iter()
        .filter(|&&address| never(guard, attempt.port, address).is_ok())
        .peekable();
    let first = *reachable.peek()?;
    let is_ordinary = |&address: &IpAddr| matches!(classify(address), AddressClass::Global);
    let network = (!reachable.any(is_ordinary)).then(|| network_of(*first));
    snippet(attempt.target, attempt.port, network, None)
}

fn describe(target: &Target, port: Option<u16>) -> String {
    port.map_or_else(
        || target.to_string(),
        |port| format!("{target} port {port}"),
    )
}

fn quoted(target: &Target) -> String {
    match target {
        Target::Address(IpAddr::V6(address)) => format!("\"{address}\""),
        other => other.to_string(),
    }
}

/// The rule that would allow the attempt, as it would stand under `egress:`. None can for port 53, which is DNS.
fn snippet(
    target: &Target,
    port: Option<u16>,
    network: Option<Network>,
    protocol: Option<Protocol>,
) -> Option<String> {
    let port = port.unwrap_or(443);
    if port == 53 {
        return None;
    }
    let begins_with_tls = matches!(port, 443 | 465 | 636 | 853 | 993 | 995 | 8443 | 9443);
    let protocol = match (target, protocol) {
        (Target::Address(_), _) => Protocol::Tcp,
        (Target::Name(_), Some(protocol)) => protocol,
        (Target::Name(_), None) if begins_with_tls => Protocol::Tls,
        (Target::Name(_), None) => Protocol::Tcp,
    };
    let mut networks: Vec<Network> = network.into_iter().collect();
    match target {
        Target::Address(address) if networks.is_empty() => networks.push(network_of(*address)),
        // Whatever it stands for, the reader wants to see that this is the daemon's own host.
        Target::Name(name) if name.as_str() == "localhost" => {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            if !loopback.iter().any(|&address| within(&networks, address)) {
                networks.insert(0, Network::v4(Ipv4Addr::new(127, 0, 0, 0), 8));
            }
        }
        _ => {}
    }
    let networks: Vec<String> = networks
        .iter()
        .map(|network| format!("\"{network}\""))
        .collect();
    let networks = if networks.is_empty() {
        String::new()
    } else {
        format!("  networks: [{}]\n", networks.join(", "))
    };
    Some(format!(
        "- host: {}\n  ports: [{port}]\n{networks}  protocol: {}\n",
        quoted(target),
        protocol.as_str()
    ))
}
