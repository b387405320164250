//! Where the vault is and how the daemon proves itself to it. This file performs no IO.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use crate::reference::check_path;

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
        let address = Address::parse(&self.address).err();
        let namespace = self.namespace.as_deref().filter(|name| !is_path(name));
        let mount = self.auth.mount().filter(|name| !is_path(name));
        let short = self.token_ttl < Duration::from_secs(1);
        let faults = [
            address,
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

fn is_path(text: &str) -> bool {
    check_path(text, |_| false).is_ok()
}

/// A checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) secure: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Address, VaultConfigFault> {
        let uri: Uri = text.parse().map_err(|_| VaultConfigFault::Address)?;
        let address = Address::of(&uri).ok_or(VaultConfigFault::Address)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(VaultConfigFault::Address);
        }
        if !address.secure && !address.is_loopback() {
            return Err(VaultConfigFault::InTheClear);
        }
        Ok(address)
    }

    /// Scheme and authority of `uri`, whatever its path.
    pub(crate) fn of(uri: &Uri) -> Option<Address> {
        let authority = uri.authority()?;
        let secure = *uri.scheme()? == Scheme::HTTPS;
        if authority.as_str().contains('@') || !(secure || *uri.scheme()? == Scheme::HTTP) {
            return None;
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .map_or(host, |host| host.trim_end_matches(']'));
        let port = authority
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        Some(Address {
            secure,
            host: host.to_owned(),
            port,
        })
    }

    /// Names other than localhost are none: what they resolve to can change.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Address {
    /// `HOST:PORT`, as the Host header has it.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_cross_no_network_in_the_clear() {
        for (text, expected) in [
            (
                "https://vault.example.com:8200",
                Ok("https://vault.example.com:8200"),
            ),
            (
                "https://vault.example.com/",
                Ok("https://vault.example.com:443"),
            ),
            ("http://127.0.0.1:8200", Ok("http://127.0.0.1:8200")),
            ("http://[::1]:8200", Ok("http://[::1]:8200")),
            ("http://localhost:8200", Ok("http://localhost:8200")),
            ("http://10.0.0.1:8200", Err(VaultConfigFault::InTheClear)),
            (
                "http://localhost.example.com",
                Err(VaultConfigFault::InTheClear),
            ),
            ("https://me@vault:8200", Err(VaultConfigFault::Address)),
            ("https://vault/v1", Err(VaultConfigFault::Address)),
            ("https://vault?x=1", Err(VaultConfigFault::Address)),
            ("ftp://vault", Err(VaultConfigFault::Address)),
            ("vault:8200", Err(VaultConfigFault::Address)),
            ("", Err(VaultConfigFault::Address)),
        ] {
            let parsed = Address::parse(text).map(|address| address.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        }
    }

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
