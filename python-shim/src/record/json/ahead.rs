//! Records made into rows while their text is looked at the first time, so
//! that it is gone over once.
//!
//! The encoder says what it made of a track's records ([`Mould`]); the next
//! page of that track is made so before anybody knows whether it is whole. The
//! rows wait here, beside the text: of one that turns out to be broken nothing
//! is taken, and nobody has to take them.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;

use super::columns::push;
use super::cursor::Cursor;
use crate::record::columns::{Column, Columns};
use crate::record::kind::Slot;
use crate::record::value::{Aside, Unknown};

/// Texts beyond this are gone over twice: rows take room besides the text's.
const LARGEST: usize = 4 << 20;

/// Bytes of rows for each byte of text at most. Short records of a wide schema
/// would take any number.
const TIMES: usize = 2;
/// What those of a short text may take all the same.
const LEAST: usize = 64 << 10;

/// What becomes of the records of a stream.
#[derive(Debug)]
pub(crate) struct Mould {
    schema: SchemaRef,
    slots: Vec<Slot>,
    unknown: Unknown,
    /// Columns without rows, which keep the room of the pages before.
    spare: Mutex<Vec<Column>>,
}

impl Mould {
    pub(crate) fn of(columns: &Columns, unknown: Unknown) -> Self {
        let slots = columns.columns.iter();
        Self {
            schema: columns.schema().clone(),
            slots: slots.map(|column| column.slot.clone()).collect(),
            unknown,
            spare: Mutex::default(),
        }
    }

    fn columns(&self) -> Columns {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *spare) {
            none if none.is_empty() => Columns::new(self.schema.clone(), self.slots.clone()),
            columns => Columns::again(self.schema.clone(), columns),
        }
    }
}

/// Before a record, or behind the last one.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Where it begins.
    start: usize,
    rows: usize,
    bytes: usize,
}

/// The elements of one array as rows.
#[derive(Debug)]
pub(crate) struct Ahead {
    mould: Arc<Mould>,
    /// The array's name in the outermost object; None: it is all there is.
    name: Option<Box<str>>,
    /// Where its first element begins.
    start: usize,
    columns: Columns,
    aside: Aside,
    /// One more than there are elements, unless there was no room for all.
    marks: Vec<Mark>,
    /// What columns and marks may take.
    room: usize,
    full: bool,
}

/// Rows one behind another, of elements one behind another.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) rows: Range<usize>,
    pub(crate) bytes: usize,
    /// Where the element behind them begins.
    pub(crate) next: usize,
}

impl Ahead {
    /// None if the text is too long.
    pub(crate) fn new(mould: &Arc<Mould>, name: Option<&str>, text: usize) -> Option<Self> {
        (text <= LARGEST).then(|| Self {
            columns: mould.columns(),
            aside: Aside::new(mould.unknown),
            mould: mould.clone(),
            name: name.map(Box::from),
            start: 0,
            marks: Vec::new(),
            room: TIMES * text + LEAST,
            full: false,
        })
    }

    pub(super) fn waits_for(&self, name: Option<&str>) -> bool {
        self.name.as_deref() == name
    }

    /// An array begins. Of several of one name the last one counts.
    pub(super) fn begin(&mut self, start: usize) {
        self.columns.clear();
        self.marks.clear();
        self.start = start;
        self.full = false;
    }

    /// Over the element that begins here, which is looked at.
    pub(super) fn record(&mut self, text: &mut Cursor<'_>, depth: usize) -> Option<()> {
        if self.full {
            return text.skip(depth);
        }
        self.mark(text.at);
        let taken = self.columns.bytes + self.marks.len() * size_of::<Mark>();
        if taken > self.room {
            self.full = true;
            return text.skip(depth);
        }
        let start = text.at;
        if push(&mut self.columns, text, &mut self.aside, depth).is_none() {
            self.columns.take_back(&mut self.aside);
            text.at = start;
            text.skip(depth)?;
        }
        Some(())
    }

    pub(super) fn end(&mut self, at: usize) {
        if !self.full {
            self.mark(at);
        }
    }

    fn mark(&mut self, start: usize) {
        self.marks.push(Mark {
            start,
            rows: self.columns.rows,
            bytes: self.columns.bytes,
        });
    }

    /// Whether these are rows of that mould, of the array that begins there.
    pub(crate) fn is(&self, mould: &Arc<Mould>, start: usize) -> bool {
        Arc::ptr_eq(&self.mould, mould) && self.start == start && !self.marks.is_empty()
    }

    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// How many elements are rows.
    pub(crate) fn rows(&self) -> usize {
        self.columns.rows
    }

    /// Whether element `at` was not ordinary; None if it was not looked at.
    pub(crate) fn is_odd(&self, at: usize) -> Option<bool> {
        let (here, next) = (self.marks.get(at)?, self.marks.get(at + 1)?);
        Some(here.rows == next.rows)
    }

    /// The rows of element `from` and at most so many: up to the one with which
    /// they are `enough` bytes, and to before one that is not ordinary or over
    /// `largest`. None if there is none.
    pub(crate) fn run(
        &self,
        from: usize,
        most: usize,
        enough: usize,
        largest: usize,
    ) -> Option<Run> {
        let marks = self.marks.get(from..)?;
        let first = marks.first()?;
        let mut last = first;
        for mark in marks.iter().skip(1).take(most) {
            if mark.rows == last.rows || mark.bytes - last.bytes > largest {
                break;
            }
            last = mark;
            if last.bytes - first.bytes >= enough {
                break;
            }
        }
        (last.rows > first.rows).then(|| Run {
            rows: first.rows..last.rows,
            bytes: last.bytes - first.bytes,
            next: last.start,
        })
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.columns.clear();
        let columns = std::mem::take(&mut self.columns.columns);
        let mut spare = self
            .mould
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *spare = columns;
    }
}
