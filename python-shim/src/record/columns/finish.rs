//! A column's values as an Arrow array.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, LargeBinaryArray,
    LargeListArray, LargeStringArray, ListArray, MapArray, NullArray, PrimitiveArray, StringArray,
    StructArray, types,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{ArrowError, DataType, Field, TimeUnit};

use super::column::{Column, Data};

impl Column {
    /// The array so far, of `field`'s exact type; the column starts again,
    /// with the room it had.
    pub(super) fn finish(&mut self, field: &Field) -> Result<ArrayRef, ArrowError> {
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
                Arc::new(ListArray::try_new(
                    item.clone(),
                    restarted(offsets),
                    values,
                    nulls,
                )?)
            }
            (Data::List { offsets, items }, DataType::LargeList(item)) => {
                let values = items.finish(item)?;
                let offsets = widened(&restarted(offsets));
                Arc::new(LargeListArray::try_new(
                    item.clone(),
                    offsets,
                    values,
                    nulls,
                )?)
            }
            (Data::Struct(columns), DataType::Struct(fields)) => {
                let arrays = columns
                    .iter_mut()
                    .zip(fields)
                    .map(|(column, field)| column.finish(field))
                    .collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    arrays,
                    nulls,
                    rows,
                )?)
            }
            (
                Data::Map {
                    offsets,
                    keys,
                    values,
                },
                DataType::Map(entries, ordered),
            ) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("a map has entries".into()));
                };
                let arrays = vec![keys.finish(&pair[0])?, values.finish(&pair[1])?];
                let pairs = StructArray::try_new(pair.clone(), arrays, None)?;
                Arc::new(MapArray::try_new(
                    entries.clone(),
                    restarted(offsets),
                    pairs,
                    nulls,
                    *ordered,
                )?)
            }
            (_, other) => {
                return Err(ArrowError::SchemaError(format!("no column keeps {other}")));
            }
        })
    }
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
