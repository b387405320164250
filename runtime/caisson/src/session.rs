//! A connected daemon, with the signals that may end a command early.

use std::time::Duration;

use caisson_proto::v1::connections_client::ConnectionsClient;
use caisson_proto::v1::operations_client::OperationsClient;
use caisson_proto::v1::registry_client::RegistryClient;
use caisson_proto::v1::runtime_client::RuntimeClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::interrupt::Interrupt;
use crate::stop::{Result, Stop};
use crate::target::{Remote, Tls};

/// A connection to a daemon that also names the caller.
pub(crate) type Link = InterceptedService<Channel, Key>;

/// The caller's key, added to every request.
#[derive(Debug, Clone)]
pub(crate) struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

/// What every command that talks to a daemon is given.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    link: Link,
    pub(crate) interrupt: Interrupt,
}

impl Session {
    /// Connects; an address where nobody listens is an error here, not later.
    pub(crate) async fn connect(remote: &Remote, interrupt: Interrupt) -> Result<Self> {
        let mut endpoint = Endpoint::from_shared(remote.address.clone())
            .map_err(|error| Stop::usage(format!("{}: {error}", remote.address)))?
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("caisson/", env!("CARGO_PKG_VERSION")))
            .map_err(anyhow::Error::from)?;
        if let Some(tls) = &remote.tls {
            endpoint = endpoint.tls_config(client_tls(tls)).map_err(|error| {
                anyhow::anyhow!(
                    "the certificates for {} cannot be used: {}",
                    remote.address,
                    chain(&error)
                )
            })?;
        }
        let channel = endpoint.connect().await.map_err(|error| {
            anyhow::anyhow!("no daemon at {}: {}", remote.address, chain(&error))
        })?;
        let key = remote
            .key
            .as_ref()
            .map(|key| format!("Bearer {key}").parse())
            .transpose();
        let key = Key(key.map_err(|_| Stop::usage("the key holds characters that no header may"))?);
        Ok(Self {
            link: InterceptedService::new(channel, key),
            interrupt,
        })
    }

    pub(crate) fn runtime(&self) -> RuntimeClient<Link> {
        RuntimeClient::new(self.link.clone())
    }

    pub(crate) fn registry(&self) -> RegistryClient<Link> {
        RegistryClient::new(self.link.clone())
    }

    pub(crate) fn connections(&self) -> ConnectionsClient<Link> {
        ConnectionsClient::new(self.link.clone())
    }

    pub(crate) fn operations(&self) -> OperationsClient<Link> {
        OperationsClient::new(self.link.clone())
    }

    /// Waits for a short request, or for the user who will not.
    pub(crate) async fn wait<T>(
        &self,
        request: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T> {
        tokio::select! {
            response = request => Ok(response?.into_inner()),
            exit = self.interrupt.raised() => Err(Stop::Said(exit)),
        }
    }
}

fn client_tls(tls: &Tls) -> ClientTlsConfig {
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.authority));
    match &tls.identity {
        Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
        None => config,
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
