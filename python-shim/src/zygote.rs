//! `serve_forks`: the interpreter as a zygote, of which workers are forked.

use caisson_sandbox::zygote::{self, Forks};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// What CPython does around `os.fork`: its locks, the state of its threads, and what modules registered with
/// `os.register_at_fork` (`random` seeds itself anew).
struct Interpreter<'py> {
    get_ready: Bound<'py, PyAny>,
}

impl Forks for Interpreter<'_> {
    fn before(&self) {
        // SAFETY: `serve_forks` is called with the interpreter attached, and stays so until it returns.
        unsafe { pyo3::ffi::PyOS_BeforeFork() }
    }

    fn in_parent(&self) {
        // SAFETY: as above, after `before`.
        unsafe { pyo3::ffi::PyOS_AfterFork_Parent() }
    }

    fn in_child(&self) {
        // SAFETY: as above, in the only thread of the new process.
        unsafe { pyo3::ffi::PyOS_AfterFork_Child() }
    }

    fn get_ready(&self, has_come: bool) {
        // A worker says itself what it cannot do.
        if let Err(error) = self.get_ready.call1((has_come,)) {
            error.print(self.get_ready.py());
        }
    }
}

/// What the worker's `main` is called with: channel, profile, (signal, descriptor) for stacks.
type Arguments = (i32, String, (i32, i32));

/// See `_native.pyi`.
#[pyfunction]
pub(crate) fn serve_forks(get_ready: Bound<'_, PyAny>) -> PyResult<Option<Arguments>> {
    let made =
        zygote::serve(&Interpreter { get_ready }).map_err(|e| PyOSError::new_err(e.to_string()))?;
    Ok(made.map(|made| {
        let stacks = (made.stacks_signal, made.stacks);
        (made.channel, made.profile, stacks)
    }))
}
