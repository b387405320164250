//! The last lock on the door: the final seccomp filter, put on from inside.

use caisson_sandbox::{LockError, lock_profile};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// Puts the final seccomp filter of `profile` on every thread. Irreversible.
#[pyfunction]
pub(crate) fn lock(profile: &str) -> PyResult<()> {
    lock_profile(profile).map_err(|error| match error {
        LockError::UnknownProfile(_) => PyValueError::new_err(error.to_string()),
        LockError::Profile { .. } | LockError::Kernel(_) => PyOSError::new_err(error.to_string()),
    })
}
