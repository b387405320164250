//! The last lock on the door: the final seccomp filter, put on from inside.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// Puts the final seccomp filter of `profile` on every thread. Irreversible.
#[pyfunction]
pub(crate) fn lock(profile: &str) -> PyResult<()> {
    caisson_sandbox::lock_profile(profile).map_err(|error| PyOSError::new_err(error.to_string()))
}
