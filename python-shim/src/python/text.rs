//! JSON text into Python objects, as `json.loads` makes them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

use crate::record::json::Cursor;
use crate::record::json_text;

/// Keys that are remembered, and how long they may be.
const KEYS: usize = 512;
const LONGEST: usize = 48;

/// The string objects of keys seen before: the same objects from page to
/// page, which the walk over dicts knows by address.
#[derive(Default)]
struct Keys {
    seen: Vec<Key>,
    by_name: HashMap<Box<str>, usize>,
    /// The one that came last.
    last: usize,
}

struct Key {
    /// `"name":`, as it mostly stands.
    quoted: Box<[u8]>,
    object: Py<PyString>,
    /// What followed it the last time: records of one source have much the
    /// same keys in much the same order.
    next: usize,
}

/// Taken out while objects are made: making them may run other Python code,
/// which may get here again and does without.
static KEYS_SEEN: Mutex<Option<Keys>> = Mutex::new(None);

impl Keys {
    /// The key at the cursor, and over the colon behind it.
    fn read(&mut self, py: Python<'_>, text: &mut Cursor<'_>) -> PyResult<Py<PyString>> {
        text.peek();
        if let Some(key) = self.seen.get(self.last)
            && let Some(expected) = self.seen.get(key.next)
            && text.take_all(&expected.quoted)
        {
            self.last = key.next;
            return Ok(expected.object.clone_ref(py));
        }
        let name = text.key().ok_or_else(not_plain)?;
        let known = self.by_name.get(&*name).copied();
        let Some(index) = known.or_else(|| self.remember(py, &name)) else {
            return Ok(PyString::new(py, &name).unbind());
        };
        if let Some(before) = self.seen.get_mut(self.last) {
            before.next = index;
        }
        self.last = index;
        Ok(self.seen[index].object.clone_ref(py))
    }

    fn remember(&mut self, py: Python<'_>, name: &str) -> Option<usize> {
        if self.seen.len() == KEYS || name.len() > LONGEST {
            return None;
        }
        let mut quoted = Vec::new();
        json_text::string(&mut quoted, name);
        quoted.push(b':');
        self.seen.push(Key {
            quoted: quoted.into(),
            object: PyString::new(py, name).unbind(),
            next: 0,
        });
        let index = self.seen.len() - 1;
        self.by_name.insert(name.into(), index);
        Some(index)
    }
}

/// The value that begins at the cursor, of a text that is plain.
pub(crate) fn object<'py>(py: Python<'py>, text: &mut Cursor<'_>) -> PyResult<Bound<'py, PyAny>> {
    let seen = || KEYS_SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut keys = seen().take().unwrap_or_default();
    let object = value(py, text, &mut keys);
    *seen() = Some(keys);
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
                let key = keys.read(py, text)?;
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
