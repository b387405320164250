//! A second reading of what a policy means, written from the guide alone: strings and whole numbers, none of the crate's
//! types. Slow, plain, and wrong in other ways than the first.

use crate::generate::{Host, Rule};
use std::net::{IpAddr, Ipv4Addr};

/// What a text stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    Name(String),
    Address(IpAddr),
}

/// A name in small letters without its last dot, or an address in its shortest form; `None` for everything that two
/// parsers could read differently.
pub(crate) fn meaning(text: &str) -> Option<Meaning> {
    let inner = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.contains(':'))?,
        None => text,
    };
    if let Ok(address) = inner.parse::<IpAddr>() {
        return Some(Meaning::Address(plain(address)));
    }
    if inner != text {
        return None;
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = labels.last()?;
    let digits = last.strip_prefix("0x").map_or(10, |_| 16);
    let is_number = last
        .trim_start_matches("0x")
        .chars()
        .all(|c| c.is_digit(digits));
    let fits = name.len() <= 253 && labels.iter().all(is_label) && !is_number;
    fits.then_some(Meaning::Name(name))
}

/// IPv4 out of its mapped form.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    }
}

/// The IPv4 address inside, for every form that a host may deliver as IPv4.
fn inside(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = plain(address) else {
        return None;
    };
    let bits = u128::from(v6);
    let low = Ipv4Addr::from(bits as u32);
    let head = bits >> 32;
    let forms = [0, 0xffff_0000, 0x0064_ff9b_u128 << 64];
    if forms.contains(&head) && bits > 1 {
        return Some(low);
    }
    (bits >> 112 == 0x2002).then(|| Ipv4Addr::from((bits >> 80) as u32))
}

/// Whether a network, `address/bits`, holds an address of its own family.
fn in_network(network: &str, address: IpAddr) -> bool {
    let (base, bits) = network.split_once('/').expect("address/bits");
    let bits: u32 = bits.parse().expect("bits");
    match (base.parse().expect("an address"), address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (u32::from(base) ^ u32::from(address))
                .checked_shr(32 - bits)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            (u128::from(base) ^ u128::from(address))
                .checked_shr(128 - bits)
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

fn in_any(networks: &[&str], address: IpAddr) -> bool {
    networks.iter().any(|network| {
        in_network(network, plain(address))
            || inside(address).is_some_and(|v4| in_network(network, IpAddr::V4(v4)))
    })
}

/// No policy opens these: metadata, "this network", multicast, broadcast, unspecified.
const CLOSED: [&str; 9] = [
    "169.254.169.254/32",
    "100.100.100.200/32",
    "fd00:ec2::254/128",
    "0.0.0.0/8",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "ff00::/8",
    // Inside a worker these stand for names.
    "198.18.0.0/15",
];

/// Special-purpose: a rule must name a network that holds them. What is left of IPv6 outside 2000::/3 is reserved.
const SPECIAL: [&str; 8] = [
    "10.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "198.18.0.0/15",
    "203.0.113.0/24",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
];

/// Whether a rule lets an address of a name, or one that was dialled, be reached at all.
fn may_be_dialled(rule: &Rule, address: IpAddr) -> bool {
    let address = plain(address);
    let seen = inside(address).map_or(address, IpAddr::V4);
    let closed = |a| CLOSED[..8].iter().any(|network| in_network(network, a));
    if closed(address) || closed(seen) {
        return false;
    }
    let ordinary_v6 = |a: IpAddr| a.is_ipv4() || in_network("2000::/3", a);
    let special = SPECIAL.iter().any(|network| in_network(network, seen)) || !ordinary_v6(seen);
    !special || in_any(&rule.networks, address)
}

/// `*` is one label, and everything else is itself.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern
        .strip_suffix('.')
        .unwrap_or(pattern)
        .to_ascii_lowercase();
    let (pattern, name): (Vec<&str>, Vec<&str>) =
        (pattern.split('.').collect(), name.split('.').collect());
    let same = |(p, n): (&&str, &&str)| *p == "*" || p == n;
    pattern.len() == name.len() && pattern.iter().zip(&name).all(same)
}

/// What stands where the rule names its host, once the connection is known.
fn host(rule: &Rule, config: &str) -> Option<String> {
    match &rule.host {
        Host::Written(host) => Some(host.clone()),
        Host::Any => None,
        Host::FromConfig(within) => {
            let inside = within.iter().any(|fence| match meaning(config) {
                Some(Meaning::Address(address)) => {
                    fence.contains('/') && in_network(fence, address)
                }
                Some(Meaning::Name(name)) => matches(fence, &name),
                None => false,
            });
            inside.then(|| config.to_owned())
        }
    }
}

fn is_for(rule: &Rule, config: &str, target: &Meaning) -> bool {
    let host = host(rule, config);
    match target {
        Meaning::Name(name) => host.is_some_and(|host| {
            let is_pattern = !matches!(meaning(&host), Some(Meaning::Address(_)));
            is_pattern && matches(&host, name)
        }),
        Meaning::Address(address) => {
            let named = match (&rule.host, host) {
                (Host::Any, _) => true,
                (_, Some(host)) => match meaning(&host) {
                    Some(Meaning::Address(own)) => own == *address,
                    Some(Meaning::Name(name)) => name == "localhost" && address.is_loopback(),
                    None => false,
                },
                (_, None) => false,
            };
            named && in_any(&rule.networks, *address)
        }
    }
}

/// The daemon's own sockets, as every test here has them: a loopback one, and a wildcard one on a host with this address.
fn is_own(address: IpAddr, port: u16) -> bool {
    let reaches = |address: IpAddr| match port {
        7070 => address == IpAddr::from([127, 0, 0, 1]),
        9443 => {
            address.is_loopback()
                || address.is_unspecified()
                || address == IpAddr::from([203, 0, 113, 7])
        }
        _ => false,
    };
    reaches(plain(address)) || inside(address).is_some_and(|v4| reaches(IpAddr::V4(v4)))
}

/// Whether the attempt passes, with every address that the name stands for.
pub(crate) fn allows(
    rules: &[Rule],
    config: &str,
    target: &Meaning,
    port: Option<u16>,
    resolved: &[IpAddr],
) -> bool {
    if let Meaning::Address(address) = target
        && in_network("198.18.0.0/15", *address)
    {
        return false;
    }
    if matches!(target, Meaning::Name(name) if name == "metadata.google.internal") {
        return false;
    }
    let own;
    let dialled = match target {
        Meaning::Name(_) => resolved,
        Meaning::Address(address) => {
            own = [*address];
            &own
        }
    };
    rules.iter().any(|rule| {
        is_for(rule, config, target)
            && port.is_none_or(|port| rule.ports.contains(&port))
            && dialled.iter().any(|&address| {
                may_be_dialled(rule, address) && !port.is_some_and(|port| is_own(address, port))
            })
    })
}

/// Whether a rule is for the name, whatever it stands for.
pub(crate) fn allows_name(rules: &[Rule], config: &str, target: &Meaning, port: u16) -> bool {
    rules
        .iter()
        .any(|rule| rule.ports.contains(&port) && is_for(rule, config, target))
        && !matches!(target, Meaning::Name(name) if name == "metadata.google.internal")
}
