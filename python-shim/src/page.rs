//! Answers in JSON: values by path, and pages of records that are made into
//! objects one by one, or go to the encoder as they lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyIndexError, PyLookupError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyType};

use crate::python;
use crate::record::json::{Ahead, Cursor, Document, Found, Items, Mould};
use crate::trail::{Track, Trail};

/// Records that pages have handed out as objects, in this process.
static HANDED: AtomicU64 = AtomicU64::new(0);

/// Generators within generators that are looked through for a page.
const DELEGATIONS: usize = 16;

/// See `_native.pyi`.
#[pyclass(frozen, module = "caisson._native")]
pub(crate) struct Json {
    content: Py<PyBytes>,
    document: Document,
    ahead: Option<Ahead>,
}

/// See `_native.pyi`.
#[pyclass(module = "caisson._native")]
pub(crate) struct Page {
    json: Py<Json>,
    items: Items,
    track: Option<Py<Track>>,
    place: Place,
}

/// How far a page has been handed out.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Where the next record begins.
    at: usize,
    /// Records from there on, and before.
    left: usize,
    passed: usize,
}

/// A page, for who touches no Python.
pub(crate) struct Parts<'a> {
    pub(crate) text: &'a str,
    /// Where the first record begins.
    pub(crate) start: usize,
    /// Records of the text that are rows already.
    pub(crate) ahead: Option<&'a Ahead>,
    /// How far they are handed out.
    pub(crate) place: &'a mut Place,
}

impl Place {
    /// At the next record; None after the last.
    pub(crate) fn next<'a>(&self, text: &'a str) -> Option<Cursor<'a>> {
        (self.left > 0).then(|| Cursor::new(text, self.at))
    }

    /// The next record ends where the cursor stands.
    pub(crate) fn pass(&mut self, mut record: Cursor<'_>) {
        record.take(b',');
        record.peek();
        self.go(1, record.at());
    }

    /// Over so many records; the next one begins there.
    pub(crate) fn go(&mut self, count: usize, at: usize) {
        self.left -= count;
        self.passed += count;
        self.at = at;
    }

    /// How many records were passed.
    pub(crate) fn passed(&self) -> usize {
        self.passed
    }
}

#[pymethods]
impl Json {
    #[staticmethod]
    #[pyo3(signature = (content, at=None, track=None))]
    fn parse(
        py: Python<'_>,
        content: &Bound<'_, PyAny>,
        at: Option<&str>,
        track: Option<&Bound<'_, Track>>,
    ) -> Option<Self> {
        let content = content.cast::<PyBytes>().ok()?.clone();
        let bytes = content.as_bytes();
        let mould = track.and_then(|track| track.get().mould());
        let (document, ahead) = py.detach(|| {
            let text = std::str::from_utf8(bytes).ok()?;
            let mut ahead = mould.and_then(|mould| Ahead::new(&mould, at, text.len()));
            let document = Document::of(text, ahead.as_mut())?;
            Some((document, ahead))
        })?;
        Some(Self {
            content: content.unbind(),
            document,
            ahead,
        })
    }

    #[getter]
    fn ahead(&self) -> usize {
        self.ahead.as_ref().map_or(0, Ahead::rows)
    }

    #[pyo3(signature = (at=None))]
    fn find<'py>(&self, py: Python<'py>, at: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        let text = self.text(py);
        match self.document.find(text, at) {
            Found::At(start) => {
                let mut value = Cursor::new(text, start);
                if at.is_some() && matches!(value.peek(), Some(b'[' | b'{')) {
                    return Err(PyLookupError::new_err(
                        "a part of the whole, not a copy of it",
                    ));
                }
                python::object(py, &mut value)
            }
            Found::Nothing => Ok(py.None().into_bound(py)),
            Found::Odd => Err(PyLookupError::new_err("only Python knows this path")),
        }
    }

    #[pyo3(signature = (at=None, track=None))]
    fn page(slf: Bound<'_, Self>, at: Option<&str>, track: Option<Py<Track>>) -> Option<Page> {
        let json = slf.get();
        let text = json.text(slf.py());
        let Found::At(start) = json.document.find(text, at) else {
            return None;
        };
        let items = json.document.items(text, start)?;
        Some(Page {
            items,
            track,
            place: Place {
                at: items.start,
                left: items.count,
                passed: 0,
            },
            json: slf.unbind(),
        })
    }
}

impl Json {
    fn text<'py>(&'py self, py: Python<'py>) -> &'py str {
        let bytes = self.content.as_bytes(py);
        // SAFETY: bytes objects do not change, and `parse`, the only way to
        // make a Json, has found that these are UTF-8.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }
}

#[pymethods]
impl Page {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let record = self.take(py)?;
        if let Some(record) = &record {
            if let Some(track) = &self.track {
                track.get().give(py, record);
            }
            HANDED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(record)
    }

    fn __len__(&self) -> usize {
        self.items.count
    }

    /// Of sequences, what paginators ask for: the last one.
    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyAny>> {
        if index != -1 || self.items.count == 0 {
            return Err(PyIndexError::new_err("a page gives its last record alone"));
        }
        let text = self.json.get().text(py);
        python::object(py, &mut Cursor::new(text, self.items.last))
    }
}

impl Page {
    /// What the records are in.
    pub(crate) fn parts<'a>(&'a mut self, py: Python<'a>) -> Parts<'a> {
        let json = self.json.get();
        Parts {
            text: json.text(py),
            start: self.items.start,
            ahead: json.ahead.as_ref(),
            place: &mut self.place,
        }
    }

    /// Its records became this; the next page's may be made so at once.
    pub(crate) fn became(&self, mould: &Arc<Mould>) {
        if let Some(track) = &self.track {
            track.get().became(mould);
        }
    }

    /// The next record as an object, of which no track is told.
    pub(crate) fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(mut cursor) = self.place.next(self.json.get().text(py)) else {
            return Ok(None);
        };
        let record = python::object(py, &mut cursor)?;
        self.place.pass(cursor);
        Ok(Some(record))
    }

    /// Whether the next record is an object.
    pub(crate) fn is_at_object(&mut self, py: Python<'_>) -> bool {
        let Parts { text, place, .. } = self.parts(py);
        place.next(text).and_then(|mut record| record.peek()) == Some(b'{')
    }

    /// So many records came out of a stream unseen; `trail` is the stream's.
    pub(crate) fn went_through(
        &self,
        py: Python<'_>,
        count: u64,
        trail: Option<&Bound<'_, Trail>>,
    ) {
        let Some(trail) = trail.filter(|_| count > 0) else {
            return;
        };
        match &self.track {
            Some(track) if track.get().is_of(trail) => track.get().through(py, count),
            // Of another stream: its track still waits for the record that
            // came before these.
            _ => trail.get().foreign(py),
        }
    }
}

/// Changes whenever a page hands out a record.
pub(crate) fn handed() -> u64 {
    HANDED.load(Ordering::Relaxed)
}

/// The page whose records a generator hands on untouched and unseen: it, or
/// what it delegates to, is in the middle of `yield from` one (PEP 380), so
/// that its next record is the page's next.
pub(crate) fn delegated<'py>(source: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Page>>> {
    static GENERATOR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = source.py();
    let generator = GENERATOR.import(py, "types", "GeneratorType")?;
    let mut source = source.clone();
    for _ in 0..DELEGATIONS {
        if let Ok(page) = source.cast_exact::<Page>() {
            return Ok(Some(page.clone()));
        }
        if !source.get_type().is(generator) {
            break;
        }
        source = source.getattr(intern!(py, "gi_yieldfrom"))?;
    }
    Ok(None)
}
