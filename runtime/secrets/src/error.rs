//! Why a config's secrets cannot be had. Every variant names the property and the reference, never a value.

use std::fmt;

use crate::config::Misplaced;
use crate::glob::Glob;
use crate::provider::ProviderError;
use crate::reference::{Reference, Scheme};
use crate::rule::{name_of, property};

/// One secret that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The config holds something that looks like a reference and is none: the caller's to mend (CONFIG_INVALID).
    #[error(transparent)]
    Malformed(#[from] Misplaced),
    /// The policy does not list the reference for this property. No provider was asked.
    #[error("{pointer}: {reference} is not granted: {}; {}", granted_text(.pointer, .granted), add_text(.pointer, .reference))]
    NotGranted {
        /// Where the reference stands in the config.
        pointer: String,
        /// The reference.
        reference: Reference,
        /// What the policy grants for the property; empty where it has no rule for it.
        granted: Vec<Glob>,
    },
    /// No provider is configured for the scheme.
    #[error("{pointer}: {reference}: {}", no_provider_text(.reference.scheme()))]
    NoProvider {
        /// Where the reference stands in the config.
        pointer: String,
        /// The reference.
        reference: Reference,
    },
    /// The provider was asked and had no usable answer.
    #[error("{pointer}: {reference}: {source}")]
    Provider {
        /// Where the reference stands in the config.
        pointer: String,
        /// The reference.
        reference: Reference,
        /// The provider's words.
        source: ProviderError,
    },
}

impl SecretError {
    /// JSON pointer into the config.
    pub fn pointer(&self) -> &str {
        match self {
            SecretError::Malformed(misplaced) => &misplaced.pointer,
            SecretError::NotGranted { pointer, .. }
            | SecretError::NoProvider { pointer, .. }
            | SecretError::Provider { pointer, .. } => pointer,
        }
    }

    /// The reference, where there is one.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            SecretError::Malformed(_) => None,
            SecretError::NotGranted { reference, .. }
            | SecretError::NoProvider { reference, .. }
            | SecretError::Provider { reference, .. } => Some(reference),
        }
    }

    /// What happened, without where.
    pub fn cause(&self) -> String {
        match self {
            SecretError::Malformed(misplaced) => {
                format!("{}; {}", misplaced.message, misplaced.help)
            }
            SecretError::NotGranted {
                pointer, granted, ..
            } => granted_text(pointer, granted),
            SecretError::NoProvider { reference, .. } => no_provider_text(reference.scheme()),
            SecretError::Provider { source, .. } => source.to_string(),
        }
    }

    /// Whether the same call may succeed later without anybody mending anything.
    pub fn retryable(&self) -> bool {
        matches!(self, SecretError::Provider { source, .. } if source.retryable())
    }

    /// Whether the config itself is at fault (CONFIG_INVALID) and not the secret (SECRET_UNAVAILABLE).
    pub fn is_config_fault(&self) -> bool {
        matches!(self, SecretError::Malformed(_))
    }
}

/// Everything that is wrong with the secrets of one call; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFaults(pub Vec<SecretError>);

impl SecretFaults {
    /// Whether trying again may help: only if every fault may mend itself.
    pub fn retryable(&self) -> bool {
        self.0.iter().all(SecretError::retryable)
    }

    /// Whether the config itself is at fault (CONFIG_INVALID).
    pub fn is_config_fault(&self) -> bool {
        self.0.iter().any(SecretError::is_config_fault)
    }
}

impl fmt::Display for SecretFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SecretFaults {}

fn granted_text(pointer: &str, granted: &[Glob]) -> String {
    let name = name_of(pointer);
    if granted.is_empty() {
        return format!("the connector's policy has no rule for {name:?}");
    }
    let list: Vec<_> = granted.iter().map(|glob| format!("\"{glob}\"")).collect();
    format!("the policy's secrets.{name} lists only {}", list.join(", "))
}

fn add_text(pointer: &str, reference: &Reference) -> String {
    let name = property(pointer);
    format!(
        "to allow it, write under secrets of the policy {name}: {{ from: [\"{reference}\"] }} with seal: {{ hosts: [api.example.com] }}, or with reveal: true if the worker may see it"
    )
}

fn no_provider_text(scheme: Scheme) -> String {
    match scheme {
        Scheme::Env => {
            "the environment provider is switched off; switch it on in the daemon's configuration"
                .into()
        }
        Scheme::File => {
            "no directory of secret files is configured; name one in the daemon's configuration"
                .into()
        }
        Scheme::Vault => "no vault is configured; name one in the daemon's configuration".into(),
        Scheme::Command => {
            "no command is configured; name one with secrets.command in the daemon's configuration"
                .into()
        }
    }
}
