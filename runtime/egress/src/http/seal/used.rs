//! What was put into a request, and all that was put into the requests of a call.

use super::Put;
use crate::policy::Seal;
use crate::sealed::Sealed;
use caisson_secrets::{AccessToken, Held, ProviderError, Redactor, SecretValue};
use std::sync::Arc;
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
    ///
    /// # Errors
    /// There are none to be had.
    pub(in crate::http) async fn renew(&self) -> Result<bool, ProviderError> {
        let mut any = false;
        for (token, rejected) in &self.tokens {
            any |= token.renewed(rejected).await?.is_some();
        }
        Ok(any)
    }

    /// The upstream took the tokens of the request.
    pub(in crate::http) fn taken(&self) {
        for (token, value) in &self.tokens {
            token.taken(value);
        }
    }
}

/// The values of a call.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) redactor: Redactor,
    /// And everything else that the call's own knows: for what is kept.
    pub(super) all: Arc<Redactor>,
    call: Arc<Redactor>,
    /// By property, in the order in which they were put in.
    tokens: Vec<(String, SecretValue)>,
}

impl Values {
    /// `call` is the redactor that the call began with.
    pub(super) fn of(sealed: &[Sealed], call: &Arc<Redactor>) -> Self {
        Self {
            redactor: Self::redactor(sealed, &[]),
            all: Arc::clone(call),
            call: Arc::clone(call),
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
        let tokens = self.tokens.iter();
        let tokens = tokens.map(|(name, token)| (name.as_str(), token));
        self.all = Arc::new(self.call.and(tokens));
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
