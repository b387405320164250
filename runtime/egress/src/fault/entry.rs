//! One entry of a script: what it is for, and what it then makes.

use super::answer::{Recipe, empty, redirect_loop};
use super::count::{Counter, When};
use super::token::{FirstSeen, expired};
use super::{Asked, BodyFault, ConnectionFault, DnsFault, RequestFault};
use crate::host::Pattern;
use crate::http::path;
use http::HeaderValue;
use std::time::SystemTime;

#[derive(Debug)]
pub(super) struct Entry {
    /// Line in the file, from 1.
    pub(super) line: usize,
    /// The key of its fault.
    pub(super) key: &'static str,
    pub(super) matches: Match,
    pub(super) makes: Makes,
    /// How often it won.
    pub(super) made: Counter,
}

/// `match` of an entry.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) host: Pattern,
    pub(super) method: Option<String>,
    pub(super) path: Option<path::Pattern>,
    pub(super) when: When,
    pub(super) seen: Counter,
}

/// Where a fault is made, and which.
#[derive(Debug)]
pub(super) enum Makes {
    Lookup(DnsFault),
    Connection(ConnectionFault),
    Request(OfRequest),
}

#[derive(Debug)]
pub(super) enum OfRequest {
    Answer(Recipe),
    Empty,
    RedirectLoop,
    ExpireToken(FirstSeen),
    Body(BodyFault),
    ContentType(HeaderValue),
    Reset,
}

impl Match {
    /// Whether this request is one of those that are counted. `None` is the path of `OPTIONS *`, or one that has no
    /// single reading.
    fn holds(&self, asked: &Asked<'_>, path: Option<&path::Path>) -> bool {
        self.host.matches(asked.host)
            && self
                .method
                .as_deref()
                .is_none_or(|method| method == asked.method)
            && self
                .path
                .as_ref()
                .is_none_or(|pattern| path.is_some_and(|path| pattern.matches(path)))
    }
}

impl Entry {
    /// The fault of a request that is counted here, if it is for this one.
    pub(super) fn of_request(
        &self,
        asked: &Asked<'_>,
        path: Option<&path::Path>,
        now: SystemTime,
    ) -> Option<RequestFault> {
        let Makes::Request(makes) = &self.makes else {
            return None;
        };
        if !self.matches.holds(asked, path) {
            return None;
        }
        let number = self.matches.seen.next();
        if let OfRequest::ExpireToken(first) = makes {
            // Asked of each request, since the first one of all says which value will expire.
            let known = first.is(asked.authorization?);
            return (known && number >= self.matches.when.from()).then(expired);
        }
        if !self.matches.when.holds(number) {
            return None;
        }
        match makes {
            OfRequest::Answer(recipe) => Some(RequestFault::Answer(recipe.make(now))),
            OfRequest::Empty => Some(empty()),
            OfRequest::RedirectLoop => redirect_loop(asked),
            OfRequest::Body(fault) => Some(RequestFault::Body(*fault)),
            OfRequest::ContentType(value) => Some(RequestFault::ContentType(value.clone())),
            OfRequest::Reset => Some(RequestFault::Reset),
            OfRequest::ExpireToken(_) => None,
        }
    }
}
