//! A script in force: what each look-up, connection and request comes to.

use super::entry::{Entry, Makes};
use super::{Asked, ConnectionFault, DnsFault, RequestFault};
use crate::host::Target;
use crate::http::path::Path;
use crate::name::Name;
use std::time::SystemTime;

/// The faults that the gateway makes, and how often each entry has been met. Counts are the script's own: whoever wants
/// them anew reads it anew.
///
/// Every entry numbers all that its `match` fits, also what an earlier entry answers, so that `nth` is the number that a
/// reader of the traffic counts. The first entry whose turn it is wins.
#[derive(Debug)]
pub struct FaultScript {
    pub(super) file: String,
    pub(super) entries: Vec<Entry>,
}

impl FaultScript {
    /// What a look-up comes to; ask once for each question, as each is counted (a client that wants both IPv4 and IPv6
    /// asks two).
    pub fn of_lookup(&self, name: &Name) -> Option<DnsFault> {
        self.first(|entry| match entry.makes {
            Makes::Lookup(fault) => entry.turn_of(name).then_some(fault),
            _ => None,
        })
    }

    /// What a connection to `target` comes to; ask once for each. `match` names hosts, so of all addresses only those of
    /// loopback have one: `localhost`.
    pub(crate) fn of_connection_to(&self, target: &Target) -> Option<ConnectionFault> {
        match target {
            Target::Name(name) => self.of_connection(name),
            Target::Address(address) if address.is_loopback() => {
                self.of_connection(&Name::parse("localhost").ok()?)
            }
            Target::Address(_) => None,
        }
    }

    /// What a connection to `name` comes to; ask once for each.
    pub fn of_connection(&self, name: &Name) -> Option<ConnectionFault> {
        self.first(|entry| match entry.makes {
            Makes::Connection(fault) => entry.turn_of(name).then_some(fault),
            _ => None,
        })
    }

    /// What a request comes to; ask once for each, after it was allowed. A path that servers read in different ways (`//`,
    /// `..`), which only a rule without `paths` lets pass, is one that no `path` matches.
    pub fn of_request(&self, request: &Asked<'_>) -> Option<RequestFault> {
        let path = request.path.split('?').next().unwrap_or_default();
        let path = Path::parse(path).ok();
        let now = SystemTime::now();
        self.first(|entry| entry.of_request(request, path.as_ref(), now))
    }

    /// Asks all entries, because all of them count.
    fn first<T>(&self, ask: impl Fn(&Entry) -> Option<T>) -> Option<T> {
        let mut first = None;
        for entry in &self.entries {
            let made = ask(entry);
            if first.is_none() && made.is_some() {
                entry.made.next();
                first = made;
            }
        }
        first
    }
}

impl Entry {
    fn turn_of(&self, name: &Name) -> bool {
        self.matches.host.matches(name) && self.matches.when.holds(self.matches.seen.next())
    }
}
