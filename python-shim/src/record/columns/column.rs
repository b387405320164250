//! One growing column, of any kind.

use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, i256};

use super::pairs_into;
use crate::record::fit::{Origin, Scalar, fit, in_unit, misfit};
use crate::record::kind::{Int, Kind, Slot};
use crate::record::value::{Aside, Misfit, Trail, Value};

/// One field's values so far.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) slot: Slot,
    pub(super) validity: NullBufferBuilder,
    pub(super) data: Data,
    /// The column whose field followed this one's in JSON text the last time;
    /// 0: the next one.
    pub(crate) next: usize,
}

#[derive(Debug)]
pub(super) enum Data {
    Null,
    Bool(BooleanBufferBuilder),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    D128(Vec<i128>),
    D256(Vec<i256>),
    Bytes {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
    },
    List {
        offsets: Vec<i32>,
        items: Box<Column>,
    },
    Struct(Vec<Column>),
    Map {
        offsets: Vec<i32>,
        keys: Box<Column>,
        values: Box<Column>,
    },
}

impl Data {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Null => Self::Null,
            Kind::Bool => Self::Bool(BooleanBufferBuilder::new(0)),
            Kind::Int(Int::I8) => Self::I8(Vec::new()),
            Kind::Int(Int::I16) => Self::I16(Vec::new()),
            Kind::Int(Int::I32) | Kind::Date => Self::I32(Vec::new()),
            Kind::Int(Int::I64) | Kind::Time | Kind::Timestamp { .. } | Kind::Duration(_) => {
                Self::I64(Vec::new())
            }
            Kind::Int(Int::U8) => Self::U8(Vec::new()),
            Kind::Int(Int::U16) => Self::U16(Vec::new()),
            Kind::Int(Int::U32) => Self::U32(Vec::new()),
            Kind::Int(Int::U64) => Self::U64(Vec::new()),
            Kind::Float32 => Self::F32(Vec::new()),
            Kind::Float64 => Self::F64(Vec::new()),
            Kind::Decimal { precision, .. } if *precision > 38 => Self::D256(Vec::new()),
            Kind::Decimal { .. } => Self::D128(Vec::new()),
            Kind::Text | Kind::Json | Kind::Binary => Self::Bytes {
                offsets: vec![0],
                bytes: Vec::new(),
            },
            Kind::List(item) => Self::List {
                offsets: vec![0],
                items: Box::new(Column::new((**item).clone())),
            },
            Kind::Struct(slots) => Self::Struct(slots.iter().cloned().map(Column::new).collect()),
            Kind::Map(value) => Self::Map {
                offsets: vec![0],
                keys: Box::new(Column::new(Slot::new("key", Kind::Text, false))),
                values: Box::new(Column::new((**value).clone())),
            },
        }
    }
}

impl Column {
    pub(crate) fn new(slot: Slot) -> Self {
        Self {
            data: Data::new(&slot.kind),
            validity: NullBufferBuilder::new(0),
            next: 0,
            slot,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.validity.len()
    }

    /// A null, or a field that is missing.
    pub(crate) fn null(&mut self) -> Result<(), Box<Misfit>> {
        if !self.slot.nullable && !matches!(self.slot.kind, Kind::Null) {
            return Err(Misfit::new(self.slot.kind.name(), "None"));
        }
        self.null_unasked();
        Ok(())
    }

    /// A null below a null, where the field's own nullability says nothing.
    fn null_unasked(&mut self) {
        self.validity.append_null();
        match &mut self.data {
            Data::Null => {}
            Data::Bool(bits) => bits.append(false),
            Data::I8(v) => v.push(0),
            Data::I16(v) => v.push(0),
            Data::I32(v) => v.push(0),
            Data::I64(v) => v.push(0),
            Data::U8(v) => v.push(0),
            Data::U16(v) => v.push(0),
            Data::U32(v) => v.push(0),
            Data::U64(v) => v.push(0),
            Data::F32(v) => v.push(0.0),
            Data::F64(v) => v.push(0.0),
            Data::D128(v) => v.push(0),
            Data::D256(v) => v.push(i256::ZERO),
            Data::Bytes { offsets, bytes } => offsets.push(bytes.len() as i32),
            Data::List { offsets, items } => offsets.push(items.len() as i32),
            Data::Map { offsets, keys, .. } => offsets.push(keys.len() as i32),
            Data::Struct(columns) => columns.iter_mut().for_each(Self::null_unasked),
        }
    }

    /// A string, where the column keeps bytes. False if it does not.
    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) -> bool {
        let Data::Bytes { offsets, bytes } = &mut self.data else {
            return false;
        };
        bytes.extend_from_slice(text);
        offsets.push(bytes.len() as i32);
        self.validity.append_non_null();
        true
    }

    /// Bytes that `write` puts behind those of the column, all or none.
    pub(crate) fn written<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let Data::Bytes { offsets, bytes } = &mut self.data else {
            return Ok(0);
        };
        let start = bytes.len();
        if let Err(error) = write(bytes) {
            bytes.truncate(start);
            return Err(error);
        }
        offsets.push(bytes.len() as i32);
        self.validity.append_non_null();
        Ok(bytes.len() - start)
    }

    #[inline]
    pub(crate) fn boolean(&mut self, value: bool) -> bool {
        let Data::Bool(bits) = &mut self.data else {
            return false;
        };
        bits.append(value);
        self.validity.append_non_null();
        true
    }

    #[inline]
    pub(crate) fn float(&mut self, number: f64) -> bool {
        match &mut self.data {
            Data::F64(v) => v.push(number),
            Data::F32(v) => v.push(number as f32),
            _ => return false,
        }
        self.validity.append_non_null();
        true
    }

    /// An integer that the kind was asked about ([`Int::holds`]), days,
    /// or microseconds. False if the column keeps no integers.
    #[inline]
    pub(crate) fn int(&mut self, number: i64) -> bool {
        match &mut self.data {
            Data::I64(v) => v.push(match self.slot.kind {
                Kind::Timestamp { unit, .. } | Kind::Duration(unit) => in_unit(unit, number),
                _ => number,
            }),
            Data::I32(v) => v.push(number as i32),
            Data::I16(v) => v.push(number as i16),
            Data::I8(v) => v.push(number as i8),
            Data::U64(v) => v.push(number as u64),
            Data::U32(v) => v.push(number as u32),
            Data::U16(v) => v.push(number as u16),
            Data::U8(v) => v.push(number as u8),
            _ => return false,
        }
        self.validity.append_non_null();
        true
    }

    pub(crate) fn scalar(&mut self, scalar: Scalar<'_>, aside: &mut Aside) {
        let kept = match (scalar, &mut self.data) {
            (Scalar::Bool(value), _) => self.boolean(value),
            (Scalar::Int(number), _) => self.int(number),
            (Scalar::Float(number), _) => self.float(number),
            (Scalar::Bytes(bytes), _) => {
                aside.bytes += bytes.len();
                self.text(&bytes)
            }
            (Scalar::Above(number), Data::U64(v)) => {
                v.push(number);
                self.validity.append_non_null();
                true
            }
            (Scalar::Decimal(number), Data::D128(v)) => {
                // At most 38 digits, so the low half holds it.
                v.push(number.as_i128());
                self.validity.append_non_null();
                true
            }
            (Scalar::Decimal(number), Data::D256(v)) => {
                v.push(number);
                self.validity.append_non_null();
                true
            }
            _ => false,
        };
        debug_assert!(kept, "a scalar's form follows from its kind");
    }

    pub(crate) fn value(
        &mut self,
        value: &Value,
        origin: Origin,
        aside: &mut Aside,
        trail: &Trail<'_>,
    ) -> Result<(), Box<Misfit>> {
        match (&mut self.data, value) {
            (_, Value::Null) => self.null(),
            (Data::Null, _) => Err(misfit(&self.slot.kind, value)),
            (Data::List { offsets, items }, Value::List(list)) => {
                for (index, item) in list.iter().enumerate() {
                    items
                        .value(item, origin, aside, &Trail::Item(trail, index))
                        .map_err(|misfit| misfit.at(index))?;
                }
                aside.bytes += list.len() * items.slot.kind.width();
                offsets.push(items.len() as i32);
                self.validity.append_non_null();
                Ok(())
            }
            (Data::Struct(columns), Value::Map(pairs)) => {
                let rows = self.validity.len();
                pairs_into(columns, rows, pairs, origin, aside, trail)?;
                self.validity.append_non_null();
                Ok(())
            }
            (
                Data::Map {
                    offsets,
                    keys,
                    values,
                },
                Value::Map(pairs),
            ) => {
                for (name, item) in pairs {
                    values
                        .value(item, origin, aside, &Trail::Field(trail, name))
                        .map_err(|misfit| misfit.within(name))?;
                    keys.text(name.as_bytes());
                    aside.bytes += name.len() + 4 + values.slot.kind.width();
                }
                offsets.push(keys.len() as i32);
                self.validity.append_non_null();
                Ok(())
            }
            (Data::List { .. } | Data::Struct(_) | Data::Map { .. }, _) => {
                Err(misfit(&self.slot.kind, value))
            }
            _ => {
                let scalar = fit(&self.slot.kind, value, origin)?;
                self.scalar(scalar, aside);
                Ok(())
            }
        }
    }

    /// The parts of a nested column, for who walks objects of his own.
    pub(crate) fn nested(&mut self) -> (&Slot, Nested<'_>) {
        let rows = self.validity.len();
        let nested = match &mut self.data {
            Data::List { items, .. } => Nested::List(items),
            Data::Struct(columns) => Nested::Struct(columns, rows),
            Data::Map { keys, values, .. } => Nested::Map(keys, values),
            _ => Nested::None,
        };
        (&self.slot, nested)
    }

    /// Ends a nested value whose parts [`Column::nested`] took.
    pub(crate) fn close(&mut self) {
        match &mut self.data {
            Data::List { offsets, items } => offsets.push(items.len() as i32),
            Data::Map { offsets, keys, .. } => offsets.push(keys.len() as i32),
            _ => {}
        }
        self.validity.append_non_null();
    }

    /// Only the first rows stay.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.validity.truncate(rows);
        match &mut self.data {
            Data::Null => {}
            Data::Bool(bits) => bits.truncate(rows),
            Data::I8(v) => v.truncate(rows),
            Data::I16(v) => v.truncate(rows),
            Data::I32(v) => v.truncate(rows),
            Data::I64(v) => v.truncate(rows),
            Data::U8(v) => v.truncate(rows),
            Data::U16(v) => v.truncate(rows),
            Data::U32(v) => v.truncate(rows),
            Data::U64(v) => v.truncate(rows),
            Data::F32(v) => v.truncate(rows),
            Data::F64(v) => v.truncate(rows),
            Data::D128(v) => v.truncate(rows),
            Data::D256(v) => v.truncate(rows),
            Data::Bytes { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[offsets.len() - 1] as usize);
            }
            Data::List { offsets, items } => {
                offsets.truncate(rows + 1);
                items.truncate(offsets[offsets.len() - 1] as usize);
            }
            Data::Struct(columns) => columns.iter_mut().for_each(|c| c.truncate(rows)),
            Data::Map {
                offsets,
                keys,
                values,
            } => {
                offsets.truncate(rows + 1);
                let items = offsets[offsets.len() - 1] as usize;
                keys.truncate(items);
                values.truncate(items);
            }
        }
    }
}

/// A column's parts; see [`Column::nested`].
pub(crate) enum Nested<'a> {
    None,
    List(&'a mut Column),
    /// The fields, and how many rows they have.
    Struct(&'a mut [Column], usize),
    Map(&'a mut Column, &'a mut Column),
}
