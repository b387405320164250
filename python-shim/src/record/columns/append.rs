//! Rows of one column behind those of another of the same kind.

use std::ops::Range;

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

use super::column::{Column, Data};

impl Column {
    /// Adds these rows of a column of the same kind.
    pub(super) fn append(&mut self, other: &Self, rows: Range<usize>) {
        match other.validity.as_slice() {
            None => self.validity.append_n_non_nulls(rows.len()),
            Some(bits) => {
                let bits = &bits[rows.start / 8..rows.end.div_ceil(8)];
                let bits = BooleanBuffer::new(Buffer::from(bits), rows.start % 8, rows.len());
                self.validity.append_buffer(&NullBuffer::new(bits));
            }
        }
        match (&mut self.data, &other.data) {
            (Data::Null, Data::Null) => {}
            (Data::Bool(to), Data::Bool(from)) => to.append_packed_range(rows, from.as_slice()),
            (Data::I8(to), Data::I8(from)) => to.extend_from_slice(&from[rows]),
            (Data::I16(to), Data::I16(from)) => to.extend_from_slice(&from[rows]),
            (Data::I32(to), Data::I32(from)) => to.extend_from_slice(&from[rows]),
            (Data::I64(to), Data::I64(from)) => to.extend_from_slice(&from[rows]),
            (Data::U8(to), Data::U8(from)) => to.extend_from_slice(&from[rows]),
            (Data::U16(to), Data::U16(from)) => to.extend_from_slice(&from[rows]),
            (Data::U32(to), Data::U32(from)) => to.extend_from_slice(&from[rows]),
            (Data::U64(to), Data::U64(from)) => to.extend_from_slice(&from[rows]),
            (Data::F32(to), Data::F32(from)) => to.extend_from_slice(&from[rows]),
            (Data::F64(to), Data::F64(from)) => to.extend_from_slice(&from[rows]),
            (Data::D128(to), Data::D128(from)) => to.extend_from_slice(&from[rows]),
            (Data::D256(to), Data::D256(from)) => to.extend_from_slice(&from[rows]),
            (
                Data::Bytes { offsets, bytes },
                Data::Bytes {
                    offsets: theirs,
                    bytes: from,
                },
            ) => bytes.extend_from_slice(&from[shifted(offsets, theirs, rows)]),
            (
                Data::List { offsets, items },
                Data::List {
                    offsets: theirs,
                    items: from,
                },
            ) => items.append(from, shifted(offsets, theirs, rows)),
            (Data::Struct(to), Data::Struct(from)) => {
                for (column, other) in to.iter_mut().zip(from) {
                    column.append(other, rows.clone());
                }
            }
            (
                Data::Map {
                    offsets,
                    keys,
                    values,
                },
                Data::Map {
                    offsets: theirs,
                    keys: names,
                    values: from,
                },
            ) => {
                let items = shifted(offsets, theirs, rows);
                keys.append(names, items.clone());
                values.append(from, items);
            }
            _ => unreachable!("columns of one kind keep their data alike"),
        }
    }
}

/// Adds the ends of these rows behind the last end, and gives what lies
/// between their first and their last.
fn shifted(offsets: &mut Vec<i32>, theirs: &[i32], rows: Range<usize>) -> Range<usize> {
    let (start, end) = (theirs[rows.start], theirs[rows.end]);
    let shift = offsets[offsets.len() - 1] - start;
    let ends = &theirs[rows.start + 1..=rows.end];
    offsets.extend(ends.iter().map(|at| at + shift));
    start as usize..end as usize
}
