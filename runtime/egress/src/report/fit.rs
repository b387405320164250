//! Text that a worker had a hand in, made fit to be told: no secret in it, and no longer than what it says is worth.
//!
//! Everything is cut after redaction: half a secret would not be known for one.

use super::Reporter;
use crate::decision::{Refusal, Requested};
use crate::event::Endpoint;

/// Longest name, characters; longer ones are no host names.
const NAME: usize = 300;
/// Longest method; policies take no longer ones.
const METHOD: usize = 32;
/// Longest path, and longest line of a rule that is offered.
pub(crate) const PATH: usize = 1_000;
/// Longest detail: a path, a method, a name and words.
const DETAIL: usize = 1_500;
/// What ends a text that was cut.
const CUT: char = '…';

impl Reporter {
    pub(super) fn redact(&self, text: &str) -> String {
        self.redactor.redact_name(text).into_owned()
    }

    pub(super) fn endpoint(&self, to: Endpoint) -> Endpoint {
        let host = to.host.map(|host| cut(self.redact(&host), NAME).0);
        Endpoint { host, ..to }
    }

    pub(super) fn detail(&self, text: &str) -> String {
        cut(self.redact(text), DETAIL).0
    }

    pub(super) fn method(&self, text: &str) -> String {
        cut(self.redact(text), METHOD).0
    }

    /// The path of a target, and whether it was cut.
    pub(super) fn path(&self, target: &str) -> (String, bool) {
        let mut told = self.redact(target);
        told.truncate(told.find('?').unwrap_or(told.len()));
        cut(told, PATH)
    }

    /// Whether the path of a target ends in a secret that its query goes on with: in other words it would be told by half.
    fn splits_a_secret(&self, target: &str) -> bool {
        target
            .split_once('?')
            .is_some_and(|(path, _)| self.path(path) != self.path(target))
    }

    /// A rule is told whole or not at all: one that was cut would allow something else.
    pub(super) fn refusal(&self, refusal: Refusal) -> Refusal {
        let is_short = |rule: &String| rule.lines().all(|line| line.chars().count() <= PATH);
        let refusal = match &refusal.request {
            Some(request) if self.splits_a_secret(&request.path) => Refusal {
                detail: "a secret is in the request's target, which is not told".to_owned(),
                rule_to_add: None,
                ..refusal
            },
            _ => refusal,
        };
        Refusal {
            detail: self.detail(&refusal.detail),
            rule_to_add: refusal
                .rule_to_add
                .map(|rule| self.redact(&rule))
                .filter(is_short),
            request: refusal.request.map(|request| {
                let (path, path_cut) = self.path(&request.path);
                let method = self.method(&request.method);
                let request = Requested {
                    method,
                    path,
                    path_cut,
                };
                request.into()
            }),
            ..refusal
        }
    }
}

/// The text in at most so many characters, and whether it was longer.
fn cut(text: String, most: usize) -> (String, bool) {
    // Bytes are never fewer than characters.
    if text.len() <= most || text.chars().count() <= most {
        return (text, false);
    }
    let kept = text.chars().take(most - 1).chain([CUT]);
    (kept.collect(), true)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_cut_says_so_and_is_no_longer_than_it_may_be() {
        let cut = |text: &str| super::cut(text.to_owned(), 4);
        assert_eq!(cut("abcd"), ("abcd".into(), false));
        assert_eq!(cut("äöüß"), ("äöüß".into(), false));
        assert_eq!(cut("abcde"), ("abc…".into(), true));
    }
}
