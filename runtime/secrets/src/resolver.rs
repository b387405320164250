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
use crate::oauth::{Held, Tokens};
use crate::provider::{Content, Lease, Provider, ProviderError, Session};
use crate::redact::{Gap, MIN_BYTES};
use crate::reference::{Reference, Scheme};
use crate::rule::SecretRule;
use crate::stand_in::StandInProvider;
use crate::value::SecretValue;

/// How long one read of one provider may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The providers of a daemon. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    providers: BTreeMap<Scheme, Arc<dyn Provider>>,
    tokens: Option<Tokens>,
    /// Whether nobody is to be asked, as every secret is a stand-in.
    stands_in: bool,
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
            tokens: None,
            stands_in: false,
            timeout: READ_TIMEOUT,
        }
    }

    /// Where nobody is to be asked: every reference has the same value, which opens nothing.
    pub fn stand_in() -> Resolver {
        let stand_in = |scheme| Arc::new(StandInProvider(scheme)) as Arc<dyn Provider>;
        Resolver {
            stands_in: true,
            ..Resolver::new(Scheme::ALL.map(stand_in))
        }
    }

    /// Waits until no access token is got any more, as a daemon does that stops.
    pub async fn settle(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.settle().await;
        }
    }

    /// Has access tokens got for the secrets whose rules say so.
    pub fn with_tokens(mut self, tokens: Tokens) -> Resolver {
        self.tokens = Some(tokens);
        self
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
            match value.and_then(|value| usable(value, revealed)) {
                Ok(value) => {
                    if !revealed {
                        let seal = Seal {
                            placeholder: placeholder(),
                            reference: reference.clone(),
                            held: Held::Value(value.clone()),
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
        let mut tokens = Vec::new();
        if faults.is_empty() {
            let got = self.tokens(config, rules, &values, &mut sealed).await;
            tokens = got.unwrap_or_else(|fault| {
                faults.push(fault);
                Vec::new()
            });
        }
        let open = sessions
            .into_iter()
            .filter_map(|(scheme, session)| Some((scheme, session.ok()?)));
        let leases = Leases::keep(call, open.collect());
        if faults.is_empty() {
            return Ok(Resolved {
                values,
                names,
                tokens,
                sealed,
                leases,
            });
        }
        leases.close().await;
        Err(SecretFaults(faults))
    }

    /// Has the gateway put in access tokens in place of the secrets that they are got with. The tokens, each with the
    /// pointer of its property.
    async fn tokens(
        &self,
        config: &Value,
        rules: &[SecretRule],
        values: &BTreeMap<Reference, SecretValue>,
        sealed: &mut BTreeMap<String, Seal>,
    ) -> Result<Vec<(String, SecretValue)>, SecretError> {
        if self.stands_in {
            return Ok(Vec::new());
        }
        let told = |pointer: &str| match config.pointer(pointer)? {
            Value::String(text) => Some(SecretValue::new(text.as_str())),
            Value::Number(number) => Some(SecretValue::new(number.to_string())),
            other => {
                let placed = references(other).ok()?;
                let whole = placed
                    .into_iter()
                    .find(|placed| placed.pointer.is_empty())?;
                values.get(&whole.reference).cloned()
            }
        };
        let mut first = Vec::new();
        for (pointer, seal) in sealed {
            let mut here = rules.iter().filter(|rule| rule.pointer() == *pointer);
            let Some(recipe) = here.find_map(|rule| {
                let is_for_it = rule.grants(&seal.reference);
                rule.oauth2.as_ref().filter(|_| is_for_it)
            }) else {
                continue;
            };
            let (reference, secret) = (&seal.reference, values[&seal.reference].clone());
            let provider = &self.providers[&reference.scheme()];
            let got = async {
                let tokens = self.tokens.as_ref().ok_or_else(tokenless)?;
                let token = tokens.of(recipe, reference, secret, provider, told)?;
                Ok((token.get().await?, token))
            };
            let (value, token) = got.await.map_err(|source| SecretError::Provider {
                pointer: pointer.clone(),
                reference: reference.clone(),
                source,
            })?;
            first.push((pointer.clone(), value));
            seal.held = Held::Token(token);
        }
        Ok(first)
    }

    /// What would become of every reference of `config`, without telling a value: those that `rules` grant are read now,
    /// each path in a session of its own that is closed at once, the others are not.
    ///
    /// # Errors
    /// References that are malformed.
    pub async fn check(
        &self,
        call: &str,
        config: &Value,
        rules: &[SecretRule],
    ) -> Result<Vec<Checked>, SecretFaults> {
        let placed = references(config)
            .map_err(|faults| SecretFaults(faults.into_iter().map(SecretError::from).collect()))?;
        let mut reads: BTreeMap<(Scheme, String), ReadAlone> = BTreeMap::new();
        // A provider that could not be opened is not asked for every path.
        let mut sessions = Sessions::new();
        let mut checked = Vec::new();
        for placed in placed {
            if let Some(refusal) = self.refusal(&placed, rules) {
                let outcome = Err(refusal);
                checked.push(Checked { placed, outcome });
                continue;
            }
            let at = (
                placed.reference.scheme(),
                placed.reference.path().to_owned(),
            );
            if !reads.contains_key(&at) {
                let outcome = self.read_alone(call, &at, &mut sessions).await;
                reads.insert(at.clone(), outcome);
            }
            checked.push(Checked::of(placed, &reads[&at], rules));
        }
        Ok(checked)
    }

    /// Reads one path in a session that ends with it.
    async fn read_alone(
        &self,
        call: &str,
        at: &(Scheme, String),
        sessions: &mut Sessions,
    ) -> ReadAlone {
        let content = self.read(call, at, sessions).await;
        let mut lease = None;
        match sessions.remove(&at.0) {
            Some(Ok(session)) => {
                lease = session.lease();
                Leases::keep(call, vec![(at.0, session)]).close().await;
            }
            Some(unopened) => drop(sessions.insert(at.0, unopened)),
            None => {}
        }
        content.map(|content| (content, lease))
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

/// What would become of one reference.
#[derive(Debug)]
pub struct Checked {
    /// The reference, and where it stands.
    pub placed: Placed,
    /// What is known of the value, or why it cannot be had.
    pub outcome: Result<Had, SecretError>,
}

/// A value that can be had: all that is told of it.
#[derive(Debug)]
pub struct Had {
    /// The worker would see it.
    pub revealed: bool,
    /// How long it lives; nothing where it does not end by itself.
    pub lease: Option<Lease>,
    /// What of it is not redacted.
    pub gap: Option<Gap>,
}

/// What one path holds, and how long it would.
type ReadAlone = Result<(Content, Option<Lease>), ProviderError>;

impl Checked {
    fn of(placed: Placed, read: &ReadAlone, rules: &[SecretRule]) -> Checked {
        let Placed { pointer, reference } = &placed;
        let revealed = is_revealed(pointer, reference, rules);
        let had = read
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|(content, lease)| {
                let value = usable(pick(content, reference.key())?, revealed)?;
                Ok(Had {
                    revealed,
                    lease: *lease,
                    gap: Gap::of(pointer, &value),
                })
            });
        let outcome = had.map_err(|source| SecretError::Provider {
            pointer: pointer.clone(),
            reference: reference.clone(),
            source,
        });
        Checked { placed, outcome }
    }
}

/// The value, if it can be used as the policy says.
fn usable(value: SecretValue, revealed: bool) -> Result<SecretValue, ProviderError> {
    match revealed || value.expose().len() >= MIN_BYTES {
        true => Ok(value),
        false => Err(unsealable()),
    }
}

/// One for each scheme that the call has granted references of; a failure to open counts for all of them.
type Sessions = BTreeMap<Scheme, Result<Box<dyn Session>, ProviderError>>;

/// The secrets of one call, and what keeps them alive. Dropping it wipes the values and ends the leases in the
/// background; [`Resolved::close`] waits for their end.
pub struct Resolved {
    values: BTreeMap<Reference, SecretValue>,
    names: BTreeMap<Reference, String>,
    /// The first access tokens.
    tokens: Vec<(String, SecretValue)>,
    /// By the pointer of the property.
    sealed: BTreeMap<String, Seal>,
    leases: Leases,
}

/// A secret of which the worker has a placeholder.
struct Seal {
    placeholder: SecretValue,
    reference: Reference,
    held: Held,
}

/// A rule that grants the reference lets the worker see it.
fn is_revealed(pointer: &str, reference: &Reference, rules: &[SecretRule]) -> bool {
    let here = rules.iter().filter(|rule| rule.pointer() == pointer);
    here.filter(|rule| rule.grants(reference))
        .any(|rule| rule.reveal)
}

fn tokenless() -> ProviderError {
    ProviderError::denied("nobody gets access tokens here", "run the call by a daemon")
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

    /// The sealed secrets: the pointer of the property, what the worker has, and what the gateway puts in.
    pub fn sealed(&self) -> impl Iterator<Item = (&str, &SecretValue, &Held)> {
        let all = self.sealed.iter();
        all.map(|(pointer, seal)| (pointer.as_str(), &seal.placeholder, &seal.held))
    }

    /// Every value with the pointer of a property that uses it: what the redactor is made of.
    pub fn values(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        let values = self
            .names
            .iter()
            .map(|(reference, pointer)| (pointer.as_str(), &self.values[reference]));
        let tokens = self.tokens.iter();
        values.chain(tokens.map(|(pointer, token)| (pointer.as_str(), token)))
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
