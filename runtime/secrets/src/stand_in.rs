//! A provider for where nobody is to be asked: every reference has the same value, which opens nothing.

use async_trait::async_trait;

use crate::provider::{Content, Lease, Provider, ProviderError};
use crate::reference::Scheme;
use crate::value::SecretValue;

/// What every reference stands for.
const VALUE: &str = "no-secret-but-a-stand-in";

/// Stands in for the provider of a scheme. A policy's `from` holds all the same.
#[derive(Debug, Clone, Copy)]
pub struct StandInProvider(pub Scheme);

#[async_trait]
impl Provider for StandInProvider {
    fn scheme(&self) -> Scheme {
        self.0
    }

    async fn resolve(&self, _: &str) -> Result<Lease, ProviderError> {
        Ok(Lease {
            content: Content::Same(SecretValue::new(VALUE)),
            terms: None,
        })
    }
}
