//! One request to the vault's HTTP API, and its answer.
//!
//! A connection for each request: a call makes a handful of them, and a connection that is never kept cannot be stale.
//! Tokens, bodies and answers are in memory that is wiped; what hyper and rustls buffer underneath is not.

use std::sync::RwLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::config::VaultConfig;
use super::tls::tls;
use crate::provider::ProviderError;
use crate::value::SecretValue;
use crate::web::{Address, Whom, broken, connect};

const VAULT: Whom = Whom {
    name: "the vault",
    trust: "name the authority that signed the vault's certificate as ca in the vault's configuration, and the host as the certificate has it in address",
};

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// What is asked. `path` is without `/v1/`, and may have a query.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// JSON.
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(path: &'a str) -> Ask<'a> {
        Ask {
            method: Method::GET,
            path,
            body: None,
        }
    }

    pub(crate) fn post(path: &'a str, body: Zeroizing<Vec<u8>>) -> Ask<'a> {
        Ask {
            method: Method::POST,
            path,
            body: Some(body),
        }
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// A vault's address and how to speak to it.
pub(crate) struct Client {
    config: VaultConfig,
    address: Address,
    tls: RwLock<Option<TlsConnector>>,
}

impl Client {
    /// `config` has no faults.
    pub(crate) fn new(config: VaultConfig, address: Address) -> Client {
        Client {
            config,
            address,
            tls: RwLock::new(None),
        }
    }

    pub(crate) fn config(&self) -> &VaultConfig {
        &self.config
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Forgets certificates and authorities, so that the next request reads their files anew.
    pub(crate) fn reload(&self) {
        *self
            .tls
            .write()
            .unwrap_or_else(|locked| locked.into_inner()) = None;
    }

    fn tls(&self) -> Result<TlsConnector, ProviderError> {
        let known = self.tls.read().unwrap_or_else(|locked| locked.into_inner());
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        drop(known);
        let made = tls(&self.config)?;
        *self
            .tls
            .write()
            .unwrap_or_else(|locked| locked.into_inner()) = Some(made.clone());
        Ok(made)
    }

    /// Asks, and follows a standby to its leader once.
    ///
    /// # Errors
    /// There is no answer. A refusal is an answer.
    pub(crate) async fn send(
        &self,
        token: Option<&SecretValue>,
        ask: &Ask<'_>,
    ) -> Result<Answer, ProviderError> {
        let asked = async {
            let first = self.once(&self.address, token, ask).await?;
            match first.leader(&self.address) {
                None => first.read(&self.address).await,
                Some(leader) => {
                    let leader = leader?;
                    self.once(&leader, token, ask).await?.read(&leader).await
                }
            }
        };
        let late = |_| late(&self.address, self.config.timeout);
        tokio::time::timeout(self.config.timeout, asked)
            .await
            .map_err(late)?
    }

    async fn once(
        &self,
        to: &Address,
        token: Option<&SecretValue>,
        ask: &Ask<'_>,
    ) -> Result<Begun, ProviderError> {
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(format!("/v1/{}", ask.path))
            .header(HOST, to.authority())
            // Asked for by listeners that guard against forged requests.
            .header("x-vault-request", "true");
        if let Some(token) = token {
            request = request.header("x-vault-token", hidden(token)?);
        }
        if let Some(namespace) = &self.config.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        let body = match &ask.body {
            None => Full::default(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Full::new(Bytes::from_owner(body.clone()))
            }
        };
        let request = request.body(body).map_err(|error| {
            ProviderError::malformed(
                format!("the path cannot be asked for ({error})"),
                "mend the reference",
            )
        })?;
        let tls = if to.secure { Some(self.tls()?) } else { None };
        let stream = connect(VAULT, to, tls.as_ref()).await?;
        let broken = |error: hyper::Error| broken(VAULT, to, &error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Begun {
            response,
            _driver: driver,
        })
    }
}

/// An answer of which the head has come.
struct Begun {
    response: http::Response<Incoming>,
    /// Ends the connection when dropped.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Begun {
    /// Where a standby sends its clients: another host under the same scheme. The path stays what was asked.
    /// <https://openbao.org/docs/concepts/ha/#client-redirection>
    fn leader(&self, standby: &Address) -> Option<Result<Address, ProviderError>> {
        let status = self.response.status();
        if !matches!(
            status,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        ) {
            return None;
        }
        let location = self.response.headers().get(LOCATION);
        let leader = location
            .and_then(|location| location.to_str().ok()?.parse::<Uri>().ok())
            .and_then(|uri| Address::of(&uri))
            .filter(|leader| leader.secure == standby.secure)
            .filter(|leader| leader.secure || leader.is_loopback());
        Some(leader.ok_or_else(|| {
            ProviderError::denied(
                format!("the vault at {standby} redirects to where its secrets may not go"),
                "write the leader's own address, or set its api_addr to https",
            )
        }))
    }

    async fn read(self, from: &Address) -> Result<Answer, ProviderError> {
        let status = self.response.status();
        let body = Limited::new(self.response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                ProviderError::malformed(
                    format!("the answer is larger than {MAX_ANSWER_BYTES} bytes"),
                    "refer to a smaller secret",
                )
            } else {
                broken(VAULT, from, &*error)
            }
        })?;
        let body = Zeroizing::new(Vec::from(body.to_bytes()));
        Ok(Answer { status, body })
    }
}

fn hidden(token: &SecretValue) -> Result<HeaderValue, ProviderError> {
    let bytes = Zeroizing::new(token.expose().as_bytes().to_vec());
    let value = HeaderValue::from_maybe_shared(Bytes::from_owner(bytes));
    let mut value = value.map_err(|_| {
        ProviderError::denied(
            "the token holds characters that no token has",
            "write a token, and nothing else, into the token's file",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn late(address: &Address, timeout: Duration) -> ProviderError {
    ProviderError::unavailable(
        format!(
            "the vault at {address} did not answer within {} s",
            timeout.as_secs_f64()
        ),
        "look at the vault, and try again",
    )
}
