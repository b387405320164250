//! Blocking HTTP/1.1 over a pool of connections: rustls with ring, roots from
//! a file, timeouts always, redirects and statuses left to the caller.

use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, http};

pyo3::create_exception!(
    caisson._native,
    TransportError,
    PyException,
    "A request that got no answer. args: (kind, message)."
);

/// Where Debian keeps the roots, and what a worker finds in its sandbox.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// See `_native.pyi`.
#[pyclass(frozen, module = "caisson._native")]
pub(crate) struct HttpTransport {
    agent: Agent,
    read_timeout: Duration,
    max_body: u64,
    /// Room for a body while it comes, kept from one to the next.
    room: Mutex<Vec<u8>>,
}

/// Room beyond this is not kept, and not made ready before bytes come.
const KEPT: usize = 4 << 20;

/// What went wrong, in the words of the stub.
enum Fault {
    Transport(&'static str, String),
    Value(String),
}

/// Status, headers, and the length of the body.
type Answer = (u16, Vec<(String, Vec<u8>)>, usize);

/// The same for Python, with the body.
type Told<'py> = (u16, Vec<(String, String)>, Bound<'py, PyBytes>);

fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| PyValueError::new_err(format!("{name} is a number of seconds above 0")))
}

/// The roots in `file`. Where only the environment or habit names one and it
/// is not there, nobody is trusted, and plain HTTP still works.
fn roots(file: Option<String>) -> PyResult<RootCerts> {
    let named = file.is_some();
    let path = file
        .or_else(|| std::env::var("SSL_CERT_FILE").ok())
        .unwrap_or_else(|| ROOTS.to_owned());
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(_) if !named => Vec::new(),
        Err(error) => return Err(PyValueError::new_err(format!("{path}: {error}"))),
    };
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let der =
            certificate.map_err(|error| PyValueError::new_err(format!("{path}: {error:?}")))?;
        certificates.push(Certificate::from_der(&der).to_owned());
    }
    if named && certificates.is_empty() {
        return Err(PyValueError::new_err(format!(
            "{path}: holds no certificate"
        )));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

#[pymethods]
impl HttpTransport {
    #[new]
    #[pyo3(signature = (
        *, connect_timeout=10.0, read_timeout=60.0, ca_file=None, user_agent="caisson",
        max_body=268_435_456
    ))]
    fn new(
        connect_timeout: f64,
        read_timeout: f64,
        ca_file: Option<String>,
        user_agent: &str,
        max_body: u64,
    ) -> PyResult<Self> {
        let read_timeout = seconds("read_timeout", read_timeout)?;
        let connect_timeout = seconds("connect_timeout", connect_timeout)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots(ca_file)?)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .allow_non_standard_methods(true)
            .user_agent(user_agent)
            .accept("*/*")
            .timeout_connect(Some(connect_timeout))
            .timeout_resolve(Some(connect_timeout))
            .timeout_per_read(Some(read_timeout))
            .timeout_per_write(Some(read_timeout))
            .max_idle_connections_per_host(16)
            .build()
            .new_agent();
        Ok(Self {
            agent,
            read_timeout,
            max_body,
            room: Mutex::default(),
        })
    }

    #[pyo3(signature = (method, url, headers, body=None, timeout=None))]
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        url: &str,
        headers: Vec<(String, String)>,
        body: Option<&[u8]>,
        timeout: Option<f64>,
    ) -> PyResult<Told<'py>> {
        let timeout = timeout.map(|limit| seconds("timeout", limit)).transpose()?;
        // Taken out, as another thread may ask meanwhile.
        let mut room = std::mem::take(&mut *self.room());
        let answer = py.detach(|| self.exchange(method, url, &headers, body, timeout, &mut room));
        let (status, headers, length) = answer.map_err(|fault| match fault {
            Fault::Transport(kind, message) => TransportError::new_err((kind, message)),
            Fault::Value(message) => PyValueError::new_err(message),
        })?;
        let body = PyBytes::new(py, &room[..length]);
        if room.len() <= KEPT {
            *self.room() = room;
        }
        let headers = headers
            .into_iter()
            // Headers are Latin-1 by tradition; UTF-8 where they happen to be.
            .map(|(name, value)| match String::from_utf8(value) {
                Ok(value) => (name, value),
                Err(raw) => (
                    name,
                    raw.into_bytes().iter().map(|b| char::from(*b)).collect(),
                ),
            })
            .collect();
        Ok((status, headers, body))
    }
}

impl HttpTransport {
    fn room(&self) -> MutexGuard<'_, Vec<u8>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: Option<&[u8]>,
        timeout: Option<Duration>,
        room: &mut Vec<u8>,
    ) -> Result<Answer, Fault> {
        let value =
            |what: &str, error: &dyn std::fmt::Display| Fault::Value(format!("{what}: {error}"));
        let method =
            http::Method::from_bytes(method.as_bytes()).map_err(|error| value("method", &error))?;
        let uri: http::Uri = url.parse().map_err(|error| value("URL", &error))?;
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || uri.host().is_none_or(str::is_empty)
        {
            return Err(Fault::Value(
                "URL: it begins with http:// or https:// and a host".into(),
            ));
        }
        let mut request = http::Request::builder().method(&method).uri(uri);
        for (name, text) in headers {
            // Never the value in a message: it may be a secret.
            let content = http::HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                Fault::Value(format!(
                    "header {name:?}: a value without control characters"
                ))
            })?;
            request = request.header(name.as_str(), content);
        }
        let agent = &self.agent;
        // Methods that usually carry a body say so when there is none.
        let expected = ["POST", "PUT", "PATCH"].contains(&method.as_str());
        let answered = match body.or(expected.then_some(&[])) {
            Some(body) => {
                let request = request
                    .body(body)
                    .map_err(|error| value("header", &error))?;
                let request = agent
                    .configure_request(request)
                    .timeout_global(timeout)
                    .build();
                agent.run(request)
            }
            None => {
                let request = request.body(()).map_err(|error| value("header", &error))?;
                let request = agent
                    .configure_request(request)
                    .timeout_global(timeout)
                    .build();
                agent.run(request)
            }
        };
        let answer = answered.map_err(|error| self.fault(error))?;
        let (head, body) = answer.into_parts();
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect();
        Ok((head.status.as_u16(), headers, self.body(body, room)?))
    }

    /// Reads a body into the front of `room`, which grows where it must, and
    /// gives its length.
    fn body(&self, body: ureq::Body, room: &mut Vec<u8>) -> Result<usize, Fault> {
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut length = 0;
        loop {
            if length == room.len() {
                if length >= KEPT {
                    break;
                }
                room.resize((2 * length).max(64 << 10), 0);
            }
            let read = match reader.read(&mut room[length..]) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fault(error.into())),
            };
            length += read;
            if read == 0 || length as u64 > self.max_body {
                return self.fitting(length);
            }
        }
        let more = self.max_body.saturating_add(1) - length as u64;
        (&mut reader)
            .take(more)
            .read_to_end(room)
            .map_err(|error| self.fault(error.into()))?;
        self.fitting(room.len())
    }

    fn fitting(&self, length: usize) -> Result<usize, Fault> {
        if length as u64 <= self.max_body {
            return Ok(length);
        }
        let message = format!("the answer is over {} bytes", self.max_body);
        Err(Fault::Transport("too_large", message))
    }

    /// Where an error belongs.
    fn fault(&self, error: ureq::Error) -> Fault {
        use std::io::ErrorKind;
        let message = error.to_string();
        let kind = match error {
            ureq::Error::HostNotFound => "dns",
            ureq::Error::Timeout(_) => "timeout",
            ureq::Error::ConnectionFailed => "connect",
            ureq::Error::Tls(_) | ureq::Error::Pem(_) | ureq::Error::Rustls(_) => "tls",
            ureq::Error::LargeResponseHeader(..) => "too_large",
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => return Fault::Value(message),
            ureq::Error::Io(io) => match io.kind() {
                // ureq's own errors come back out of readers inside of one.
                _ if io.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) => {
                    let inner = io
                        .into_inner()
                        .and_then(|inner| inner.downcast::<ureq::Error>().ok());
                    return match inner {
                        Some(inner) => self.fault(*inner),
                        None => Fault::Transport("protocol", message),
                    };
                }
                _ if io
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>()) =>
                {
                    "tls"
                }
                ErrorKind::TimedOut | ErrorKind::WouldBlock => "timeout",
                ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable => "connect",
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof => "reset",
                _ if message.contains("failed to lookup address") => "dns",
                _ => "protocol",
            },
            _ => "protocol",
        };
        let message = match kind {
            "timeout" => format!(
                "{message} (no byte for {:?}, or the request's own limit)",
                self.read_timeout
            ),
            _ => message,
        };
        Fault::Transport(kind, message)
    }
}
