//! Sessions at places whose secrets do not end by themselves: nothing to prolong, nothing to give back.

use async_trait::async_trait;

use crate::provider::{Content, ProviderError, Session};

/// A place that is read without any ado. Cheap to clone.
#[async_trait]
pub(crate) trait Lasting: Clone + Send + Sync + 'static {
    /// Reads one path.
    async fn get(&self, path: &str) -> Result<Content, ProviderError>;

    /// The session of any call.
    fn session(&self) -> Box<dyn Session> {
        Box::new(LastingSession(self.clone()))
    }
}

struct LastingSession<P>(P);

#[async_trait]
impl<P: Lasting> Session for LastingSession<P> {
    async fn read(&mut self, path: &str) -> Result<Content, ProviderError> {
        self.0.get(path).await
    }
}
