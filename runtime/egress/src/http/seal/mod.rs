//! Sealed secrets: the worker sends a placeholder, and the upstream gets the value.
//!
//! The value is put in only at the place that the policy names, in requests to whom the policy names; nothing is searched
//! for to be replaced. A placeholder anywhere else, in any of the encodings that the redactor knows, ends the request:
//! `head` has the request line and the fields, `body` what comes behind, `scrub` takes a value out of the answer to it.

mod body;
mod codings;
mod head;
mod scrub;
mod used;

use super::body::AnyBody;
use super::{ask, judge};
use crate::decision::Refusal;
use crate::lookout::Lookout;
use crate::name::Name;
use crate::policy::{Bound, Place, Seal};
use crate::reason::Reason;
use crate::sealed::Sealed;
use crate::shared::Shared;
use caisson_secrets::{Held, ProviderError, Redactor, SecretValue};
use http::header::AUTHORIZATION;
use http::{Request, request};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
pub(super) use used::Used;
use used::Values;

/// The sealed secrets of one call.
#[derive(Debug)]
pub(crate) struct Sealing {
    sealed: Arc<[Sealed]>,
    /// Knows the placeholders in every encoding.
    placeholders: Redactor,
    /// Knows the values in every encoding.
    values: Mutex<Values>,
}

/// A value for one place of one request.
#[derive(Debug)]
struct Put<'a> {
    sealed: &'a Sealed,
    place: Place,
    value: SecretValue,
    used: AtomicBool,
}

impl Put<'_> {
    /// The value, which is put in now.
    fn value(&self) -> &str {
        self.used.store(true, Ordering::Relaxed);
        self.value.expose()
    }
}

/// Why a request is not sent.
#[derive(Debug)]
pub(super) enum Unsealed {
    /// A placeholder stands where none may.
    Misplaced(Refusal),
    /// There is no access token.
    Unavailable(ProviderError),
}

/// A placeholder where no value is put in, or a body in which none can be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Misplaced(String);

impl Sealing {
    /// `None`: the call has no sealed secrets.
    pub(crate) fn of(sealed: &Arc<[Sealed]>, call: &Arc<Redactor>) -> Option<Self> {
        let placeholders = sealed
            .iter()
            .map(|sealed| (sealed.property.as_str(), &sealed.placeholder));
        (!sealed.is_empty()).then(|| Self {
            sealed: Arc::clone(sealed),
            placeholders: Redactor::new(placeholders),
            values: Mutex::new(Values::of(sealed, call)),
        })
    }

    /// What looks through bytes into which nothing is put.
    pub(crate) fn lookout(&self) -> Lookout {
        Lookout::for_all_of(&self.placeholders)
    }

    pub(super) fn placeholders(&self) -> &Redactor {
        &self.placeholders
    }

    /// Bytes of the shortest placeholder; what encoders make of it is no shorter.
    pub(super) fn shortest(&self) -> usize {
        let lengths = self.sealed.iter();
        lengths
            .map(|sealed| sealed.placeholder.expose().len())
            .min()
            .unwrap_or_default()
    }

    /// Whether a name that is looked up has a placeholder in it.
    pub(crate) fn is_in(&self, name: &Name) -> bool {
        let name = name.to_string();
        matches!(self.placeholders.redact_name(&name), Cow::Owned(_))
    }

    /// Whether what is put in at a place may be an access token.
    pub(super) fn has_tokens(&self, bound: &Bound, place: &judge::Place) -> bool {
        self.seals(bound, place)
            .any(|(sealed, _)| matches!(sealed.value, Held::Token(_)))
    }

    /// What knows all that the call's redactor does, and every token that was put in so far.
    pub(super) fn all(&self) -> Arc<Redactor> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&values.all)
    }

    /// What knows every value that was put in so far.
    fn values(&self) -> Redactor {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.redactor.clone()
    }

    /// The seals of a place; `None` where no value of the call is for it.
    pub(super) fn of_place(&self, bound: &Bound, place: &judge::Place) -> Option<Vec<Seal>> {
        let seals: Vec<Seal> = self
            .seals(bound, place)
            .map(|(_, seal)| seal.clone())
            .collect();
        (!seals.is_empty()).then_some(seals)
    }

    fn seals<'a>(
        &'a self,
        bound: &'a Bound,
        place: &'a judge::Place,
    ) -> impl Iterator<Item = (&'a Sealed, &'a Seal)> {
        let seals = bound.policy.seals.iter();
        seals
            // A client's key is put into no request.
            .filter(|seal| seal.place != Some(Place::ClientKey))
            .filter(|seal| seal.is_for(&place.name, place.port))
            .flat_map(|seal| {
                let sealed = self.sealed.iter();
                sealed
                    .filter(|sealed| sealed.property == seal.property)
                    .map(move |sealed| (sealed, seal))
            })
    }

    /// What may be put into a request, and where.
    async fn puts<'a>(
        &'a self,
        bound: &'a Bound,
        place: &'a judge::Place,
        parts: &request::Parts,
    ) -> Result<Vec<Put<'a>>, Unsealed> {
        let admitted = self.seals(bound, place).filter(|(_, seal)| {
            ask::names_only(
                parts,
                |method| seal.admits_method(method),
                |path| seal.admits_path(path),
            )
        });
        // A request without a placeholder needs no token.
        let admitted: Vec<_> = admitted
            .filter(|(sealed, seal)| {
                !matches!(sealed.value, Held::Token(_)) || self.may_hold(parts, seal)
            })
            .collect();
        let mut puts = Vec::with_capacity(admitted.len());
        for (sealed, seal) in admitted {
            let value = sealed.value.now().await.map_err(Unsealed::Unavailable)?;
            if matches!(sealed.value, Held::Token(_)) {
                let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
                values.learn(&self.sealed, &sealed.property, &value);
            }
            puts.push(Put {
                sealed,
                place: seal.place.clone().unwrap_or(Place::Header(AUTHORIZATION)),
                value,
                used: AtomicBool::new(false),
            });
        }
        Ok(puts)
    }

    /// Whether a placeholder may stand where a seal has its value put in.
    fn may_hold(&self, parts: &request::Parts, seal: &Seal) -> bool {
        let is_of_body = matches!(seal.place, Some(Place::Form(_) | Place::Json(_)));
        let mut fields = parts.headers.values();
        let query = parts.uri.query().unwrap_or_default();
        is_of_body
            || self.placeholders.finds(query.as_bytes())
            || fields.any(|value| self.placeholders.finds(value.as_bytes()))
    }

    /// What to add to the policy where the connector puts the value elsewhere than in Authorization. It is the operator who
    /// says so, and not the connector's manifest: a field that the upstream stores is one that can be read back.
    fn to_add(&self, bound: &Bound, place: &judge::Place) -> Option<String> {
        self.seals(bound, place)
            .filter(|(_, seal)| seal.place.is_none())
            .find_map(|(sealed, _)| {
                let declared = sealed.declared.iter().find(|place| {
                    !matches!(place, Place::Basic) && **place != Place::Header(AUTHORIZATION)
                })?;
                let host = &place.name;
                Some(format!(
                    "  seal: {{ hosts: [{host}], place: \"{declared}\" }}\n"
                ))
            })
    }

    /// Puts in what the policy says.
    ///
    /// # Errors
    /// A placeholder stands elsewhere, or there is no access token.
    pub(super) async fn put_in(
        &self,
        bound: &Bound,
        place: &judge::Place,
        shared: &Arc<Shared>,
        request: Request<AnyBody>,
        misplaced: impl FnOnce(Refusal) + Send + Unpin + 'static,
    ) -> Result<(Request<AnyBody>, Used), Unsealed> {
        let (mut parts, body) = request.into_parts();
        let puts = self.puts(bound, place, &parts).await?;
        let to_add = self.to_add(bound, place);
        let refuse = |Misplaced(what): Misplaced| {
            Unsealed::Misplaced(Refusal {
                rule_to_add: to_add.clone(),
                ..refusal(place, &what)
            })
        };
        head::put_in(&mut parts, &puts, &self.placeholders).map_err(&refuse)?;
        let found = {
            let place = place.clone();
            move |what: &str| misplaced(refusal(&place, what))
        };
        let body = body::put_in(&mut parts, body, &puts, &self.placeholders, shared, found)
            .await
            .map_err(refuse)?;
        let used = Used::of(&puts, self.of_place(bound, place));
        Ok((Request::from_parts(parts, body), used))
    }
}

fn refusal(place: &judge::Place, what: &str) -> Refusal {
    Refusal::flat(
        Reason::SecretMisplaced,
        format!(
            "a request to {} has a sealed secret's placeholder {what}, where the policy's seal does not have the value put in",
            place.authority()
        ),
    )
}
