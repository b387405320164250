//! What `caisson policy check` and `caisson policy explain` print, as data.

use crate::decision::{Allowed, Attempt, Refusal, Transport, Verdict, decide};
use crate::guard::Guard;
use crate::host::Target;
use crate::name::NameError;
use crate::policy::{Policy, PolicySet, Protocol, RuleAt, SandboxProfile};
use caisson_document::{Fault, Faults};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// What a directory of policies says, in short.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// One entry per file.
    pub policies: Vec<Summary>,
}

/// One policy in short.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The file.
    pub file: String,
    /// The connector, with its range of versions, digest and workspace where they are named.
    pub connector: String,
    /// The sandbox profile.
    pub profile: SandboxProfile,
    /// The egress rules, one line each.
    pub egress: Vec<String>,
    /// The properties that may hold secrets.
    pub secrets: Vec<String>,
    /// Host directories granted.
    pub files: usize,
}

/// Reads every policy of a directory.
///
/// # Errors
/// Every fault of every file.
pub fn check(dir: &Path) -> Result<Checked, Faults> {
    let set = PolicySet::load(dir)?;
    Ok(Checked {
        policies: set.iter().map(|policy| summary(policy)).collect(),
    })
}

fn summary(policy: &Policy) -> Summary {
    let selector = &policy.selector;
    let mut connector = selector.connector.clone();
    let narrowed = [
        selector
            .versions
            .as_ref()
            .map(|versions| format!(" {versions}")),
        selector.digest.as_ref().map(|digest| format!(" {digest}")),
        selector
            .workspace
            .as_ref()
            .map(|workspace| format!(" in {workspace}")),
    ];
    connector.extend(narrowed.into_iter().flatten());
    let egress = policy.egress.iter().map(|rule| {
        let ports = rule.ports.iter().map(|port| match port {
            crate::policy::Port::Fixed(port) => port.to_string(),
            crate::policy::Port::FromConfig(template) => template.to_string(),
        });
        let ports = ports.collect::<Vec<_>>().join(", ");
        let networks = rule
            .networks
            .iter()
            .map(|network| format!(" + {network}"))
            .collect::<String>();
        let http = rule
            .http
            .as_ref()
            .map(|http| http.summary())
            .filter(|http| !http.is_empty());
        let http = http.map(|http| format!(" {http}")).unwrap_or_default();
        format!(
            "{}: {} {} port {ports}{networks}{http}",
            rule.at,
            rule.protocol.as_str(),
            rule.host
        )
    });
    Summary {
        file: policy.file.clone(),
        connector,
        profile: policy.profile,
        egress: egress.collect(),
        secrets: policy
            .secrets
            .iter()
            .map(|rule| rule.name.clone())
            .collect(),
        files: policy.files.len(),
    }
}

/// A question that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// No port.
    #[error("{0:?} names no port; write HOST:PORT, as in api.example.com:443")]
    NoPort(String),
    /// No host.
    #[error("{host:?} is no host: {source}")]
    NoHost {
        /// What was written.
        host: String,
        /// Why it is none.
        source: NameError,
    },
}

/// The answer to "may this connector reach that?"
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The host as it is compared.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the attempt passes.
    pub allowed: bool,
    /// The rule that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleAt>,
    /// How it would be carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The property whose key the gateway shows a client certificate with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// Whether the host's addresses were judged too.
    pub addresses_judged: bool,
    /// Why not, and what would allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Where the config and the policy do not fit.
    pub faults: Vec<Fault>,
}

/// Whether a call under `policy` with `config` would reach `to` (`host:port`), on a daemon with `guard`. Asks the same
/// [`decide`] as the relay. `addresses` are what the host resolves to, where the caller looked.
///
/// # Errors
/// `to` is no host and port.
pub fn explain(
    policy: Option<&Arc<Policy>>,
    config: &Value,
    guard: &Guard,
    to: &str,
    addresses: Option<&[IpAddr]>,
) -> Result<Explanation, QuestionError> {
    let (target, port) = question(to)?;
    let bound = policy.map(|policy| policy.bind(config));
    let attempt = Attempt {
        target: &target,
        port: Some(port),
        transport: Transport::Tcp,
        addresses,
    };
    let verdict = decide(bound.as_ref(), guard, &attempt);
    let client_key = match &verdict {
        Verdict::Allow(allowed) => {
            policy.and_then(|policy| client_key(policy, &target, port, allowed))
        }
        Verdict::Refuse(_) => None,
    };
    let faults = bound.map(|bound| bound.faults).unwrap_or_default();
    let addresses_judged = addresses.is_some() || matches!(target, Target::Address(_));
    let host = target.to_string();
    let (rule, protocol, refusal) = match verdict {
        Verdict::Allow(allowed) => (Some(allowed.rule), Some(allowed.protocol), None),
        Verdict::Refuse(refusal) => (None, None, Some(refusal)),
    };
    Ok(Explanation {
        host,
        port,
        allowed: refusal.is_none(),
        rule,
        protocol,
        client_key,
        addresses_judged,
        refusal,
        faults,
    })
}

/// The property of the client's key that is for a place at which the gateway speaks TLS.
fn client_key(policy: &Policy, target: &Target, port: u16, allowed: &Allowed) -> Option<String> {
    let speaks_tls = matches!(allowed.protocol, Protocol::Https | Protocol::Postgres);
    let name = speaks_tls.then(|| crate::relay::named(target))?;
    let seal = policy.client_key(&name, port)?;
    Some(seal.property.clone())
}

/// Splits `host:port`; an IPv6 address stands in brackets.
///
/// # Errors
/// No port, or no host.
pub fn question(to: &str) -> Result<(Target, u16), QuestionError> {
    let no_port = || QuestionError::NoPort(to.to_owned());
    let (host, port) = to.rsplit_once(':').ok_or_else(no_port)?;
    let plain = port.bytes().all(|b| b.is_ascii_digit());
    let port = port
        .parse()
        .ok()
        .filter(|&port: &u16| port > 0 && plain)
        .ok_or_else(no_port)?;
    let target = Target::parse(host).map_err(|source| QuestionError::NoHost {
        host: host.to_owned(),
        source,
    })?;
    Ok((target, port))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.allowed { "allowed" } else { "refused" };
        write!(f, "{word}: {} port {}", self.host, self.port)?;
        if let (Some(rule), Some(protocol)) = (&self.rule, self.protocol) {
            write!(
                f,
                "\n  by {rule} (egress[{}]), protocol {}",
                rule.index,
                protocol.as_str()
            )?;
            if let Some(property) = &self.client_key {
                write!(
                    f,
                    "\n  the gateway shows a client certificate, with the key of {property}"
                )?;
            }
            if !self.addresses_judged {
                write!(f, "\n  its addresses are judged when it is looked up")?;
            }
        }
        if let Some(refusal) = &self.refusal {
            write!(f, "\n  {}: {}", refusal.reason, refusal.detail)?;
            if let Some(nearest) = &refusal.nearest {
                write!(f, "\n  nearest rule: {nearest} (egress[{}])", nearest.index)?;
            }
            match &refusal.rule_to_add {
                Some(rule) => write!(f, "\n  this would allow it:\n{}", indented(rule))?,
                None => write!(f, "\n  no policy can allow it")?,
            }
        }
        // Told with an allowed attempt too: a call with such a config does not begin.
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

fn indented(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
