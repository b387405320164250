//! Records into Arrow arrays: one growing column for each field.
//!
//! A record is written field by field; when one does not fit, the record is
//! taken back ([`Columns::take_back`]) and the others stay.

mod append;
mod column;
mod finish;

use std::ops::Range;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, SchemaRef};

use super::fit::Origin;
use super::kind::Slot;
use super::value::{Aside, EXTRA, Misfit, Trail, Unknown, Value};

pub(crate) use column::{Column, Nested};

/// All columns of a stream.
#[derive(Debug)]
pub(crate) struct Columns {
    schema: SchemaRef,
    pub(crate) columns: Vec<Column>,
    /// Where `_extra` stands.
    extra: Option<usize>,
    pub(crate) rows: usize,
    /// What the rows take, nearly.
    pub(crate) bytes: usize,
    width: usize,
}

impl Columns {
    /// Slots must be those of the schema.
    pub(crate) fn new(schema: SchemaRef, slots: Vec<Slot>) -> Self {
        Self::again(schema, slots.into_iter().map(Column::new).collect())
    }

    /// Of columns that are empty.
    pub(crate) fn again(schema: SchemaRef, columns: Vec<Column>) -> Self {
        Self {
            extra: columns
                .iter()
                .position(|column| &*column.slot.name == EXTRA),
            width: columns.iter().map(|column| column.slot.kind.width()).sum(),
            rows: 0,
            bytes: 0,
            schema,
            columns,
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn push(
        &mut self,
        pairs: &[(String, Value)],
        origin: Origin,
        aside: &mut Aside,
    ) -> Result<usize, Box<Misfit>> {
        pairs_into(
            &mut self.columns[..],
            self.rows,
            pairs,
            origin,
            aside,
            &Trail::Root,
        )?;
        Ok(self.end_record(aside))
    }

    /// A record's fields are all in: keeps what was put aside, and counts it.
    /// Gives its size.
    pub(crate) fn end_record(&mut self, aside: &mut Aside) -> usize {
        if let Some(column) = self.extra
            && !aside.extra.is_empty()
        {
            let column = &mut self.columns[column];
            aside.extra.push(b'}');
            aside.bytes += aside.extra.len();
            column.truncate(self.rows);
            column.text(&aside.extra);
            aside.extra.clear();
        }
        let size = self.width + std::mem::take(&mut aside.bytes);
        self.rows += 1;
        self.bytes += size;
        size
    }

    /// Undoes all that came after the last whole record.
    pub(crate) fn take_back(&mut self, aside: &mut Aside) {
        aside.bytes = 0;
        aside.extra.clear();
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// Undoes the last whole record, which was of this size.
    pub(crate) fn take_back_last(&mut self, size: usize, aside: &mut Aside) {
        self.rows -= 1;
        self.bytes -= size;
        self.take_back(aside);
    }

    /// Adds these rows, which take so many bytes, of columns of the same schema.
    pub(crate) fn append(&mut self, other: &Self, rows: Range<usize>, bytes: usize) {
        for (column, other) in self.columns.iter_mut().zip(&other.columns) {
            column.append(other, rows.clone());
        }
        self.rows += rows.len();
        self.bytes += bytes;
    }

    /// Undoes everything; the room stays.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
        self.bytes = 0;
        for column in &mut self.columns {
            column.truncate(0);
        }
    }

    /// All records so far; the columns start again.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        let arrays = self
            .columns
            .iter_mut()
            .zip(self.schema.fields())
            .map(|(column, field)| column.finish(field))
            .collect::<Result<_, _>>()?;
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
    }
}

fn pairs_into(
    columns: &mut [Column],
    rows: usize,
    pairs: &[(String, Value)],
    origin: Origin,
    aside: &mut Aside,
    trail: &Trail<'_>,
) -> Result<(), Box<Misfit>> {
    for (at, (name, value)) in pairs.iter().enumerate() {
        // Usually in the schema's order.
        let index = match columns.get(at) {
            Some(column) if *column.slot.name == **name => Some(at),
            _ => columns
                .iter()
                .position(|column| *column.slot.name == **name),
        };
        let index = index.filter(|_| !is_aside(name, aside, trail));
        match index {
            Some(index) => columns[index]
                .value(value, origin, aside, &Trail::Field(trail, name))
                .map_err(|misfit| misfit.within(name))?,
            None => unknown_value(name, value, aside, trail)?,
        }
    }
    missing(columns, rows)
}

/// Whether a record's own field bears the name of the column for unknown
/// fields: it is one of them.
fn is_aside(name: &str, aside: &Aside, trail: &Trail<'_>) -> bool {
    aside.unknown == Unknown::Extra && name == EXTRA && matches!(trail, Trail::Root)
}

fn unknown_value(
    name: &str,
    value: &Value,
    aside: &mut Aside,
    trail: &Trail<'_>,
) -> Result<(), Box<Misfit>> {
    match aside.unknown {
        Unknown::Error => Err(Misfit::unknown(name)),
        Unknown::Drop => Ok(()),
        Unknown::Extra => {
            let out = aside.extra_key(&trail.join(name));
            super::json_text::value(out, value).map_err(|misfit| misfit.within(name))
        }
    }
}

/// Nulls for the fields that the record did not have.
pub(crate) fn missing(columns: &mut [Column], rows: usize) -> Result<(), Box<Misfit>> {
    for column in columns.iter_mut().filter(|column| column.len() == rows) {
        if column.null().is_err() {
            let name = column.slot.name.clone();
            return Err(Misfit::new(column.slot.kind.name(), "no value").within(&name));
        }
    }
    Ok(())
}
