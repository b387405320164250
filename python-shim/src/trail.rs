//! Which pages have gone through a stream completely; see `_native.pyi`.
//!
//! Numbers for the records that a track hands out, and what came out of them.
//! Objects are let go of outside of the lock: what their end runs may come
//! back here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;
use pyo3::types::PyDict;

use crate::record::json::Mould;

/// Requests that one state remembers; further ones are read again after a
/// fault.
const MAX_PAGES: usize = 2_000;

/// Records that an author may hold back, once `MAX_OPEN` pages are, before
/// the track is given up.
const MAX_HELD: usize = 1_000;

/// Pages that an author may collect, however long they are.
const MAX_OPEN: usize = 3;

/// Tracks that have ended while the author still has records of them; each is
/// looked at for each record.
const MAX_LINGERING: usize = 32;

/// See `_native.pyi`.
#[pyclass(frozen, module = "caisson._native")]
pub(crate) struct Trail {
    inner: Mutex<Inner>,
}

/// See `_native.pyi`.
#[pyclass(frozen, module = "caisson._native")]
pub(crate) struct Track {
    trail: Py<Trail>,
    id: u64,
    /// What the encoder made of its records, if they went to it as they lay.
    mould: Mutex<Option<Arc<Mould>>>,
}

#[derive(Default)]
struct Inner {
    /// What is done, by request.
    pages: BTreeMap<String, Py<PyAny>>,
    moves: u64,
    /// Those that hand out records, and those that linger.
    ways: Vec<Way>,
    lingering: VecDeque<u64>,
    opened: u64,
    /// How often each request was opened.
    names: HashMap<String, u64>,
    /// Records came out that are of no track.
    foreign: bool,
    arrived: Option<(u64, u64)>,
}

/// One sequence of pages.
struct Way {
    id: u64,
    name: String,
    /// What the author has, by address, and its number.
    given: HashMap<usize, (u64, Py<PyAny>)>,
    /// The numbers of what the author has.
    out: BTreeSet<u64>,
    /// The last number of each page that is not done, and the next one's token.
    marks: VecDeque<(u64, Py<PyAny>)>,
    /// The number of the last record handed out.
    last: u64,
    /// The highest number that came out.
    reached: u64,
    /// The last number of the last page that is done.
    settled: u64,
    lost: bool,
}

impl Way {
    /// Nothing came out beyond the pages that are done.
    fn clean(&self) -> bool {
        self.reached <= self.settled
    }

    /// The lowest number that the author has, or the next one.
    fn oldest(&self) -> u64 {
        self.out.first().copied().unwrap_or(self.last + 1)
    }

    /// Takes the marks that are done.
    fn settle(&mut self, through: u64) -> Vec<Py<PyAny>> {
        let mut tokens = Vec::new();
        while self.marks.front().is_some_and(|mark| mark.0 <= through)
            && let Some((number, token)) = self.marks.pop_front()
        {
            if number >= self.reached {
                self.settled = number;
                tokens.push(token);
            }
        }
        tokens
    }
}

impl Inner {
    fn way(&mut self, id: u64) -> Option<&mut Way> {
        self.ways.iter_mut().find(|way| way.id == id)
    }

    /// Everything of a track before these tokens came out. Gives what is to
    /// be let go of.
    fn done(&mut self, id: u64, tokens: Vec<Py<PyAny>>) -> Vec<Py<PyAny>> {
        let mut old = Vec::new();
        let Some(way) = self.ways.iter().find(|way| way.id == id) else {
            return tokens;
        };
        for token in tokens {
            if self.pages.contains_key(&way.name) || self.pages.len() < MAX_PAGES {
                old.extend(self.pages.insert(way.name.clone(), token));
                self.moves += 1;
            } else {
                self.foreign = true;
                old.push(token);
            }
        }
        old
    }

    fn arrive(&mut self, address: usize) -> Vec<Py<PyAny>> {
        self.arrived = None;
        for way in &mut self.ways {
            let Some((number, object)) = way.given.remove(&address) else {
                continue;
            };
            way.out.remove(&number);
            let id = way.id;
            self.arrived = Some((id, number));
            let tokens = match way.marks.is_empty() {
                true => Vec::new(),
                false => way.settle(number.min(way.oldest()) - 1),
            };
            let mut old = self.done(id, tokens);
            old.push(object);
            return old;
        }
        Vec::new()
    }

    fn passed(&mut self) {
        let Some((id, number)) = self.arrived else {
            self.foreign = true;
            return;
        };
        if let Some(way) = self.way(id) {
            way.reached = way.reached.max(number);
        }
    }

    fn close(&mut self, id: u64) -> Option<Way> {
        let at = self.ways.iter().position(|way| way.id == id)?;
        let way = self.ways.remove(at);
        self.foreign |= !way.clean();
        Some(way)
    }
}

impl Trail {
    fn inner(&self, py: Python<'_>) -> MutexGuard<'_, Inner> {
        self.inner
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a page may be done when this record comes out: one of the
    /// record's own track.
    pub(crate) fn waits(&self, py: Python<'_>, record: &Bound<'_, PyAny>) -> bool {
        let address = record.as_ptr() as usize;
        let inner = self.inner(py);
        let mut ways = inner.ways.iter();
        ways.any(|way| !way.marks.is_empty() && way.given.contains_key(&address))
    }
}

#[pymethods]
impl Trail {
    #[new]
    fn new(pages: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut inner = Inner::default();
        for (name, token) in pages {
            inner.pages.insert(name.extract()?, token.unbind());
        }
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    #[getter]
    fn pages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let pages: Vec<_> = {
            let inner = self.inner(py);
            let each = inner.pages.iter();
            each.map(|(name, token)| (name.clone(), token.clone_ref(py)))
                .collect()
        };
        let dict = PyDict::new(py);
        for (name, token) in pages {
            dict.set_item(name, token)?;
        }
        Ok(dict)
    }

    #[getter]
    fn moves(&self, py: Python<'_>) -> u64 {
        self.inner(py).moves
    }

    #[getter]
    fn exact(&self, py: Python<'_>) -> bool {
        let inner = self.inner(py);
        !inner.foreign && inner.ways.iter().all(Way::clean)
    }

    #[getter]
    fn tracks(&self, py: Python<'_>) -> usize {
        self.inner(py).ways.len()
    }

    pub(crate) fn foreign(&self, py: Python<'_>) {
        self.inner(py).foreign = true;
    }

    fn open(slf: Bound<'_, Self>, request: String) -> Track {
        let id = {
            let mut inner = slf.get().inner(slf.py());
            let count = inner.names.entry(request.clone()).or_default();
            *count += 1;
            let name = match *count {
                1 => request,
                count => format!("{request}#{count}"),
            };
            inner.opened += 1;
            let id = inner.opened;
            inner.ways.push(Way {
                id,
                name,
                given: HashMap::new(),
                out: BTreeSet::new(),
                marks: VecDeque::new(),
                last: 0,
                reached: 0,
                settled: 0,
                lost: false,
            });
            id
        };
        Track {
            trail: slf.unbind(),
            id,
            mould: Mutex::default(),
        }
    }

    pub(crate) fn arrive(&self, py: Python<'_>, record: &Bound<'_, PyAny>) {
        let address = record.as_ptr() as usize;
        let old = self.inner(py).arrive(address);
        drop(old);
    }

    pub(crate) fn passed(&self, py: Python<'_>) {
        self.inner(py).passed();
    }

    fn restart(&self, py: Python<'_>) {
        let old = {
            let mut inner = self.inner(py);
            let new = Inner {
                opened: inner.opened,
                moves: inner.moves,
                ..Inner::default()
            };
            std::mem::replace(&mut *inner, new)
        };
        drop(old);
    }
}

#[pymethods]
impl Track {
    #[getter]
    fn resume(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let inner = self.trail.get().inner(py);
        let way = inner.ways.iter().find(|way| way.id == self.id)?;
        inner.pages.get(&way.name).map(|token| token.clone_ref(py))
    }

    #[getter]
    fn held(&self, py: Python<'_>) -> usize {
        let mut inner = self.trail.get().inner(py);
        inner.way(self.id).map_or(0, |way| way.given.len())
    }

    pub(crate) fn give(&self, py: Python<'_>, record: &Bound<'_, PyAny>) {
        let address = record.as_ptr() as usize;
        let mut inner = self.trail.get().inner(py);
        let Some(way) = inner.way(self.id) else {
            return;
        };
        way.last += 1;
        if way.lost {
            return;
        }
        let number = way.last;
        way.out.insert(number);
        let kept = (number, record.clone().unbind());
        let old = way.given.insert(address, kept);
        drop(inner);
        drop(old);
    }

    fn page(&self, py: Python<'_>, token: Py<PyAny>) {
        let mut inner = self.trail.get().inner(py);
        let Some(way) = inner.way(self.id).filter(|way| !way.lost) else {
            return;
        };
        way.marks.push_back((way.last, token));
        let mut given_up = None;
        let mut tokens = Vec::new();
        if way.out.is_empty() {
            tokens = way.settle(way.last);
        } else if way.marks.len() >= MAX_OPEN && way.out.len() >= MAX_HELD {
            way.lost = true;
            way.out.clear();
            let given = std::mem::take(&mut way.given);
            given_up = Some((given, std::mem::take(&mut way.marks)));
        }
        let old = inner.done(self.id, tokens);
        drop(inner);
        drop((old, given_up));
    }

    fn end(&self, py: Python<'_>) {
        let mut inner = self.trail.get().inner(py);
        let Some(way) = inner.way(self.id) else {
            return;
        };
        let old = if !way.out.is_empty() && !way.marks.is_empty() {
            // The author still has records of it.
            inner.lingering.push_back(self.id);
            match inner.lingering.len() > MAX_LINGERING {
                true => inner.lingering.pop_front().and_then(|id| inner.close(id)),
                false => None,
            }
        } else {
            inner.close(self.id)
        };
        drop(inner);
        drop(old);
    }
}

impl Track {
    /// What the next page's records may be made while they are looked at.
    pub(crate) fn mould(&self) -> Option<Arc<Mould>> {
        let mould = self.mould.lock().unwrap_or_else(PoisonError::into_inner);
        mould.clone()
    }

    pub(crate) fn became(&self, mould: &Arc<Mould>) {
        *self.mould.lock().unwrap_or_else(PoisonError::into_inner) = Some(mould.clone());
    }

    pub(crate) fn is_of(&self, trail: &Bound<'_, Trail>) -> bool {
        self.trail.is(trail)
    }

    /// So many records were handed out and came out at once, unseen by any
    /// Python code, behind one that came out and was not waited for.
    pub(crate) fn through(&self, py: Python<'_>, count: u64) {
        let mut inner = self.trail.get().inner(py);
        let Some(way) = inner.way(self.id).filter(|way| !way.lost) else {
            inner.foreign = true;
            return;
        };
        debug_assert!(way.marks.is_empty(), "no page was waiting");
        way.last += count;
        way.reached = way.last;
    }
}
