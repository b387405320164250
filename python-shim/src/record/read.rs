//! Arrow arrays read cell by cell: each column is looked into once, not at
//! every value. Takes plain layouts ([`super::plain`]).

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, types};
use arrow_buffer::{BooleanBuffer, NullBuffer, i256};
use arrow_schema::{DataType, Field, TimeUnit};

use super::decimal;
use super::fit::from_unit;
use super::json_text;
use super::kind::is_json;
use super::value::Misfit;

/// One column, borrowed.
pub(crate) struct Reader<'a> {
    pub(crate) name: &'a str,
    nulls: Option<&'a NullBuffer>,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Null,
    Bool(&'a BooleanBuffer),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    D128(&'a [i128], i8),
    D256(&'a [i256], i8),
    Text(&'a arrow_array::StringArray),
    LargeText(&'a arrow_array::LargeStringArray),
    Json(Box<Reader<'a>>),
    Binary(&'a arrow_array::BinaryArray),
    LargeBinary(&'a arrow_array::LargeBinaryArray),
    Date(&'a [i32]),
    Time(&'a [i64], TimeUnit),
    Timestamp(&'a [i64], TimeUnit, bool),
    Duration(&'a [i64], TimeUnit),
    List(&'a [i32], Box<Reader<'a>>),
    LargeList(&'a [i64], Box<Reader<'a>>),
    Struct(Vec<Reader<'a>>),
    Map(&'a [i32], Box<Reader<'a>>, Box<Reader<'a>>),
}

/// What stands in a cell.
pub(crate) enum Cell<'r, 'a> {
    Null,
    Bool(bool),
    Int(i64),
    Above(u64),
    Float(f64),
    /// Of a float32 column.
    Single(f32),
    Decimal(i256, i8),
    Text(&'a str),
    /// JSON's text.
    Json(&'a str),
    Bytes(&'a [u8]),
    /// Days.
    Date(i64),
    /// Microseconds, here and below; None where they leave 64 bits.
    Time(i64),
    Timestamp(Option<i64>, bool),
    Duration(Option<i64>),
    List(&'r Reader<'a>, std::ops::Range<usize>),
    Struct(&'r [Reader<'a>], usize),
    Map(&'r Reader<'a>, &'r Reader<'a>, std::ops::Range<usize>),
}

/// A type that no reader here shows.
#[derive(Debug, thiserror::Error)]
#[error("column {name:?} has Arrow type {data_type}, which has no form outside of Arrow")]
pub(crate) struct Foreign {
    name: String,
    data_type: String,
}

impl<'a> Reader<'a> {
    /// All columns of a batch.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Vec<Self>, Foreign> {
        batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| Self::new(field, column))
            .collect()
    }

    fn new(field: &'a Field, array: &'a ArrayRef) -> Result<Self, Foreign> {
        let item = |field: &'a Field, values: &'a ArrayRef| Ok(Box::new(Self::new(field, values)?));
        macro_rules! values {
            ($type:ty) => {
                array.as_primitive::<$type>().values()
            };
        }
        let cells = match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Bool(array.as_boolean().values()),
            DataType::Int8 => Cells::I8(values!(types::Int8Type)),
            DataType::Int16 => Cells::I16(values!(types::Int16Type)),
            DataType::Int32 => Cells::I32(values!(types::Int32Type)),
            DataType::Int64 => Cells::I64(values!(types::Int64Type)),
            DataType::UInt8 => Cells::U8(values!(types::UInt8Type)),
            DataType::UInt16 => Cells::U16(values!(types::UInt16Type)),
            DataType::UInt32 => Cells::U32(values!(types::UInt32Type)),
            DataType::UInt64 => Cells::U64(values!(types::UInt64Type)),
            DataType::Float32 => Cells::F32(values!(types::Float32Type)),
            DataType::Float64 => Cells::F64(values!(types::Float64Type)),
            DataType::Decimal128(_, scale) => Cells::D128(values!(types::Decimal128Type), *scale),
            DataType::Decimal256(_, scale) => Cells::D256(values!(types::Decimal256Type), *scale),
            DataType::Utf8 | DataType::LargeUtf8 => {
                let text = match array.data_type() {
                    DataType::Utf8 => Cells::Text(array.as_string()),
                    _ => Cells::LargeText(array.as_string()),
                };
                if is_json(field) {
                    Cells::Json(Box::new(Self {
                        name: field.name(),
                        nulls: array.nulls(),
                        cells: text,
                    }))
                } else {
                    text
                }
            }
            DataType::Binary => Cells::Binary(array.as_binary()),
            DataType::LargeBinary => Cells::LargeBinary(array.as_binary()),
            DataType::Date32 => Cells::Date(values!(types::Date32Type)),
            DataType::Time64(TimeUnit::Nanosecond) => {
                Cells::Time(values!(types::Time64NanosecondType), TimeUnit::Nanosecond)
            }
            DataType::Time64(_) => {
                Cells::Time(values!(types::Time64MicrosecondType), TimeUnit::Microsecond)
            }
            DataType::Timestamp(unit, zone) => {
                let numbers = match unit {
                    TimeUnit::Second => values!(types::TimestampSecondType),
                    TimeUnit::Millisecond => values!(types::TimestampMillisecondType),
                    TimeUnit::Microsecond => values!(types::TimestampMicrosecondType),
                    TimeUnit::Nanosecond => values!(types::TimestampNanosecondType),
                };
                Cells::Timestamp(numbers, *unit, zone.is_some())
            }
            DataType::Duration(unit) => {
                let numbers = match unit {
                    TimeUnit::Second => values!(types::DurationSecondType),
                    TimeUnit::Millisecond => values!(types::DurationMillisecondType),
                    TimeUnit::Microsecond => values!(types::DurationMicrosecondType),
                    TimeUnit::Nanosecond => values!(types::DurationNanosecondType),
                };
                Cells::Duration(numbers, *unit)
            }
            DataType::List(field) => {
                let list = array.as_list::<i32>();
                Cells::List(list.offsets(), item(field, list.values())?)
            }
            DataType::LargeList(field) => {
                let list = array.as_list::<i64>();
                Cells::LargeList(list.offsets(), item(field, list.values())?)
            }
            DataType::Struct(fields) => Cells::Struct(
                fields
                    .iter()
                    .zip(array.as_struct().columns())
                    .map(|(field, column)| Self::new(field, column))
                    .collect::<Result<_, _>>()?,
            ),
            DataType::Map(entries, _) => {
                let map = array.as_map();
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(Foreign::new(field));
                };
                // Any other key would need a form as text.
                if !matches!(pair[0].data_type(), DataType::Utf8 | DataType::LargeUtf8) {
                    return Err(Foreign::new(field));
                }
                Cells::Map(
                    map.offsets(),
                    item(&pair[0], map.keys())?,
                    item(&pair[1], map.values())?,
                )
            }
            _ => return Err(Foreign::new(field)),
        };
        Ok(Self {
            name: field.name(),
            nulls: array.nulls(),
            cells,
        })
    }

    /// The cell of this row, which must exist.
    pub(crate) fn cell<'r>(&'r self, row: usize) -> Cell<'r, 'a> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Cell::Null;
        }
        match &self.cells {
            Cells::Null => Cell::Null,
            Cells::Bool(bits) => Cell::Bool(bits.value(row)),
            Cells::I8(v) => Cell::Int(v[row].into()),
            Cells::I16(v) => Cell::Int(v[row].into()),
            Cells::I32(v) => Cell::Int(v[row].into()),
            Cells::I64(v) => Cell::Int(v[row]),
            Cells::U8(v) => Cell::Int(v[row].into()),
            Cells::U16(v) => Cell::Int(v[row].into()),
            Cells::U32(v) => Cell::Int(v[row].into()),
            Cells::U64(v) => i64::try_from(v[row]).map_or(Cell::Above(v[row]), Cell::Int),
            Cells::F32(v) => Cell::Single(v[row]),
            Cells::F64(v) => Cell::Float(v[row]),
            Cells::D128(v, scale) => Cell::Decimal(i256::from_i128(v[row]), *scale),
            Cells::D256(v, scale) => Cell::Decimal(v[row], *scale),
            Cells::Text(v) => Cell::Text(v.value(row)),
            Cells::LargeText(v) => Cell::Text(v.value(row)),
            Cells::Json(text) => match text.cell(row) {
                Cell::Text(text) => Cell::Json(text),
                _ => Cell::Null,
            },
            Cells::Binary(v) => Cell::Bytes(v.value(row)),
            Cells::LargeBinary(v) => Cell::Bytes(v.value(row)),
            Cells::Date(v) => Cell::Date(v[row].into()),
            Cells::Time(v, unit) => Cell::Time(from_unit(*unit, v[row]).unwrap_or_default()),
            Cells::Timestamp(v, unit, aware) => Cell::Timestamp(from_unit(*unit, v[row]), *aware),
            Cells::Duration(v, unit) => Cell::Duration(from_unit(*unit, v[row])),
            Cells::List(offsets, items) => {
                Cell::List(items, offsets[row] as usize..offsets[row + 1] as usize)
            }
            Cells::LargeList(offsets, items) => {
                Cell::List(items, offsets[row] as usize..offsets[row + 1] as usize)
            }
            Cells::Struct(fields) => Cell::Struct(fields, row),
            Cells::Map(offsets, keys, values) => Cell::Map(
                keys,
                values,
                offsets[row] as usize..offsets[row + 1] as usize,
            ),
        }
    }

    /// The cell as JSON.
    pub(crate) fn json(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Box<Misfit>> {
        match self.cell(row) {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Bool(value) => json_text::boolean(out, value),
            Cell::Int(number) => json_text::int(out, number),
            Cell::Above(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            Cell::Float(number) => {
                if !json_text::float(out, number) {
                    return Err(json_text::not_finite("float64").within(self.name));
                }
            }
            Cell::Single(number) => {
                if !number.is_finite() {
                    return Err(json_text::not_finite("float32").within(self.name));
                }
                out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
            }
            Cell::Decimal(number, scale) => {
                out.push(b'"');
                decimal::write(out, number, scale);
                out.push(b'"');
            }
            Cell::Text(text) => json_text::string(out, text),
            Cell::Json(text) => one_line(out, text),
            Cell::Bytes(bytes) => json_text::base64(out, bytes),
            Cell::Date(days) => json_text::date(out, days),
            Cell::Time(micros) => json_text::time_of_day(out, micros),
            Cell::Timestamp(Some(micros), aware) => json_text::timestamp(out, micros, aware),
            Cell::Duration(Some(micros)) => json_text::duration(out, micros),
            Cell::Timestamp(None, _) | Cell::Duration(None) => {
                return Err(
                    Misfit::new("microseconds of 64 bits", "a value out of range")
                        .within(self.name),
                );
            }
            Cell::List(items, rows) => {
                out.push(b'[');
                for (index, row) in rows.enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    items.json(row, out)?;
                }
                out.push(b']');
            }
            Cell::Struct(fields, row) => object(fields, row, out)?,
            Cell::Map(keys, values, rows) => {
                out.push(b'{');
                for (index, row) in rows.enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    keys.json(row, out)?;
                    out.push(b':');
                    values.json(row, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

impl Foreign {
    fn new(field: &Field) -> Self {
        Self {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
        }
    }
}

/// JSON from elsewhere may be written over several lines. Line ends inside of
/// strings are escaped there, so those that stand plainly mean nothing.
fn one_line(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|b| match b {
        b'\n' | b'\r' => b' ',
        other => other,
    }));
}

/// A row as a JSON object.
pub(crate) fn object(
    fields: &[Reader<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), Box<Misfit>> {
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json_text::string(out, field.name);
        out.push(b':');
        field.json(row, out)?;
    }
    out.push(b'}');
    Ok(())
}
