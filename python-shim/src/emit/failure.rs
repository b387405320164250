//! Why records could not be sent, in a form that outlives the thread that
//! found it.

use pyo3::exceptions::{PyEOFError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::channel::Broken;
use crate::record::value::Misfit;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// SchemaViolation.
    Misfit {
        /// From 0, of this emitter.
        record: u64,
        field: String,
        expected: String,
        found: String,
    },
    /// RecordTooLarge.
    TooLarge {
        record: u64,
        bytes: usize,
        max: usize,
    },
    /// The schema came from Arrow data and has a type that dicts cannot fill.
    Foreign(String),
    /// The daemon is gone.
    Closed,
    /// The channel failed otherwise.
    Io(i32, String),
    /// Arrow's own word on data that it cannot encode.
    Arrow(String),
    /// Used after close.
    AfterClose,
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed => Self::Closed,
            Broken::Frame(error) => Self::Arrow(error.to_string()),
            Broken::TooLarge(error) => Self::Arrow(error.to_string()),
            Broken::Io(error) => Self::Io(
                error.raw_os_error().unwrap_or_default(),
                format!("the channel: {error}"),
            ),
        }
    }
}

impl From<arrow_schema::ArrowError> for Failure {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Arrow(error.to_string())
    }
}

impl Failure {
    pub(super) fn misfit(record: u64, misfit: &Misfit) -> Self {
        Self::Misfit {
            record,
            field: misfit.field(),
            expected: misfit.expected.clone(),
            found: misfit.found.clone(),
        }
    }

    /// As the exception that says it.
    pub(super) fn raise(self, py: Python<'_>, stream: &str) -> PyErr {
        let details = PyDict::new(py);
        let raised = match self {
            Self::Misfit {
                record,
                field,
                expected,
                found,
            } => {
                let place = if field.is_empty() {
                    String::new()
                } else {
                    format!(", field {field:?}")
                };
                let message = format!(
                    "stream {stream:?}, record {record}{place}: expected {expected}, found {found}"
                );
                details
                    .set_item("record", record)
                    .and_then(|()| details.set_item("field", field))
                    .and_then(|()| details.set_item("expected", expected))
                    .and_then(|()| details.set_item("found", found))
                    .and_then(|()| ours(py, "SchemaViolation", message, stream, &details))
            }
            Self::TooLarge { record, bytes, max } => {
                let message = format!(
                    "stream {stream:?}, record {record}: {bytes} bytes, and a batch holds at most {max}"
                );
                details
                    .set_item("record", record)
                    .and_then(|()| ours(py, "RecordTooLarge", message, stream, &details))
            }
            Self::Foreign(message) => Ok(PyTypeError::new_err(format!(
                "stream {stream:?}: {message}"
            ))),
            Self::Closed => Ok(PyEOFError::new_err("the daemon closed the channel")),
            Self::Io(number, message) => Ok(PyOSError::new_err((number, message))),
            Self::Arrow(message) => Ok(PyValueError::new_err(format!(
                "stream {stream:?}: {message}"
            ))),
            Self::AfterClose => Ok(PyValueError::new_err(format!(
                "stream {stream:?}: the emitter is closed"
            ))),
        };
        raised.unwrap_or_else(|error| error)
    }
}

/// An exception of `caisson.errors`, with its details as attributes.
fn ours(
    py: Python<'_>,
    class: &str,
    message: String,
    stream: &str,
    details: &Bound<'_, PyDict>,
) -> PyResult<PyErr> {
    let exception = py
        .import("caisson.errors")?
        .getattr(class)?
        .call1((message,))?;
    exception.setattr("stream", stream)?;
    for (name, value) in details.iter() {
        exception.setattr(name.cast_into::<pyo3::types::PyString>()?, value)?;
    }
    Ok(PyErr::from_value(exception))
}
