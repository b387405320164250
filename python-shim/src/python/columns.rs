//! Dicts into Arrow columns.
//!
//! The commonest pairs of kind and class go straight in; every other goes
//! through [`Value`](crate::record::value::Value), whose rules decide.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

use super::objects::{Known, int, text};
use super::walk::{Shape, Visit};
use super::{At, Fault};
use crate::record::columns::{Column, Columns, Nested, missing};
use crate::record::decimal;
use crate::record::fit::{Origin, Scalar, fit_text};
use crate::record::kind::Kind;
use crate::record::value::{Aside, Misfit, Trail, Unknown};

/// Adds a record and gives its size. After an error the caller takes the
/// record back.
pub(crate) fn push(
    columns: &mut Columns,
    shape: &mut Shape,
    record: &Bound<'_, PyDict>,
    aside: &mut Aside,
) -> Result<usize, Fault> {
    let rows = columns.rows;
    fields(
        &mut columns.columns,
        rows,
        shape,
        record,
        aside,
        &Trail::Root,
    )?;
    Ok(columns.end_record(aside))
}

fn fields(
    columns: &mut [Column],
    rows: usize,
    shape: &mut Shape,
    dict: &Bound<'_, PyDict>,
    aside: &mut Aside,
    trail: &Trail<'_>,
) -> Result<(), Fault> {
    let expected = columns.len();
    let mut fields = Fields {
        columns,
        aside,
        trail,
    };
    let seen = shape.walk(dict, &mut fields)?;
    if seen < expected {
        missing(columns, rows)?;
    }
    Ok(())
}

struct Fields<'a> {
    columns: &'a mut [Column],
    aside: &'a mut Aside,
    trail: &'a Trail<'a>,
}

impl Visit for Fields<'_> {
    #[inline]
    fn field(
        &mut self,
        index: usize,
        value: &Bound<'_, PyAny>,
        child: Option<&mut Shape>,
    ) -> Result<(), Fault> {
        let column = &mut self.columns[index];
        match object(column, value, child, self.aside, self.trail, At::Field) {
            Ok(()) => Ok(()),
            Err(fault) => Err(fault.within(&column.slot.name)),
        }
    }

    fn unknown(&mut self, name: &str, value: &Bound<'_, PyAny>) -> Result<(), Fault> {
        unknown(name, value, self.aside, self.trail)
    }
}

/// A field that the schema does not have.
pub(super) fn unknown(
    name: &str,
    value: &Bound<'_, PyAny>,
    aside: &mut Aside,
    trail: &Trail<'_>,
) -> Result<(), Fault> {
    match aside.unknown {
        Unknown::Error => Err(Misfit::unknown(name).into()),
        Unknown::Drop => Ok(()),
        Unknown::Extra => super::json::write(aside.extra_key(&trail.join(name)), value, 0)
            .map_err(|fault| fault.within(name)),
    }
}

fn object(
    column: &mut Column,
    value: &Bound<'_, PyAny>,
    shape: Option<&mut Shape>,
    aside: &mut Aside,
    above: &Trail<'_>,
    at: At<'_>,
) -> Result<(), Fault> {
    if value.is_none() {
        return Ok(column.null()?);
    }
    let done = match &column.slot.kind {
        Kind::Text => match value.cast_exact::<PyString>() {
            Ok(string) => {
                let string = text(string)?;
                aside.bytes += string.len();
                column.text(string.as_bytes())
            }
            Err(_) => false,
        },
        Kind::Int(kind) => match value.cast_exact::<PyInt>() {
            Ok(_) => match int(value) {
                Some(number) if kind.holds(number) => column.int(number),
                _ => false,
            },
            Err(_) => false,
        },
        Kind::Float64 | Kind::Float32 => match value.cast_exact::<PyFloat>() {
            Ok(number) => column.float(number.value()),
            Err(_) => false,
        },
        Kind::Bool => match value.cast_exact::<PyBool>() {
            Ok(value) => column.boolean(value.is_true()),
            Err(_) => false,
        },
        Kind::Timestamp { .. } | Kind::Date | Kind::Time => moment(column, value)?,
        Kind::Decimal { precision, scale } => {
            let (precision, scale) = (*precision, *scale);
            let known = Known::get(value.py())?;
            if !known.is_decimal(value) {
                false
            } else if let Some(number) = decimal::parse(value.str()?.to_str()?, precision, scale) {
                column.scalar(Scalar::Decimal(number), aside);
                true
            } else {
                false
            }
        }
        Kind::Json => {
            aside.bytes += column.written(|out| super::json::write(out, value, 0))?;
            true
        }
        Kind::List(_) | Kind::Struct(_) | Kind::Map(_) => {
            nested(column, value, shape, aside, above, at)?
        }
        _ => false,
    };
    if done {
        return Ok(());
    }
    let value = Known::get(value.py())?
        .value(value, 0)
        .map_err(|fault| expecting(fault, &column.slot.kind))?;
    let name = column.slot.name.clone();
    column.value(&value, Origin::Python, aside, &at.below(above, &name))?;
    Ok(())
}

/// An object that is no value at all is missed at the place that wanted one.
pub(super) fn expecting(fault: Fault, kind: &Kind) -> Fault {
    match fault {
        Fault::Misfit(mut misfit) if misfit.field().is_empty() => {
            misfit.expected = kind.name();
            Fault::Misfit(misfit)
        }
        other => other,
    }
}

/// Dates and times as text, and datetimes.
fn moment(column: &mut Column, value: &Bound<'_, PyAny>) -> Result<bool, Fault> {
    if let Ok(string) = value.cast_exact::<PyString>() {
        return Ok(match fit_text(&column.slot.kind, text(string)?) {
            Some(number) => column.int(number),
            None => false,
        });
    }
    let Kind::Timestamp { unit, aware } = column.slot.kind else {
        return Ok(false);
    };
    let known = Known::get(value.py())?;
    if !known.is_datetime(value) {
        return Ok(false);
    }
    let (micros, zoned) = known.datetime(value)?;
    let plain = unit != arrow_schema::TimeUnit::Nanosecond && (aware || !zoned);
    Ok(plain && column.int(micros))
}

fn nested(
    column: &mut Column,
    value: &Bound<'_, PyAny>,
    mut shape: Option<&mut Shape>,
    aside: &mut Aside,
    above: &Trail<'_>,
    at: At<'_>,
) -> Result<bool, Fault> {
    let (slot, parts) = column.nested();
    let here = at.below(above, &slot.name);
    match parts {
        Nested::List(items) => {
            let Ok(list) = value.cast_exact::<PyList>() else {
                return Ok(false);
            };
            let width = items.slot.kind.width();
            // The length is asked each time: an item's own code may change it.
            let mut index = 0;
            while index < list.len() {
                let item = list.get_item(index)?;
                let shape = shape.as_deref_mut();
                object(items, &item, shape, aside, &here, At::Item(index))
                    .map_err(|fault| fault.at(index))?;
                aside.bytes += width;
                index += 1;
            }
        }
        Nested::Struct(columns, rows) => {
            let (Ok(dict), Some(shape)) = (value.cast::<PyDict>(), shape) else {
                return Ok(false);
            };
            fields(columns, rows, shape, dict, aside, &here)?;
        }
        Nested::Map(keys, values) => {
            let Ok(dict) = value.cast::<PyDict>() else {
                return Ok(false);
            };
            let width = values.slot.kind.width() + 4;
            for pair in dict.items() {
                let (key, item): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
                let Ok(name) = key.cast::<PyString>() else {
                    return Err(super::walk::not_text(&key));
                };
                let name = text(name)?;
                let shape = shape.as_deref_mut();
                object(values, &item, shape, aside, &here, At::Key(name))
                    .map_err(|fault| fault.within(name))?;
                keys.text(name.as_bytes());
                aside.bytes += name.len() + width;
            }
        }
        Nested::None => return Ok(false),
    }
    column.close();
    Ok(true)
}
