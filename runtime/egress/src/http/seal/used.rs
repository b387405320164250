//! What was put into a request, and all that was put into the requests of a call.

use super::Put;
use crate::policy::Seal;
use crate::sealed::Sealed;
use caisson_secrets::{AccessToken, Held, Redactor, SecretValue};
use std::sync::atomic::Ordering;

/// Access tokens of one property that answers are searched for: the one in use and those before it, which an upstream may
/// say back a little later.
const REMEMBERED: usize = 4;

/// What was put into one request.
#[derive(Debug, Default)]
pub(in crate::http) struct Used {
    /// The seals of the place, if it has any.
    pub(in crate::http) seals: Option<Vec<Seal>>,
    tokens: Vec<(AccessToken, SecretValue)>,
}

impl Used {
    pub(super) fn of(puts: &[Put<'_>], seals: Option<Vec<Seal>>) -> Self {
        let used = puts.iter().filter(|put| put.used.load(Ordering::Relaxed));
        let tokens = used.filter_map(|put| match &put.sealed.value {
            Held::Token(token) => Some((token.clone(), put.value.clone())),
            Held::Value(_) => None,
        });
        Self {
            seals,
            tokens: tokens.collect(),
        }
    }

    /// Has the tokens of the request replaced, as the upstream did not take them. Whether there are others now.
    pub(in crate::http) async fn renew(&self) -> bool {
        let mut any = false;
        for (token, rejected) in &self.tokens {
            match token.renewed(rejected).await {
                Ok(another) => any |= another.is_some(),
                Err(error) => {
                    tracing::warn!(%error, "a token that an upstream did not take could not be replaced");
                }
            }
        }
        any
    }
}

/// The values of a call.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) redactor: Redactor,
    /// By property, in the order in which they were put in.
    tokens: Vec<(String, SecretValue)>,
}

impl Values {
    pub(super) fn of(sealed: &[Sealed]) -> Self {
        Self {
            redactor: Self::redactor(sealed, &[]),
            tokens: Vec::new(),
        }
    }

    /// Adds an access token.
    pub(super) fn learn(&mut self, sealed: &[Sealed], property: &str, token: &SecretValue) {
        let mut known = self.tokens.iter();
        if known.any(|(_, known)| known.expose() == token.expose()) {
            return;
        }
        self.tokens.push((property.to_owned(), token.clone()));
        let of_it = |(name, _): &&(String, SecretValue)| name == property;
        if self.tokens.iter().filter(of_it).count() > REMEMBERED {
            let first = self.tokens.iter().position(|(name, _)| name == property);
            first.map(|first| self.tokens.remove(first));
        }
        self.redactor = Self::redactor(sealed, &self.tokens);
    }

    fn redactor(sealed: &[Sealed], tokens: &[(String, SecretValue)]) -> Redactor {
        let fixed = sealed.iter().filter_map(|sealed| match &sealed.value {
            Held::Value(value) => Some((sealed.property.as_str(), value)),
            Held::Token(_) => None,
        });
        let tokens = tokens.iter().map(|(name, token)| (name.as_str(), token));
        Redactor::new(fixed.chain(tokens))
    }
}
