//! Records into Arrow arrays: one growing column for each field.
//!
//! A record is written field by field; when one does not fit, the record is
//! taken back ([`Columns::take_back`]) and the others stay.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, LargeBinaryArray,
    LargeListArray, LargeStringArray, ListArray, MapArray, NullArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray, types,
};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef, TimeUnit};

use super::fit::{Origin, Scalar, fit, in_unit, misfit};
use super::kind::{Int, Kind, Slot};
use super::value::{Aside, EXTRA, Misfit, Trail, Unknown, Value};

/// One field's values so far.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) slot: Slot,
    validity: NullBufferBuilder,
    data: Data,
}

#[derive(Debug)]
enum Data {
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
    Bytes { offsets: Vec<i32>, bytes: Vec<u8> },
    List { offsets: Vec<i32>, items: Box<Column> },
    Struct(Vec<Column>),
    Map { offsets: Vec<i32>, keys: Box<Column>, values: Box<Column> },
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
            (Data::Map { offsets, keys, values }, Value::Map(pairs)) => {
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

    fn truncate(&mut self, rows: usize) {
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
            Data::Map { offsets, keys, values } => {
                offsets.truncate(rows + 1);
                let items = offsets[offsets.len() - 1] as usize;
                keys.truncate(items);
                values.truncate(items);
            }
        }
    }

    /// The array so far, of `field`'s exact type; the column starts again,
    /// with the room it had.
    fn finish(&mut self, field: &Field) -> Result<ArrayRef, ArrowError> {
        let rows = self.validity.len();
        let nulls = self.validity.finish();
        macro_rules! primitive {
            ($values:expr, $type:ty) => {
                Arc::new(PrimitiveArray::<$type>::try_new(emptied($values), nulls)?)
            };
        }
        Ok(match (&mut self.data, field.data_type()) {
            (Data::Null, _) => Arc::new(NullArray::new(rows)),
            (Data::Bool(bits), _) => Arc::new(BooleanArray::new(bits.finish(), nulls)),
            (Data::I8(v), _) => primitive!(v, types::Int8Type),
            (Data::I16(v), _) => primitive!(v, types::Int16Type),
            (Data::I32(v), DataType::Date32) => primitive!(v, types::Date32Type),
            (Data::I32(v), _) => primitive!(v, types::Int32Type),
            (Data::I64(v), DataType::Time64(_)) => primitive!(v, types::Time64MicrosecondType),
            (Data::I64(v), DataType::Timestamp(unit, zone)) => {
                let zone = zone.clone();
                macro_rules! zoned {
                    ($type:ty) => {
                        Arc::new(
                            PrimitiveArray::<$type>::try_new(emptied(v), nulls)?
                                .with_timezone_opt(zone),
                        )
                    };
                }
                match unit {
                    TimeUnit::Second => zoned!(types::TimestampSecondType),
                    TimeUnit::Millisecond => zoned!(types::TimestampMillisecondType),
                    TimeUnit::Microsecond => zoned!(types::TimestampMicrosecondType),
                    TimeUnit::Nanosecond => zoned!(types::TimestampNanosecondType),
                }
            }
            (Data::I64(v), DataType::Duration(unit)) => match unit {
                TimeUnit::Second => primitive!(v, types::DurationSecondType),
                TimeUnit::Millisecond => primitive!(v, types::DurationMillisecondType),
                TimeUnit::Microsecond => primitive!(v, types::DurationMicrosecondType),
                TimeUnit::Nanosecond => primitive!(v, types::DurationNanosecondType),
            },
            (Data::I64(v), _) => primitive!(v, types::Int64Type),
            (Data::U8(v), _) => primitive!(v, types::UInt8Type),
            (Data::U16(v), _) => primitive!(v, types::UInt16Type),
            (Data::U32(v), _) => primitive!(v, types::UInt32Type),
            (Data::U64(v), _) => primitive!(v, types::UInt64Type),
            (Data::F32(v), _) => primitive!(v, types::Float32Type),
            (Data::F64(v), _) => primitive!(v, types::Float64Type),
            (Data::D128(v), DataType::Decimal128(precision, scale)) => Arc::new(
                Decimal128Array::try_new(emptied(v), nulls)?
                    .with_precision_and_scale(*precision, *scale)?,
            ),
            // A Decimal256 of few digits is kept in the narrow form.
            (Data::D128(v), DataType::Decimal256(precision, scale)) => {
                let wide: Vec<i256> = v.drain(..).map(i256::from_i128).collect();
                Arc::new(
                    Decimal256Array::try_new(wide.into(), nulls)?
                        .with_precision_and_scale(*precision, *scale)?,
                )
            }
            (Data::D256(v), DataType::Decimal256(precision, scale)) => Arc::new(
                Decimal256Array::try_new(emptied(v), nulls)?
                    .with_precision_and_scale(*precision, *scale)?,
            ),
            (Data::Bytes { offsets, bytes }, data_type) => {
                let offsets = restarted(offsets);
                let bytes = emptied(bytes).into_inner();
                match data_type {
                    DataType::LargeUtf8 => {
                        Arc::new(LargeStringArray::try_new(widened(&offsets), bytes, nulls)?)
                    }
                    DataType::LargeBinary => {
                        Arc::new(LargeBinaryArray::try_new(widened(&offsets), bytes, nulls)?)
                    }
                    DataType::Binary => Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?),
                    _ => Arc::new(StringArray::try_new(offsets, bytes, nulls)?),
                }
            }
            (Data::List { offsets, items }, DataType::List(item)) => {
                let values = items.finish(item)?;
                Arc::new(ListArray::try_new(item.clone(), restarted(offsets), values, nulls)?)
            }
            (Data::List { offsets, items }, DataType::LargeList(item)) => {
                let values = items.finish(item)?;
                let offsets = widened(&restarted(offsets));
                Arc::new(LargeListArray::try_new(item.clone(), offsets, values, nulls)?)
            }
            (Data::Struct(columns), DataType::Struct(fields)) => {
                let arrays = columns
                    .iter_mut()
                    .zip(fields)
                    .map(|(column, field)| column.finish(field))
                    .collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows)?)
            }
            (Data::Map { offsets, keys, values }, DataType::Map(entries, ordered)) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("a map has entries".into()));
                };
                let arrays = vec![keys.finish(&pair[0])?, values.finish(&pair[1])?];
                let pairs = StructArray::try_new(pair.clone(), arrays, None)?;
                Arc::new(MapArray::try_new(entries.clone(), restarted(offsets), pairs, nulls, *ordered)?)
            }
            (_, other) => {
                return Err(ArrowError::SchemaError(format!("no column keeps {other}")));
            }
        })
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

/// Takes the values and leaves as much room for the next batch.
fn emptied<T: arrow_buffer::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let room = Vec::with_capacity(values.len() + values.len() / 8);
    std::mem::replace(values, room).into()
}

fn restarted(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = emptied(offsets);
    offsets.push(0);
    OffsetBuffer::new(taken)
}

fn widened(offsets: &OffsetBuffer<i32>) -> OffsetBuffer<i64> {
    OffsetBuffer::new(offsets.iter().map(|at| i64::from(*at)).collect())
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
            _ => columns.iter().position(|column| *column.slot.name == **name),
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
        let columns: Vec<_> = slots.into_iter().map(Column::new).collect();
        Self {
            extra: columns.iter().position(|column| &*column.slot.name == EXTRA),
            width: columns.iter().map(|column| column.slot.kind.width()).sum(),
            rows: 0,
            bytes: 0,
            schema,
            columns,
        }
    }

    pub(crate) fn push(
        &mut self,
        pairs: &[(String, Value)],
        origin: Origin,
        aside: &mut Aside,
    ) -> Result<usize, Box<Misfit>> {
        pairs_into(&mut self.columns[..], self.rows, pairs, origin, aside, &Trail::Root)?;
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
