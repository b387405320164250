//! Resolves the references of one call: all grants are decided before any provider is asked, every path is read once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caisson_without::{Part, without};
use serde_json::Value;

use crate::config::{Placed, references};
use crate::error::{SecretError, SecretFaults};
use crate::field::pick;
use crate::leases::Leases;
use crate::provider::{Content, Provider, ProviderError, Session};
use crate::redact::MIN_BYTES;
use crate::reference::{Reference, Scheme};
use crate::rule::SecretRule;
use crate::value::SecretValue;

/// How long one read of one provider may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The providers of a daemon. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    providers: BTreeMap<Scheme, Arc<dyn Provider>>,
    timeout: Duration,
}

impl Resolver {
    /// One provider per scheme; of two with the same scheme the later one counts.
    pub fn new(providers: impl IntoIterator<Item = Arc<dyn Provider>>) -> Resolver {
        let providers = providers
            .into_iter()
            .map(|provider| (provider.scheme(), provider))
            .collect();
        Resolver {
            providers,
            timeout: READ_TIMEOUT,
        }
    }

    /// Changes how long one read may take (30 s).
    pub fn with_timeout(mut self, timeout: Duration) -> Resolver {
        self.timeout = timeout;
        self
    }

    /// Resolves every reference of `config` that `rules` grant. `call` names the call in the log.
    ///
    /// # Errors
    /// Every reference that is malformed, not granted or without a provider, before anything is read;
    /// then the first reads that failed, all of them. What was opened until then is closed.
    pub async fn resolve(
        &self,
        call: &str,
        config: &Value,
        rules: &[SecretRule],
    ) -> Result<Resolved, SecretFaults> {
        let placed = references(config)
            .map_err(|faults| SecretFaults(faults.into_iter().map(SecretError::from).collect()))?;
        let faults: Vec<_> = placed
            .iter()
            .filter_map(|placed| self.refusal(placed, rules))
            .collect();
        if !faults.is_empty() {
            return Err(SecretFaults(faults));
        }

        let mut reads: BTreeMap<(Scheme, String), Result<Content, ProviderError>> = BTreeMap::new();
        let mut sessions = Sessions::new();
        let mut values = BTreeMap::new();
        let mut names = BTreeMap::new();
        let mut sealed = BTreeMap::new();
        let mut faults = Vec::new();
        for Placed { pointer, reference } in placed {
            let at = (reference.scheme(), reference.path().to_owned());
            if !reads.contains_key(&at) {
                tracing::debug!(call, %reference, "reading a secret");
                let outcome = self.read(call, &at, &mut sessions).await;
                reads.insert(at.clone(), outcome);
            }
            let value = match &reads[&at] {
                Ok(content) => pick(content, reference.key()),
                Err(error) => Err(error.clone()),
            };
            let revealed = is_revealed(&pointer, &reference, rules);
            let value = value.and_then(|value| {
                if revealed || value.expose().len() >= MIN_BYTES {
                    Ok(value)
                } else {
                    Err(unsealable())
                }
            });
            match value {
                Ok(value) => {
                    if !revealed {
                        let seal = Seal {
                            placeholder: placeholder(),
                            reference: reference.clone(),
                        };
                        sealed.insert(pointer.clone(), seal);
                    }
                    names.entry(reference.clone()).or_insert(pointer);
                    values.insert(reference, value);
                }
                Err(source) => faults.push(SecretError::Provider {
                    pointer,
                    reference,
                    source,
                }),
            }
        }
        let open = sessions
            .into_iter()
            .filter_map(|(scheme, session)| Some((scheme, session.ok()?)));
        let leases = Leases::keep(call, open.collect());
        if faults.is_empty() {
            return Ok(Resolved {
                values,
                names,
                sealed,
                leases,
            });
        }
        leases.close().await;
        Err(SecretFaults(faults))
    }

    /// The pure decision about one reference: nothing where it may be read.
    fn refusal(&self, placed: &Placed, rules: &[SecretRule]) -> Option<SecretError> {
        let Placed { pointer, reference } = placed.clone();
        let here: Vec<_> = rules
            .iter()
            .filter(|rule| rule.pointer() == pointer)
            .collect();
        let granting: Vec<_> = here.iter().filter(|rule| rule.grants(&reference)).collect();
        if without(Part::SecretsFrom) {
            let known = self.providers.contains_key(&reference.scheme());
            return (!known).then_some(SecretError::NoProvider { pointer, reference });
        }
        if granting.is_empty() {
            let granted = here.iter().flat_map(|rule| rule.from.clone()).collect();
            Some(SecretError::NotGranted {
                pointer,
                reference,
                granted,
            })
        } else if !self.providers.contains_key(&reference.scheme()) {
            Some(SecretError::NoProvider { pointer, reference })
        } else {
            None
        }
    }

    async fn read(
        &self,
        call: &str,
        (scheme, path): &(Scheme, String),
        sessions: &mut Sessions,
    ) -> Result<Content, ProviderError> {
        if !sessions.contains_key(scheme) {
            let opened = self.in_time(self.providers[scheme].open(call)).await;
            sessions.insert(*scheme, opened);
        }
        match sessions.get_mut(scheme) {
            Some(Ok(session)) => self.in_time(session.read(path)).await,
            Some(Err(error)) => Err(error.clone()),
            None => unreachable!("it was put there"),
        }
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let late = |_| {
            ProviderError::unavailable(
                "the provider did not answer in time",
                "look at the provider, and try again",
            )
        };
        tokio::time::timeout(self.timeout, asked)
            .await
            .map_err(late)?
    }
}

/// One for each scheme that the call has granted references of; a failure to open counts for all of them.
type Sessions = BTreeMap<Scheme, Result<Box<dyn Session>, ProviderError>>;

/// The secrets of one call, and what keeps them alive. Dropping it wipes the values and ends the leases in the
/// background; [`Resolved::close`] waits for their end.
pub struct Resolved {
    values: BTreeMap<Reference, SecretValue>,
    names: BTreeMap<Reference, String>,
    /// By the pointer of the property.
    sealed: BTreeMap<String, Seal>,
    leases: Leases,
}

/// A secret of which the worker has a placeholder.
struct Seal {
    placeholder: SecretValue,
    reference: Reference,
}

/// A rule that grants the reference lets the worker see it.
fn is_revealed(pointer: &str, reference: &Reference, rules: &[SecretRule]) -> bool {
    let here = rules.iter().filter(|rule| rule.pointer() == pointer);
    here.filter(|rule| rule.grants(reference))
        .any(|rule| rule.reveal)
}

fn unsealable() -> ProviderError {
    ProviderError::malformed(
        format!(
            "the value is shorter than {MIN_BYTES} bytes, so that an answer that says it back could not be told"
        ),
        "use a longer one, or write reveal: true in place of seal",
    )
}

/// What stands for a sealed secret: letters and digits, which no encoder of headers, queries or JSON changes, and 122 bits
/// of chance, so that nobody meets it anywhere else.
fn placeholder() -> SecretValue {
    SecretValue::new(format!("sealed{}", uuid::Uuid::new_v4().simple()))
}

impl Resolved {
    /// What the worker gets for a reference of the config: the value, or what stands for it.
    pub fn shown(&self, placed: &Placed) -> Option<&SecretValue> {
        match self.sealed.get(&placed.pointer) {
            Some(seal) => Some(&seal.placeholder),
            None => self.values.get(&placed.reference),
        }
    }

    /// The value of a reference of the config, whatever the worker gets for it.
    pub fn value(&self, reference: &Reference) -> Option<&SecretValue> {
        self.values.get(reference)
    }

    /// The sealed secrets: the pointer of the property, what the worker has, and the value.
    pub fn sealed(&self) -> impl Iterator<Item = (&str, &SecretValue, &SecretValue)> {
        self.sealed.iter().map(|(pointer, seal)| {
            let value = &self.values[&seal.reference];
            (pointer.as_str(), &seal.placeholder, value)
        })
    }

    /// Every value with the pointer of a property that uses it: what the redactor is made of.
    pub fn values(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        self.names
            .iter()
            .map(|(reference, pointer)| (pointer.as_str(), &self.values[reference]))
    }

    /// What is prolonged while the call lasts.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Wipes the values and goes on prolonging what they need.
    pub fn into_leases(self) -> Leases {
        self.leases
    }

    /// Wipes the values and ends their leases.
    pub async fn close(self) {
        self.into_leases().close().await;
    }
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved")
            .field("references", &self.names)
            .finish()
    }
}
