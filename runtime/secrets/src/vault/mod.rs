//! HashiCorp Vault and OpenBao, over the API that both have. <https://openbao.org/api-docs/>
//!
//! The daemon logs in once. Every call gets a token of its own, a child of the daemon's: what a call reads is read with
//! it, what a call is leased hangs on it, and its revocation at the end of the call ends all of that. Its accessor is on
//! disk before it is used, so that a daemon that crashed revokes it when it is back; and its life is short, so that it
//! ends also where no daemon comes back. One case is left to that: a vault that made a token and whose answer was lost.
//!
//! The daemon's policy in the vault needs, besides `read` on the secrets and the `default` policy:
//!
//! ```hcl
//! path "auth/token/create"          { capabilities = ["update"] }
//! path "auth/token/revoke-accessor" { capabilities = ["update"] }
//! ```
//!
//! This room talks to the configured vault (and to the leader that it names), reads the files of the login, and writes
//! accessors through [`Revocations`]. No token and no value is ever written, logged or part of an error.

mod answer;
mod children;
mod client;
mod config;
mod fault;
mod login;
mod own;
mod path;
mod revocations;
mod session;
mod terms;
mod tls;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use self::children::Children;
use self::client::Client;
use self::own::Own;
use self::session::VaultSession;
use crate::provider::{Provider, ProviderError, Session};
use crate::reference::Scheme;
use crate::web::Address;

pub use self::config::{VaultAuth, VaultConfig, VaultConfigFault};
pub use self::revocations::{RevocationDir, Revocations};

/// Secrets in a Vault or an OpenBao. Cheap to clone.
#[derive(Clone)]
pub struct VaultProvider {
    children: Arc<Children>,
}

impl VaultProvider {
    /// Asks nothing yet: the daemon logs in when a first call needs a secret.
    ///
    /// # Errors
    /// Everything in `config` that cannot be honoured; at least one.
    pub fn new(
        config: VaultConfig,
        revocations: Arc<dyn Revocations>,
    ) -> Result<VaultProvider, Vec<VaultConfigFault>> {
        let faults = config.faults();
        let address = Address::of_text(&config.address);
        match address {
            Ok(address) if faults.is_empty() => {
                let own = Arc::new(Own::new(Client::new(config, address)));
                let children = Arc::new(Children::new(own, revocations));
                Ok(VaultProvider { children })
            }
            _ => Err(faults),
        }
    }

    /// Revokes the tokens that calls of an earlier process left, and answers how many they were. Those of this process's
    /// running calls stay. Nothing is asked where nothing is left.
    ///
    /// # Errors
    /// Some are left. Where the vault is away, they are tried again in the background until it is back.
    pub async fn revoke_pending(&self) -> Result<usize, ProviderError> {
        let swept = self.children.sweep().await;
        if swept.as_ref().is_err_and(ProviderError::retryable) {
            self.children.sweep_later();
        }
        swept
    }

    /// Revokes the daemon's own token, as a daemon does that stops; all tokens of calls end with it. One from a file
    /// ([`VaultAuth::Token`]) stays: somebody else made it.
    ///
    /// # Errors
    /// The token ends by itself.
    pub async fn log_out(&self) -> Result<(), ProviderError> {
        self.children.own.log_out().await
    }
}

impl fmt::Debug for VaultProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.children.own.client.address();
        f.debug_struct("VaultProvider")
            .field("address", &address.to_string())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for VaultProvider {
    fn scheme(&self) -> Scheme {
        Scheme::Vault
    }

    async fn open(&self, call: &str) -> Result<Box<dyn Session>, ProviderError> {
        // A task of its own: a caller that leaves meanwhile must not leave a token behind whose name nobody heard.
        let opening = VaultSession::open(self.children.clone(), call.to_owned());
        let opened = tokio::spawn(opening).await;
        let interrupted =
            |_| ProviderError::unavailable("opening a session was interrupted", "try again");
        Ok(Box::new(opened.map_err(interrupted)??))
    }
}
