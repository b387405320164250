//! From Python objects to columns and lines: each dict is walked once.

mod columns;
mod json;
mod lines;
mod objects;
mod text;
mod walk;

use pyo3::PyErr;

// One that contains itself is deeper.
use crate::record::json::DEPTH;
use crate::record::value::{Misfit, Trail};

pub(crate) use columns::push as push_columns;
pub(crate) use lines::push as push_lines;
pub(crate) use objects::{json_document, pairs};
pub(crate) use text::object;
pub(crate) use walk::Shape;

/// Why an object did not become a value.
pub(crate) enum Fault {
    Misfit(Box<Misfit>),
    /// Its own Python code raised.
    Python(PyErr),
}

impl From<Box<Misfit>> for Fault {
    fn from(misfit: Box<Misfit>) -> Self {
        Self::Misfit(misfit)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Fault {
    fn within(self, name: &str) -> Self {
        match self {
            Self::Misfit(misfit) => Self::Misfit(misfit.within(name)),
            python => python,
        }
    }

    fn at(self, index: usize) -> Self {
        match self {
            Self::Misfit(misfit) => Self::Misfit(misfit.at(index)),
            python => python,
        }
    }
}

fn too_deep() -> Fault {
    Misfit::new(format!("at most {DEPTH} levels"), "deeper nesting").into()
}

/// A step of a value's path, seen from its container.
#[derive(Clone, Copy)]
enum At<'a> {
    Field,
    Item(usize),
    Key(&'a str),
}

impl At<'_> {
    /// The value's own path; `name` is its field's.
    fn below<'a>(&'a self, above: &'a Trail<'a>, name: &'a str) -> Trail<'a> {
        match self {
            Self::Field => Trail::Field(above, name),
            Self::Item(index) => Trail::Item(above, *index),
            Self::Key(key) => Trail::Field(above, key),
        }
    }
}
