//! JSON text into Python objects, as `json.loads` makes them.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

use crate::record::json::Cursor;

/// Keys that are remembered, and how long they may be.
const KEYS: usize = 512;
const LONGEST: usize = 48;

/// The string objects of keys seen before, by a hash of their text: the same
/// objects from page to page, which the walk over dicts knows by address.
#[derive(Default)]
struct Keys(Vec<Option<(Box<str>, Py<PyString>)>>);

/// Taken out while objects are made: making them may run other Python code,
/// which may get here again and does without.
static KEYS_SEEN: Mutex<Keys> = Mutex::new(Keys(Vec::new()));

impl Keys {
    fn get<'py>(&mut self, py: Python<'py>, key: &str) -> Bound<'py, PyString> {
        if key.len() > LONGEST {
            return PyString::new(py, key);
        }
        if self.0.is_empty() {
            self.0.resize_with(KEYS, || None);
        }
        // FNV-1a.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let place = &mut self.0[hash as usize % KEYS];
        match place {
            Some((known, object)) if **known == *key => object.bind(py).clone(),
            _ => {
                let object = PyString::new(py, key);
                *place = Some((key.into(), object.clone().unbind()));
                object
            }
        }
    }
}

/// The value that begins at the cursor, of a text that is plain.
pub(crate) fn object<'py>(py: Python<'py>, text: &mut Cursor<'_>) -> PyResult<Bound<'py, PyAny>> {
    let seen = || KEYS_SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut keys = std::mem::take(&mut *seen());
    let object = value(py, text, &mut keys);
    *seen() = keys;
    object
}

fn value<'py>(
    py: Python<'py>,
    text: &mut Cursor<'_>,
    keys: &mut Keys,
) -> PyResult<Bound<'py, PyAny>> {
    let first = text.peek().ok_or_else(not_plain)?;
    Ok(match first {
        b'"' => {
            let string = text.string().ok_or_else(not_plain)?;
            PyString::new(py, &string).into_any()
        }
        b'{' => {
            text.take(b'{');
            let dict = PyDict::new(py);
            let mut first = true;
            while text.more(b'}', &mut first).ok_or_else(not_plain)? {
                let key = text.key().ok_or_else(not_plain)?;
                let key = keys.get(py, &key);
                dict.set_item(key, value(py, text, keys)?)?;
            }
            dict.into_any()
        }
        b'[' => {
            text.take(b'[');
            let list = PyList::empty(py);
            let mut first = true;
            while text.more(b']', &mut first).ok_or_else(not_plain)? {
                list.append(value(py, text, keys)?)?;
            }
            list.into_any()
        }
        b't' => {
            text.word("true").ok_or_else(not_plain)?;
            PyBool::new(py, true).to_owned().into_any()
        }
        b'f' => {
            text.word("false").ok_or_else(not_plain)?;
            PyBool::new(py, false).to_owned().into_any()
        }
        b'n' => {
            text.word("null").ok_or_else(not_plain)?;
            py.None().into_bound(py)
        }
        _ => {
            let number = text.number().ok_or_else(not_plain)?;
            match number.int() {
                Some(int) => int.into_pyobject(py)?.into_any(),
                None if number.whole => py.get_type::<PyInt>().call1((number.text,))?,
                None => PyFloat::new(py, number.float()).into_any(),
            }
        }
    })
}

/// Of texts that were looked at before, so that this does not happen.
fn not_plain() -> PyErr {
    PyValueError::new_err("JSON text that was not looked at")
}
