//! A policy out of what was seen: the least that allows it again, with a comment for each rule that says what made it.
//!
//! `observed` reads audit logs and cassettes, `paths` finds what is the same in paths, `text` writes the policy. Nothing
//! that was refused is allowed, and nothing that cannot be named: it stands there as a comment, for somebody to decide.

mod compare;
mod observed;
mod paths;
mod quote;
mod text;

#[cfg(test)]
mod tests;

pub use compare::{Declared, Row, compare};
pub use observed::{Observed, ObservedError, What, Where, observe};

use crate::address::{AddressClass, classify, network_of};
use crate::http::path::Path;
use crate::network::Network;
use crate::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why no policy is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// Nothing to learn from.
    #[error("nothing was seen{of}; give an audit log or a cassette of a call that went well", of = .0.as_ref().map(|name| format!(" of connector {name}")).unwrap_or_default())]
    Nothing(Option<String>),
    /// A policy is for one connector.
    #[error("the files are of several connectors ({}); name one with --connector", .0.join(", "))]
    Several(Vec<String>),
    /// Cassettes do not say whose they are.
    #[error("a cassette does not say whose it is; name the connector with --connector")]
    Nameless,
    /// A connector of the same name may be another one elsewhere.
    #[error("the files tell of connector {connector} in several workspaces ({}); name one with --workspace", .workspaces.join(", "))]
    Workspaces {
        /// The connector.
        connector: String,
        /// Where it was seen.
        workspaces: Vec<String>,
    },
    /// No policy could be read that allows all of it: too many places, or a name that no connector has.
    #[error(
        "what was seen makes no policy: {0}; give fewer files, or name the connector as its connector.yaml has it with --connector"
    )]
    Unreadable(String),
}

/// By path, or pattern of paths, the methods that were asked of it.
type Patterns = BTreeMap<String, BTreeSet<String>>;

/// What one place was asked.
#[derive(Debug, Default)]
struct Asked {
    /// Patterns of paths, with the methods that were asked of them.
    patterns: Patterns,
    /// The same of those that became WebSockets.
    upgrades: Patterns,
    /// Requests, by method, whose path is not known or read in different ways by servers.
    odd: BTreeMap<String, u64>,
    networks: BTreeSet<Network>,
    count: u64,
    calls: BTreeSet<String>,
    first: String,
    last: String,
    /// Requests to this host, whatever the port, in the second in which most began; none where that is not known of all.
    peak: Option<u64>,
}

/// Writes the policy of one connector, in one workspace where several are told of.
///
/// # Errors
/// Nothing was seen of it, it is not said which connector or workspace is meant, or no policy could say it.
pub fn learn(
    seen: &[Observed],
    connector: Option<&str>,
    workspace: Option<&str>,
) -> Result<String, LearnError> {
    let (untold, seen): (Vec<&Observed>, Vec<&Observed>) = seen
        .iter()
        .partition(|one| matches!(one.what, What::Untold { .. }));
    let names: BTreeSet<&str> = seen
        .iter()
        .filter_map(|one| one.connector.as_deref())
        .collect();
    let named = match (connector, names.len()) {
        (Some(named), _) => named.to_owned(),
        (None, 0) if seen.is_empty() => return Err(LearnError::Nothing(None)),
        (None, 0) => return Err(LearnError::Nameless),
        (None, 1) => names
            .first()
            .map(|name| (*name).to_owned())
            .unwrap_or_default(),
        (None, _) => {
            return Err(LearnError::Several(
                names.into_iter().map(str::to_owned).collect(),
            ));
        }
    };
    let is_own = |one: &&Observed| {
        one.connector.as_deref().is_none_or(|name| name == named)
            && workspace.is_none_or(|name| one.is_of_workspace(name))
    };
    let own: Vec<&Observed> = seen.into_iter().filter(is_own).collect();
    if own.is_empty() {
        return Err(LearnError::Nothing(Some(named)));
    }
    let workspaces: BTreeSet<&str> = own
        .iter()
        .filter_map(|one| one.workspace.as_deref())
        .collect();
    if workspaces.len() > 1 {
        return Err(LearnError::Workspaces {
            connector: named,
            workspaces: workspaces.into_iter().map(str::to_owned).collect(),
        });
    }
    let of = text::Of {
        connector: &named,
        workspace: workspaces.first().copied(),
        untold: times(untold.into_iter().filter(is_own)),
    };
    let mut places = places(&own);
    if of.untold > 0 {
        places.values_mut().for_each(|asked| asked.peak = None);
    }
    let text = text::policy(of, &places, &refused(&own));
    match Policy::parse("the policy", &text) {
        Ok(_) => Ok(text),
        Err(faults) => Err(LearnError::Unreadable(faults.to_string())),
    }
}

impl Observed {
    /// Whether it was in this workspace, as far as the file says.
    #[must_use]
    pub fn is_of_workspace(&self, name: &str) -> bool {
        self.workspace.as_deref().is_none_or(|own| own == name)
    }
}

fn places<'a>(seen: &[&'a Observed]) -> BTreeMap<&'a Where, Asked> {
    let mut places: BTreeMap<&Where, Asked> = BTreeMap::new();
    let mut paths: BTreeMap<&Where, [Patterns; 2]> = BTreeMap::new();
    // A budget is of a host, and not of a port.
    let mut peaks: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    let mut seconds: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    for one in seen {
        let request = match &one.what {
            What::Refused { .. } | What::Untold { .. } => continue,
            What::Connection => None,
            What::Request {
                method,
                path,
                upgraded,
            } => Some((method, path, upgraded)),
        };
        let asked = places.entry(&one.to).or_default();
        if let Some(address) = one.address
            && matches!(classify(address), AddressClass::Special(_))
        {
            asked.networks.insert(network_of(address));
        }
        // A connection that carries requests is told by them.
        if one.to.protocol == "https" && request.is_none() {
            continue;
        }
        asked.count += 1;
        asked.calls.extend(one.call.clone());
        if asked.first.is_empty() || one.time < asked.first {
            asked.first.clone_from(&one.time);
        }
        asked.last = one.time.clone().max(std::mem::take(&mut asked.last));
        let peak = peaks.entry(&one.to.host).or_insert(Some(0));
        *peak = one.turn.and_then(|second| {
            let in_second = seconds.entry((&one.to.host, second)).or_default();
            *in_second += 1;
            peak.map(|peak| peak.max(*in_second))
        });
        if let Some((method, path, &upgraded)) = request {
            match path.as_deref().map(Path::parse) {
                Some(Ok(path)) if text::is_method(method) => {
                    let paths = paths.entry(&one.to).or_default();
                    let methods = paths[usize::from(upgraded)].entry(path.as_str().to_owned());
                    methods.or_default().insert(method.clone());
                }
                _ => *asked.odd.entry(method.clone()).or_default() += 1,
            }
        }
    }
    for (place, [paths, upgrades]) in paths {
        if let Some(asked) = places.get_mut(place) {
            asked.patterns = paths::patterns(&paths);
            asked.upgrades = paths::patterns(&upgrades);
        }
    }
    for (place, asked) in &mut places {
        asked.peak = peaks.get(&*place.host).copied().flatten();
    }
    places.retain(|_, asked| asked.count > 0);
    places
}

/// How much the files count and do not tell.
fn times<'a>(untold: impl Iterator<Item = &'a Observed>) -> u64 {
    let times = untold.map(|one| match one.what {
        What::Untold { times } => times,
        _ => 0,
    });
    times.fold(0, u64::saturating_add)
}

/// What was refused, each once, with how often.
fn refused<'a>(seen: &[&'a Observed]) -> BTreeMap<(String, &'a str), (u64, Option<&'a str>)> {
    let mut refused = BTreeMap::new();
    for one in seen {
        if let What::Refused {
            reason,
            rule_to_add,
            times,
        } = &one.what
        {
            let entry: &mut (u64, Option<&str>) = refused
                .entry((one.to.to_string(), reason.as_str()))
                .or_default();
            entry.0 += times;
            entry.1 = entry.1.or(rule_to_add.as_deref());
        }
    }
    refused
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}
