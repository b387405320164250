//! The environment provider: reads `CAISSON_SECRET_*` and nothing else.
//!
//! The fence stands here although rules and patterns have it too: a provider does not trust its callers with its limits.
//! The variables stay in the daemon's environment, because removing them from a running process is `unsafe`; workers get
//! an environment written from nothing, and the daemon is undumpable, so /proc/PID/environ of it is closed to them.

use std::ffi::OsString;
use std::sync::Arc;

use async_trait::async_trait;

use crate::lasting::Lasting;
use crate::provider::{Content, Provider, ProviderError, Session};
use crate::reference::Scheme;
use crate::value::SecretValue;

/// The only variables that the provider reads begin with this.
pub const PREFIX: &str = "CAISSON_SECRET_";

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Secrets in the daemon's environment. Cheap to clone.
#[derive(Clone)]
pub struct EnvProvider {
    lookup: Arc<Lookup>,
}

impl EnvProvider {
    /// Reads the environment of this process, at the time of each call.
    pub fn new() -> EnvProvider {
        EnvProvider::reading(|name| std::env::var_os(name))
    }

    /// Reads through `lookup` instead; the fence stays.
    pub fn reading(
        lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> EnvProvider {
        EnvProvider {
            lookup: Arc::new(lookup),
        }
    }
}

impl Default for EnvProvider {
    fn default() -> EnvProvider {
        EnvProvider::new()
    }
}

#[async_trait]
impl Provider for EnvProvider {
    fn scheme(&self) -> Scheme {
        Scheme::Env
    }

    async fn open(&self, _: &str) -> Result<Box<dyn Session>, ProviderError> {
        Ok(self.session())
    }
}

#[async_trait]
impl Lasting for EnvProvider {
    async fn get(&self, path: &str) -> Result<Content, ProviderError> {
        if !path.starts_with(PREFIX) {
            return Err(ProviderError::denied(
                format!("only variables that begin with {PREFIX} are read"),
                format!(
                    "set the variable {PREFIX}NAME for the daemon and refer to env:{PREFIX}NAME"
                ),
            ));
        }
        let value = (self.lookup)(path).ok_or_else(|| {
            ProviderError::not_found(
                "the daemon's environment has no such variable",
                format!("set {path} where the daemon is started, and start it again"),
            )
        })?;
        let text = value
            .into_string()
            .map_err(|_| ProviderError::malformed("the variable is not UTF-8", "set it to text"))?;
        if text.is_empty() {
            return Err(ProviderError::malformed(
                "the variable is empty",
                format!("set {path} to the secret"),
            ));
        }
        Ok(Content::Text(SecretValue::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderFault;
    use std::os::unix::ffi::OsStringExt;

    fn provider() -> EnvProvider {
        EnvProvider::reading(|name| match name {
            "CAISSON_SECRET_SHOP" => Some("hunter22".into()),
            "CAISSON_SECRET_EMPTY" => Some("".into()),
            "CAISSON_SECRET_BYTES" => Some(OsString::from_vec(vec![0xff, 0xfe])),
            "HOME" => Some("/root".into()),
            _ => None,
        })
    }

    #[tokio::test]
    async fn a_granted_variable_is_read() {
        let mut session = provider().open("c1").await.unwrap();
        let Content::Text(text) = session.read("CAISSON_SECRET_SHOP").await.unwrap() else {
            panic!("a variable is one text")
        };
        assert_eq!((text.expose(), session.ends()), ("hunter22", None));
    }

    #[tokio::test]
    async fn the_fence_holds_whatever_the_caller_asks_for() {
        for name in ["HOME", "PATH", "caisson_secret_x", ""] {
            assert_eq!(
                provider().get(name).await.unwrap_err().fault,
                ProviderFault::Denied,
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_secret_is_refused_with_what_to_do() {
        for (name, fault) in [
            ("CAISSON_SECRET_NONE", ProviderFault::NotFound),
            ("CAISSON_SECRET_EMPTY", ProviderFault::Malformed),
            ("CAISSON_SECRET_BYTES", ProviderFault::Malformed),
        ] {
            let error = provider().get(name).await.unwrap_err();
            assert_eq!(error.fault, fault, "{name}");
            assert!(!error.retryable() && !error.help.is_empty());
        }
    }
}
