//! Where the vault is and how the daemon proves itself to it. This file performs no IO.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::reference::check_path;
use crate::web::{Address, AddressFault};

/// How a daemon uses one vault.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// `https://HOST[:PORT]`, or `http://` on a loopback address.
    pub address: String,
    /// The namespace in which the daemon logs in and below which paths are read; none for the root.
    pub namespace: Option<String>,
    /// PEM file with the authorities that sign the vault's certificate, in place of the host's own.
    pub ca: Option<PathBuf>,
    /// How the daemon logs in.
    pub auth: VaultAuth,
    /// How long the token of one call lives after a crash of the daemon; it is prolonged while the call lasts.
    pub token_ttl: Duration,
    /// How long one request may take.
    pub timeout: Duration,
}

impl VaultConfig {
    /// How long the token of one call lives when nobody prolongs it.
    pub const TOKEN_TTL: Duration = Duration::from_secs(5 * 60);
    /// How long one request may take. Shorter than the resolver's patience, so that the better message is told.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The defaults around an address and a login.
    pub fn new(address: impl Into<String>, auth: VaultAuth) -> VaultConfig {
        VaultConfig {
            address: address.into(),
            namespace: None,
            ca: None,
            auth,
            token_ttl: VaultConfig::TOKEN_TTL,
            timeout: VaultConfig::TIMEOUT,
        }
    }

    /// Everything that cannot be honoured.
    pub fn faults(&self) -> Vec<VaultConfigFault> {
        let address = Address::of_text(&self.address).err();
        let namespace = self.namespace.as_deref().filter(|name| !is_path(name));
        let mount = self.auth.mount().filter(|name| !is_path(name));
        let short = self.token_ttl < Duration::from_secs(1);
        let faults = [
            address.map(VaultConfigFault::from),
            namespace.map(|_| VaultConfigFault::Namespace),
            mount.map(|_| VaultConfigFault::Mount),
            short.then_some(VaultConfigFault::TokenTtl),
        ];
        faults.into_iter().flatten().collect()
    }
}

/// How the daemon logs in. Secrets are in files, which are read anew at every login.
#[derive(Debug, Clone)]
pub enum VaultAuth {
    /// A token that somebody else keeps in a file, such as an agent's sink.
    /// <https://openbao.org/docs/auth/token/>
    Token {
        /// The file with the token.
        file: PathBuf,
    },
    /// <https://openbao.org/docs/auth/approle/>
    AppRole {
        /// Where the method is mounted, without `auth/`; `approle` as a rule.
        mount: String,
        /// The role's id, which is no secret.
        role_id: String,
        /// The file with the secret id.
        secret_id_file: PathBuf,
    },
    /// <https://openbao.org/docs/auth/kubernetes/>
    Kubernetes {
        /// Where the method is mounted, without `auth/`; `kubernetes` as a rule.
        mount: String,
        /// The role's name.
        role: String,
        /// The file with the service account's token; [`VaultAuth::JWT_FILE`] as a rule.
        jwt_file: PathBuf,
    },
    /// <https://openbao.org/docs/auth/cert/>
    Cert {
        /// Where the method is mounted, without `auth/`; `cert` as a rule.
        mount: String,
        /// The role's name; the vault looks for one that fits where none is given.
        role: Option<String>,
        /// PEM file with the daemon's certificate, and those between it and its authority.
        certificate: PathBuf,
        /// PEM file with the certificate's key.
        key: PathBuf,
    },
}

impl VaultAuth {
    /// Where Kubernetes puts the token of a pod's service account.
    pub const JWT_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

    pub(crate) fn mount(&self) -> Option<&str> {
        match self {
            VaultAuth::Token { .. } => None,
            VaultAuth::AppRole { mount, .. }
            | VaultAuth::Kubernetes { mount, .. }
            | VaultAuth::Cert { mount, .. } => Some(mount),
        }
    }
}

impl fmt::Display for VaultAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VaultAuth::Token { file } => write!(f, "the token in {}", file.display()),
            VaultAuth::AppRole { mount, .. } => write!(f, "AppRole at auth/{mount}"),
            VaultAuth::Kubernetes { mount, role, .. } => {
                write!(f, "Kubernetes at auth/{mount} as {role}")
            }
            VaultAuth::Cert { mount, .. } => write!(f, "certificate at auth/{mount}"),
        }
    }
}

/// A part of the configuration that cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultConfigFault {
    /// Not an address, or more than one.
    #[error(
        "address is not https://HOST:PORT; write scheme, host and port, and no path, user or query"
    )]
    Address,
    /// Tokens and secrets would cross a network in the clear.
    #[error(
        "address is http:// and not loopback; write https://, or http://127.0.0.1:PORT for a vault on this host"
    )]
    InTheClear,
    /// No name of a namespace.
    #[error("namespace is no path; write NAME or PARENT/NAME, without slashes around it")]
    Namespace,
    /// No name of a mount.
    #[error(
        "mount is no path; write the name as `bao auth list` has it, without auth/ and slashes around it"
    )]
    Mount,
    /// Nobody could prolong it in time.
    #[error("token_ttl is shorter than a second; write 5m")]
    TokenTtl,
}

impl From<AddressFault> for VaultConfigFault {
    fn from(fault: AddressFault) -> VaultConfigFault {
        match fault {
            AddressFault::NoAddress => VaultConfigFault::Address,
            AddressFault::InTheClear => VaultConfigFault::InTheClear,
        }
    }
}

fn is_path(text: &str) -> bool {
    check_path(text, |_| false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        let auth = VaultAuth::AppRole {
            mount: "/approle".into(),
            role_id: "r".into(),
            secret_id_file: "s".into(),
        };
        let config = VaultConfig {
            namespace: Some("a//b".into()),
            token_ttl: Duration::ZERO,
            ..VaultConfig::new("http://vault", auth)
        };
        assert_eq!(config.faults().len(), 4);
    }
}
