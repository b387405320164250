//! What a rule says about hosts: exact names, `*.example.com`, addresses, and templates fenced by `within`.
//!
//! One matcher serves `host`, `within`, check, explain and enforcement.

use crate::name::{Name, NameError};
use crate::network::{Network, NetworkError};
use crate::template::{Missing, Template};
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;

/// A name, or all names that are exactly one label longer than a suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This name.
    Exact(Name),
    /// `*.suffix`: one label in front of the suffix, never two, never none.
    OneLabel(Name),
}

/// Why a text is no pattern; each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A part of it is no host name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `*` elsewhere than as the whole first label.
    #[error(
        "`*` stands for exactly one label and only in front, as in *.example.com; write one pattern for each depth"
    )]
    Star,
}

impl Pattern {
    /// Parses `name` or `*.name`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match text.strip_prefix("*.") {
            Some(suffix) if !suffix.contains('*') => Ok(Self::OneLabel(Name::parse(suffix)?)),
            None if !text.contains('*') => Ok(Self::Exact(Name::parse(text)?)),
            _ => Err(PatternError::Star),
        }
    }

    /// Whether the pattern stands for `name`.
    #[must_use]
    pub fn matches(&self, name: &Name) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::OneLabel(suffix) => name.parent() == Some(suffix.as_str()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::OneLabel(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// One entry of `within`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// Names.
    Names(Pattern),
    /// Addresses.
    Addresses(Network),
}

/// Why a text is no entry of `within`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// Neither name nor pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Written like a network, but none.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl Fence {
    /// Parses a pattern, an address or a network.
    pub fn parse(text: &str) -> Result<Self, FenceError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Addresses(Network::single(address.to_canonical())));
        }
        if text.contains('/') {
            return Ok(Self::Addresses(text.parse()?));
        }
        Ok(Self::Names(Pattern::parse(text)?))
    }

    fn holds(&self, target: &Target) -> bool {
        match (self, target) {
            (Self::Names(pattern), Target::Name(name)) => pattern.matches(name),
            (Self::Addresses(network), Target::Address(address)) => network.contains(*address),
            _ => false,
        }
    }
}

/// What a worker wants to reach: a canonical name, or an address that stands for no name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A host name.
    Name(Name),
    /// A literal address, IPv4-mapped forms already turned into IPv4.
    Address(IpAddr),
}

impl Target {
    /// Parses what a person or a config writes: an address (an IPv6 one may stand in brackets) or a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let inner = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(v6) = inner.and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok()) {
            return Ok(Self::Address(IpAddr::V6(v6).to_canonical()));
        }
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self::Address(address.to_canonical())),
            Err(_) => Name::parse(text).map(Self::Name),
        }
    }

    /// The name, where it is one.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// A rule's `host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Written in the policy.
    Names(Pattern),
    /// An address written in the policy; the rule's `networks` hold it.
    Address(IpAddr),
    /// From the connection, inside what `within` names.
    FromConfig {
        /// The text with its `${config.…}`.
        template: Template,
        /// What the filled text must lie in.
        within: Vec<Fence>,
    },
    /// Any address inside the rule's `networks`; no name.
    AnyInNetworks,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(pattern) => pattern.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::FromConfig { template, .. } => template.fmt(f),
            Self::AnyInNetworks => f.write_str("(any address in networks)"),
        }
    }
}

/// A rule's host once the connection is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundHost {
    /// These names.
    Names(Pattern),
    /// This address.
    Address(IpAddr),
    /// Any address inside the rule's networks.
    AnyInNetworks,
    /// Nothing: the config does not set the property.
    Nothing,
    /// Nothing: what the config says is not inside `within`, or no host. The target, where the text was one.
    Outside(Option<Target>),
}

/// A config value that a rule cannot take; the rule then matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostBindError {
    /// An object, a list, a boolean or a secret reference.
    #[error("{0} is no text; put the host name itself into the connection's config")]
    NotText(String),
    /// Not a host.
    #[error("{value:?} is no host name: {source}")]
    NoHost {
        /// What the template became.
        value: String,
        /// Why it is none.
        source: NameError,
    },
    /// Not inside `within`.
    #[error(
        "{value} is not inside `within`; the operator may add it to `within`, or the connection names another host"
    )]
    Outside {
        /// What the template became.
        value: Target,
    },
}

impl Host {
    /// Puts the connection's config in place.
    pub fn bind(&self, config: &Value) -> (BoundHost, Option<HostBindError>) {
        let (template, within) = match self {
            Self::Names(pattern) => return (BoundHost::Names(pattern.clone()), None),
            Self::Address(address) => return (BoundHost::Address(*address), None),
            Self::AnyInNetworks => return (BoundHost::AnyInNetworks, None),
            Self::FromConfig { template, within } => (template, within),
        };
        let value = match template.fill(config) {
            Ok(value) => value,
            Err(Missing::Absent(_)) => return (BoundHost::Nothing, None),
            Err(Missing::NotText(path)) => {
                return (BoundHost::Outside(None), Some(HostBindError::NotText(path)));
            }
        };
        match Target::parse(&value) {
            Err(source) => (
                BoundHost::Outside(None),
                Some(HostBindError::NoHost { value, source }),
            ),
            Ok(target) if !within.iter().any(|fence| fence.holds(&target)) => (
                BoundHost::Outside(Some(target.clone())),
                Some(HostBindError::Outside { value: target }),
            ),
            Ok(Target::Name(name)) => (BoundHost::Names(Pattern::Exact(name)), None),
            Ok(Target::Address(address)) => (BoundHost::Address(address), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_star_is_exactly_one_label() {
        let pattern = Pattern::parse("*.Example.com.").unwrap();
        assert!(pattern.matches(&name("a.example.com")));
        for other in [
            "example.com",
            "a.b.example.com",
            "evilexample.com",
            "example.com.evil.com",
            "a.example.com.evil",
        ] {
            assert!(!pattern.matches(&name(other)), "{other}");
        }
        for text in ["*", "a.*.com", "**.a.com", "*.*.a.com", "a*.com", "*a.com"] {
            assert_eq!(Pattern::parse(text), Err(PatternError::Star), "{text}");
        }
    }

    #[test]
    fn a_host_from_the_config_stays_inside_its_fence() {
        let host = Host::FromConfig {
            template: Template::parse("${config.shop}.example.com")
                .unwrap()
                .unwrap(),
            within: vec![Fence::parse("*.example.com").unwrap()],
        };
        let bind = |shop: &str| host.bind(&json!({ "shop": shop })).0;
        assert_eq!(
            bind("acme"),
            BoundHost::Names(Pattern::parse("acme.example.com").unwrap())
        );
        for evil in [
            "a.b",
            "evil.com/",
            "evil.com#",
            "x@evil.com:443/?",
            "*",
            "",
            "a\0",
            "evil.com%",
        ] {
            assert!(matches!(bind(evil), BoundHost::Outside(_)), "{evil:?}");
        }
    }

    #[test]
    fn an_address_from_the_config_needs_a_fence_of_addresses() {
        let template = || Template::parse("${config.host}").unwrap().unwrap();
        let fence = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| Fence::parse(text).unwrap())
                .collect::<Vec<_>>()
        };
        let config = json!({"host": "10.20.0.7"});
        let names = Host::FromConfig {
            template: template(),
            within: fence(&["*.20.example"]),
        };
        assert!(matches!(names.bind(&config).0, BoundHost::Outside(_)));
        let addresses = Host::FromConfig {
            template: template(),
            within: fence(&["10.20.0.0/16"]),
        };
        assert_eq!(
            addresses.bind(&config).0,
            BoundHost::Address("10.20.0.7".parse().unwrap())
        );
    }
}
