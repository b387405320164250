//! The worker's only socket to its daemon, as Python sees it.
//!
//! [`socket`] moves frames without knowing Python; [`fields`] turns messages
//! into dicts and back.

mod fields;
mod socket;

use std::sync::Arc;
use std::time::{Duration, Instant};

use caisson_wire::OpeningReader;
use caisson_wire::message::to_worker::Message;
use pyo3::exceptions::{PyEOFError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

pub(crate) use socket::{Broken, Socket};

impl From<Broken> for PyErr {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed => PyEOFError::new_err("the daemon closed the channel"),
            Broken::Frame(error) => PyValueError::new_err(error.to_string()),
            Broken::TooLarge(error) => PyValueError::new_err(error.to_string()),
            Broken::Io(error) => PyOSError::new_err((
                error.raw_os_error().unwrap_or_default(),
                format!("the channel: {error}"),
            )),
        }
    }
}

/// See `_native.pyi`.
#[pyclass(frozen, module = "caisson._native")]
pub(crate) struct Channel {
    pub(crate) socket: Arc<Socket>,
}

const NO_BODY: &[u8] = b"";

type Received<'py> = (&'static str, Bound<'py, PyDict>, Bound<'py, PyBytes>);

#[pymethods]
impl Channel {
    #[new]
    fn new(fd: i32) -> PyResult<Self> {
        Ok(Self {
            socket: Arc::new(Socket::from_fd(fd)?),
        })
    }

    fn opening<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut reader = OpeningReader::new();
        let mut first = true;
        loop {
            match py.detach(|| self.socket.receive(None))? {
                socket::Came::Frame(Message::Prepare(prepare), _) if first => {
                    return fields::prepare(py, prepare);
                }
                socket::Came::Frame(message, body) => {
                    first = false;
                    let whole = reader.accept(message, body);
                    let whole = whole.map_err(|error| PyValueError::new_err(error.to_string()))?;
                    if let Some(opening) = whole {
                        return fields::opening(py, opening);
                    }
                }
                socket::Came::Nothing => {}
                socket::Came::Interrupted => py.check_signals()?,
            }
        }
    }

    #[pyo3(signature = (timeout=None))]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Received<'py>>> {
        let deadline = match timeout {
            None => None,
            Some(seconds) => Some(
                Duration::try_from_secs_f64(seconds.max(0.0))
                    .ok()
                    .and_then(|wait| Instant::now().checked_add(wait))
                    .ok_or_else(|| PyValueError::new_err("timeout is no number of seconds"))?,
            ),
        };
        loop {
            let came = py.detach(|| self.socket.receive(deadline))?;
            match came {
                socket::Came::Frame(message, body) => {
                    let (kind, fields) = fields::to_python(py, message)?;
                    return Ok(Some((kind, fields, PyBytes::new(py, &body))));
                }
                socket::Came::Nothing => return Ok(None),
                socket::Came::Interrupted => py.check_signals()?,
            }
        }
    }

    #[pyo3(signature = (kind, fields, body=NO_BODY), text_signature = "($self, kind, fields, body=b'')")]
    fn send(
        &self,
        py: Python<'_>,
        kind: &str,
        fields: &Bound<'_, PyDict>,
        body: &[u8],
    ) -> PyResult<()> {
        let message = fields::from_python(kind, fields)?;
        py.detach(|| self.socket.send(message, &[body]))?;
        Ok(())
    }

    #[getter]
    fn cancelled(&self, py: Python<'_>) -> bool {
        py.detach(|| self.socket.cancelled())
    }
}
