//! The tokens of calls: made as children of the daemon's, noted before they are used, revoked when a call ends, and
//! revoked later where that failed or an earlier process did not come to it.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::client::Ask;
use super::fault;
use super::login::{body, plain, seconds};
use super::own::{Own, Token};
use super::revocations::Revocations;
use super::terms::Terms;
use crate::provider::ProviderError;
use crate::value::SecretValue;

/// Between attempts to revoke what is left; it doubles up to a minute.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The token of one call.
pub(crate) struct Child {
    pub(crate) token: SecretValue,
    pub(crate) accessor: String,
    pub(crate) terms: Terms,
    /// Ends with it.
    pub(crate) parent: Arc<Token>,
}

/// All tokens of calls of this process, and those that others left.
pub(crate) struct Children {
    pub(crate) own: Arc<Own>,
    list: Arc<dyn Revocations>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those of calls that run: noted, and not to be revoked.
    live: HashSet<String>,
    sweeping: bool,
    /// Something was left while the sweeper was at work.
    again: bool,
}

impl Children {
    pub(crate) fn new(own: Arc<Own>, list: Arc<dyn Revocations>) -> Children {
        Children {
            own,
            list,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|locked| locked.into_inner())
    }

    /// Makes the token of a call. It has the daemon's policies, and a life of its own.
    /// <https://openbao.org/api-docs/auth/token/#create-token>
    pub(crate) async fn create(&self, call: &str) -> Result<Child, ProviderError> {
        let ttl = self.own.client.config().token_ttl.as_secs();
        let request = json!({
            "display_name": format!("caisson-{call}"),
            "meta": { "call": call },
            "renewable": true,
            "ttl": format!("{ttl}s"),
            "type": "service",
        });
        let since = Instant::now();
        let ask = Ask::post("auth/token/create", plain(request));
        let (answer, parent) = self.own.send(&ask).await?;
        if !answer.status.is_success() {
            let help = "write into the daemon's policy in the vault: path \"auth/token/create\" { capabilities = [\"update\"] }; its token must be a service token";
            let doing = "to make a token for the call";
            return Err(fault::own(
                self.own.client.address(),
                doing,
                help,
                &answer,
                &[],
            ));
        }
        let auth = answer.auth()?;
        Ok(Child {
            token: auth.client_token,
            accessor: auth.accessor,
            terms: Terms::new(since, seconds(auth.lease_duration), auth.renewable),
            parent,
        })
    }

    /// Writes a token down, before it reads anything.
    pub(crate) async fn note(&self, child: &Child) -> Result<(), ProviderError> {
        self.state().live.insert(child.accessor.clone());
        let accessor = child.accessor.clone();
        self.listed(move |list| list.note(&accessor)).await
    }

    /// Revokes a token, and with it everything it was leased. What fails is tried again in the background.
    /// <https://openbao.org/api-docs/auth/token/#revoke-a-token-self>
    pub(crate) async fn end(self: &Arc<Self>, child: &Child) -> Result<(), ProviderError> {
        let ask = Ask::post("auth/token/revoke-self", body(&[]));
        let asked = self.own.client.send(Some(&child.token), &ask).await;
        let ended = match asked {
            Ok(answer) if answer.status.is_success() => Ok(()),
            // Gone already; or a policy without the default one, which lets no token revoke itself.
            Ok(answer) if answer.status == StatusCode::FORBIDDEN => {
                self.revoke(&child.accessor).await
            }
            Ok(answer) => Err(fault::own(
                self.own.client.address(),
                "to revoke the call's token",
                "it ends by itself",
                &answer,
                &[&child.token],
            )),
            Err(error) => Err(error),
        };
        let done = match ended {
            Ok(()) => self.done(&child.accessor).await,
            Err(error) => Err(error),
        };
        self.state().live.remove(&child.accessor);
        if done.is_err() {
            self.sweep_later();
        }
        done
    }

    /// <https://openbao.org/api-docs/auth/token/#revoke-a-token-accessor>
    async fn revoke(self: &Arc<Self>, accessor: &str) -> Result<(), ProviderError> {
        let ask = Ask::post(
            "auth/token/revoke-accessor",
            body(&[("accessor", accessor)]),
        );
        let (answer, _) = self.own.send(&ask).await?;
        // OpenBao answers 200 for one that is gone, Vault a status by its version.
        let gone = answer.status == StatusCode::NOT_FOUND
            || answer.status.is_client_error()
                && answer
                    .refusal()
                    .errors
                    .iter()
                    .any(|text| text.contains("invalid accessor"));
        if answer.status.is_success() || gone {
            return Ok(());
        }
        let help = "write into the daemon's policy in the vault: path \"auth/token/revoke-accessor\" { capabilities = [\"update\"] }";
        let doing = "to revoke the token of a call that is over";
        Err(fault::own(
            self.own.client.address(),
            doing,
            help,
            &answer,
            &[],
        ))
    }

    /// Revokes everything that is noted and of no running call. Answers how many there were.
    ///
    /// # Errors
    /// The first failure; all others were tried.
    pub(crate) async fn sweep(self: &Arc<Self>) -> Result<usize, ProviderError> {
        let pending = self.listed(|list| list.pending()).await?;
        let (mut revoked, mut failed) = (0, None);
        for accessor in pending {
            if self.state().live.contains(&accessor) {
                continue;
            }
            let outcome = match self.revoke(&accessor).await {
                Ok(()) => self.done(&accessor).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => revoked += 1,
                Err(error) => {
                    let retryable = error.retryable();
                    failed.get_or_insert(error);
                    // A vault that is away is away for the rest as well.
                    if retryable {
                        break;
                    }
                }
            }
        }
        failed.map_or(Ok(revoked), Err)
    }

    /// Sweeps in the background until the vault is back. A refusal ends it: what is left then ends by itself, and is
    /// tried again by the next process.
    pub(crate) fn sweep_later(self: &Arc<Self>) {
        let mut state = self.state();
        state.again = true;
        if std::mem::replace(&mut state.sweeping, true) {
            return;
        }
        let children = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut pause = PAUSE;
            loop {
                sleep(pause).await;
                let Some(children) = children.upgrade() else {
                    return;
                };
                children.state().again = false;
                let swept = children.sweep().await;
                if let Err(error) = &swept {
                    tracing::warn!(%error, "tokens of calls that are over could not be revoked");
                }
                let retryable = swept.is_err_and(|error| error.retryable());
                let mut state = children.state();
                if !retryable && !state.again {
                    state.sweeping = false;
                    return;
                }
                pause = if retryable {
                    (pause * 2).min(LONGEST_PAUSE)
                } else {
                    PAUSE
                };
            }
        });
    }

    async fn done(&self, accessor: &str) -> Result<(), ProviderError> {
        let accessor = accessor.to_owned();
        self.listed(move |list| list.done(&accessor)).await
    }

    async fn listed<T: Send + 'static>(
        &self,
        act: impl FnOnce(&dyn Revocations) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let list = self.list.clone();
        let acted = tokio::task::spawn_blocking(move || act(&*list)).await;
        let acted = acted.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()));
        acted.map_err(|error| {
            ProviderError::unavailable(
                format!("the list of tokens that are to be revoked cannot be used ({error})"),
                "look at the disk of the daemon's state",
            )
        })
    }
}
