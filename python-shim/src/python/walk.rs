//! Dicts in the order of their keys, each key recognised by its address.
//!
//! Records of one source carry the same key objects in much the same order,
//! so the walk expects the key that followed the last time and compares
//! pointers. Only a key object not seen before is looked at as text.

use std::collections::HashMap;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::Fault;
use crate::record::kind::{Kind, Slot};
use crate::record::value::Misfit;

/// Key objects of unknown fields that are remembered; beyond that, they are
/// read as text.
const REMEMBERED: usize = 64;

/// What the dicts at one place of the schema look like.
pub(crate) struct Shape {
    /// Key objects, and the fields they name: None for an unknown one. Owned,
    /// so that no other object can take an address that is remembered.
    keys: Vec<(Py<PyString>, Option<usize>)>,
    index: HashMap<Box<str>, usize>,
    /// The shape of the dicts within each field, through lists and maps.
    children: Vec<Option<Box<Shape>>>,
    /// The walk in which each field was last seen.
    marks: Vec<u64>,
    walk: u64,
}

/// Takes what a walk finds.
pub(super) trait Visit {
    fn field(
        &mut self,
        index: usize,
        value: &Bound<'_, PyAny>,
        child: Option<&mut Shape>,
    ) -> Result<(), Fault>;

    fn unknown(&mut self, name: &str, value: &Bound<'_, PyAny>) -> Result<(), Fault>;
}

impl Shape {
    /// Of dicts with these fields, but without the one that is called `not`.
    pub(crate) fn new(slots: &[Slot], not: Option<&str>) -> Self {
        Self {
            keys: Vec::new(),
            index: slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| Some(&*slot.name) != not)
                .map(|(at, slot)| (slot.name.clone(), at))
                .collect(),
            children: slots.iter().map(|slot| Self::within(&slot.kind)).collect(),
            marks: vec![0; slots.len()],
            walk: 0,
        }
    }

    fn within(kind: &Kind) -> Option<Box<Self>> {
        match kind {
            Kind::Struct(slots) => Some(Box::new(Self::new(slots, None))),
            Kind::List(item) | Kind::Map(item) => Self::within(&item.kind),
            _ => None,
        }
    }

    /// Whether the last walk saw this field.
    pub(super) fn saw(&self, index: usize) -> bool {
        self.marks[index] == self.walk
    }

    /// Shows every item of the dict to `visit`; gives how many of them were
    /// fields.
    pub(super) fn walk(
        &mut self,
        dict: &Bound<'_, PyDict>,
        visit: &mut impl Visit,
    ) -> Result<usize, Fault> {
        let py = dict.py();
        self.walk += 1;
        let mut seen = 0;
        let mut expected = 0;
        let mut position = 0;
        let mut key = std::ptr::null_mut();
        let mut value = std::ptr::null_mut();
        loop {
            // SAFETY: `dict` is a live dict and the thread is attached.
            // PyDict_Next checks its position against the dict each time, so
            // a dict that changed meanwhile costs items, not memory.
            let more =
                unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) };
            if more == 0 {
                return Ok(seen);
            }
            // SAFETY: both are borrowed from the dict and live now; the
            // references taken here keep them while their own code runs.
            let (key, value) = unsafe {
                (
                    Borrowed::from_ptr(py, key),
                    Bound::from_borrowed_ptr(py, value),
                )
            };
            let at = match self.keys.get(expected) {
                Some((known, _)) if known.as_ptr() == key.as_ptr() => Some(expected),
                _ => self
                    .keys
                    .iter()
                    .position(|(known, _)| known.as_ptr() == key.as_ptr()),
            };
            let field = match at {
                Some(at) => {
                    expected = at + 1;
                    self.keys[at].1
                }
                None => self.meet(&key.to_owned(), &mut expected)?,
            };
            match field {
                Some(index) => {
                    self.marks[index] = self.walk;
                    seen += 1;
                    visit.field(index, &value, self.children[index].as_deref_mut())?;
                }
                None => {
                    let key = key
                        .to_owned()
                        .cast_into::<PyString>()
                        .map_err(PyErr::from)?;
                    visit.unknown(key.to_str()?, &value)?;
                }
            }
        }
    }

    /// A key object that was not seen before.
    fn meet(
        &mut self,
        key: &Bound<'_, PyAny>,
        expected: &mut usize,
    ) -> Result<Option<usize>, Fault> {
        let Ok(text) = key.cast::<PyString>() else {
            return Err(not_text(key));
        };
        let field = self.index.get(text.to_str()?).copied();
        // The same name under another address takes the place of the old one.
        let known = field.and_then(|_| self.keys.iter().position(|(_, of)| *of == field));
        match known {
            Some(at) => {
                self.keys[at].0 = text.clone().unbind();
                *expected = at + 1;
            }
            None if field.is_some() || self.keys.len() < self.index.len() + REMEMBERED => {
                let at = (*expected).min(self.keys.len());
                self.keys.insert(at, (text.clone().unbind(), field));
                *expected = at + 1;
            }
            None => {}
        }
        Ok(field)
    }
}

/// The error for a key that is no string.
pub(super) fn not_text(key: &Bound<'_, PyAny>) -> Fault {
    let found = key
        .get_type()
        .name()
        .map_or_else(|_| "another type".to_owned(), |name| name.to_string());
    Misfit::new("keys of type str", format!("a key of type {found}")).into()
}
