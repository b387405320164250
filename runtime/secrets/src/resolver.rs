//! Resolves the references of one call: all grants are decided before any provider is asked, every path is read once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use caisson_without::{Part, without};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::{Placed, fill, references};
use crate::error::{SecretError, SecretFaults};
use crate::field::pick;
use crate::provider::{Content, Provider, ProviderError, Terms};
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
    /// Every reference that is malformed, not granted, not revealed or without a provider, before anything is read;
    /// then the first reads that failed, all of them. What was leased until then is revoked.
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
        let mut resolved = Resolved {
            config: config.clone(),
            values: BTreeMap::new(),
            names: BTreeMap::new(),
            leases: Vec::new(),
        };
        let mut faults = Vec::new();
        for Placed { pointer, reference } in placed {
            let at = (reference.scheme(), reference.path().to_owned());
            if !reads.contains_key(&at) {
                tracing::debug!(call, %reference, "reading a secret");
                let outcome = self.read(&at, &mut resolved.leases).await;
                reads.insert(at.clone(), outcome);
            }
            let value = match &reads[&at] {
                Ok(content) => pick(content, reference.key()),
                Err(error) => Err(error.clone()),
            };
            match value {
                Ok(value) => {
                    resolved.names.entry(reference.clone()).or_insert(pointer);
                    resolved.values.insert(reference, value);
                }
                Err(source) => faults.push(SecretError::Provider {
                    pointer,
                    reference,
                    source,
                }),
            }
        }
        if faults.is_empty() {
            return Ok(resolved);
        }
        resolved.revoke().await;
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
        } else if !granting.iter().any(|rule| rule.reveal) {
            Some(SecretError::NotRevealed { pointer, reference })
        } else if !self.providers.contains_key(&reference.scheme()) {
            Some(SecretError::NoProvider { pointer, reference })
        } else {
            None
        }
    }

    async fn read(
        &self,
        (scheme, path): &(Scheme, String),
        leases: &mut Vec<HeldLease>,
    ) -> Result<Content, ProviderError> {
        let provider = &self.providers[scheme];
        let late = |_| {
            ProviderError::unavailable(
                "the provider did not answer in time",
                "look at the provider, and try again",
            )
        };
        let lease = tokio::time::timeout(self.timeout, provider.resolve(path))
            .await
            .map_err(late)??;
        if let Some(terms) = lease.terms {
            leases.push(HeldLease {
                provider: provider.clone(),
                path: path.clone(),
                terms,
            });
        }
        Ok(lease.content)
    }
}

/// The secrets of one call. Dropping it wipes the values; [`Resolved::revoke`] also ends their leases.
pub struct Resolved {
    config: Value,
    values: BTreeMap<Reference, SecretValue>,
    names: BTreeMap<Reference, String>,
    leases: Vec<HeldLease>,
}

impl Resolved {
    /// The config as JSON with the values in it, for the worker's channel and for nothing else.
    pub fn config_json(&self) -> Zeroizing<Vec<u8>> {
        fill(&self.config, &|reference| {
            self.values.get(reference).cloned()
        })
    }

    /// The value of a reference in the config.
    pub fn value(&self, reference: &Reference) -> Option<&SecretValue> {
        self.values.get(reference)
    }

    /// Every value with the pointer of a property that uses it: what the redactor is made of.
    pub fn values(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        self.names
            .iter()
            .map(|(reference, pointer)| (pointer.as_str(), &self.values[reference]))
    }

    /// The leases that the call holds.
    pub fn leases(&self) -> &[HeldLease] {
        &self.leases
    }

    /// The leases that the call holds, to renew them.
    pub fn leases_mut(&mut self) -> &mut [HeldLease] {
        &mut self.leases
    }

    /// Wipes the values and ends the leases. A lease that cannot be ended is logged and ends by itself.
    pub async fn revoke(self) {
        for lease in self.leases {
            if let Err(error) = lease.provider.revoke(&lease.terms).await {
                tracing::warn!(path = lease.path, lease = lease.terms.id, %error, "a lease could not be revoked");
            }
        }
    }
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved")
            .field("references", &self.names)
            .field("leases", &self.leases.len())
            .finish()
    }
}

/// A lease and the provider that can renew or end it.
pub struct HeldLease {
    provider: Arc<dyn Provider>,
    path: String,
    terms: Terms,
}

impl HeldLease {
    /// The path that was read.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The terms as of the last read or renewal.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Prolongs the lease.
    ///
    /// # Errors
    /// The provider refused or did not answer; the old terms stay.
    pub async fn renew(&mut self) -> Result<(), ProviderError> {
        self.terms = self.provider.renew(&self.terms).await?;
        Ok(())
    }
}
