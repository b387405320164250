//! A provider for where nobody is to be asked: every reference has the same value, which opens nothing.

use async_trait::async_trait;

use crate::lasting::Lasting;
use crate::provider::{Content, Provider, ProviderError, Session};
use crate::reference::Scheme;
use crate::value::SecretValue;

/// What every reference stands for.
const VALUE: &str = "no-secret-but-a-stand-in";

/// Stands in for the provider of a scheme. A policy's `from` holds all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StandInProvider(pub(crate) Scheme);

#[async_trait]
impl Provider for StandInProvider {
    fn scheme(&self) -> Scheme {
        self.0
    }

    async fn open(&self, _: &str) -> Result<Box<dyn Session>, ProviderError> {
        Ok(self.session())
    }
}

#[async_trait]
impl Lasting for StandInProvider {
    async fn get(&self, _: &str) -> Result<Content, ProviderError> {
        Ok(Content::Same(SecretValue::new(VALUE)))
    }
}
