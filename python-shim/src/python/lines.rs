//! Dicts into JSON lines, by the same rules as into columns.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

use super::columns::{expecting, unknown};
use super::objects::{Known, int, text};
use super::walk::{Shape, Visit};
use super::{At, Fault};
use crate::record::fit::{Origin, Scalar, fit_text};
use crate::record::kind::{Kind, Slot};
use crate::record::lines::{self, Lines, begin_field, is_extra};
use crate::record::value::{Aside, Misfit, Trail};
use crate::record::{decimal, json_text};

/// Adds a record and gives its size. After an error the caller takes the
/// record back.
pub(crate) fn push(
    lines: &mut Lines,
    shape: &mut Shape,
    record: &Bound<'_, PyDict>,
    aside: &mut Aside,
) -> Result<usize, Fault> {
    let Lines { slots, out, .. } = lines;
    fields(out, slots, shape, record, aside, &Trail::Root)?;
    Ok(lines.end_record(aside))
}

fn fields(
    out: &mut Vec<u8>,
    slots: &[Slot],
    shape: &mut Shape,
    dict: &Bound<'_, PyDict>,
    aside: &mut Aside,
    trail: &Trail<'_>,
) -> Result<(), Fault> {
    out.push(b'{');
    let mut fields = Fields {
        out,
        slots,
        aside,
        trail,
        first: true,
    };
    let seen = shape.walk(dict, &mut fields)?;
    if seen < slots.len() {
        for (index, slot) in slots.iter().enumerate() {
            if shape.saw(index) || is_extra(slot, trail, fields.aside) {
                continue;
            }
            begin_field(fields.out, &slot.key, fields.first);
            fields.first = false;
            lines::null(fields.out, slot)
                .map_err(|_| Misfit::new(slot.kind.name(), "no value").within(&slot.name))?;
        }
    }
    out.push(b'}');
    Ok(())
}

struct Fields<'a> {
    out: &'a mut Vec<u8>,
    slots: &'a [Slot],
    aside: &'a mut Aside,
    trail: &'a Trail<'a>,
    first: bool,
}

impl Visit for Fields<'_> {
    #[inline]
    fn field(
        &mut self,
        index: usize,
        value: &Bound<'_, PyAny>,
        child: Option<&mut Shape>,
    ) -> Result<(), Fault> {
        let slot = &self.slots[index];
        begin_field(self.out, &slot.key, self.first);
        self.first = false;
        match object(
            self.out,
            slot,
            value,
            child,
            self.aside,
            self.trail,
            At::Field,
        ) {
            Ok(()) => Ok(()),
            Err(fault) => Err(fault.within(&slot.name)),
        }
    }

    fn unknown(&mut self, name: &str, value: &Bound<'_, PyAny>) -> Result<(), Fault> {
        unknown(name, value, self.aside, self.trail)
    }
}

fn object(
    out: &mut Vec<u8>,
    slot: &Slot,
    value: &Bound<'_, PyAny>,
    shape: Option<&mut Shape>,
    aside: &mut Aside,
    above: &Trail<'_>,
    at: At<'_>,
) -> Result<(), Fault> {
    if value.is_none() {
        return Ok(lines::null(out, slot)?);
    }
    match &slot.kind {
        Kind::Text => {
            if let Ok(string) = value.cast_exact::<PyString>() {
                json_text::string(out, text(string)?);
                return Ok(());
            }
        }
        Kind::Int(kind) => {
            if value.is_exact_instance_of::<PyInt>()
                && let Some(number) = int(value).filter(|number| kind.holds(*number))
            {
                json_text::int(out, number);
                return Ok(());
            }
        }
        Kind::Float64 => {
            if let Ok(number) = value.cast_exact::<PyFloat>() {
                return match json_text::float(out, number.value()) {
                    true => Ok(()),
                    false => Err(json_text::not_finite("float64").into()),
                };
            }
        }
        Kind::Bool => {
            if let Ok(value) = value.cast_exact::<PyBool>() {
                json_text::boolean(out, value.is_true());
                return Ok(());
            }
        }
        kind @ (Kind::Timestamp { .. } | Kind::Date | Kind::Time) => {
            if let Some(number) = moment(kind, value)? {
                lines::int(out, kind, number);
                return Ok(());
            }
        }
        kind @ Kind::Decimal { precision, scale } => {
            if Known::get(value.py())?.is_decimal(value)
                && let Some(number) = decimal::parse(value.str()?.to_str()?, *precision, *scale)
            {
                lines::scalar(out, kind, Scalar::Decimal(number))?;
                return Ok(());
            }
        }
        Kind::Json => return super::json::write(out, value, 0),
        Kind::List(_) | Kind::Struct(_) | Kind::Map(_) => {
            let done = nested(out, slot, value, shape, aside, above, at)?;
            if done {
                return Ok(());
            }
        }
        _ => {}
    }
    let value = Known::get(value.py())?
        .value(value, 0)
        .map_err(|fault| expecting(fault, &slot.kind))?;
    let here = at.below(above, &slot.name);
    lines::value(out, slot, &value, Origin::Python, aside, &here)?;
    Ok(())
}

fn moment(kind: &Kind, value: &Bound<'_, PyAny>) -> Result<Option<i64>, Fault> {
    if let Ok(string) = value.cast_exact::<PyString>() {
        return Ok(fit_text(kind, text(string)?));
    }
    let Kind::Timestamp { unit, aware } = kind else {
        return Ok(None);
    };
    let known = Known::get(value.py())?;
    if !known.is_datetime(value) {
        return Ok(None);
    }
    let (micros, zoned) = known.datetime(value)?;
    let plain = *unit != arrow_schema::TimeUnit::Nanosecond && (*aware || !zoned);
    Ok(plain.then_some(micros))
}

fn nested(
    out: &mut Vec<u8>,
    slot: &Slot,
    value: &Bound<'_, PyAny>,
    mut shape: Option<&mut Shape>,
    aside: &mut Aside,
    above: &Trail<'_>,
    at: At<'_>,
) -> Result<bool, Fault> {
    let here = at.below(above, &slot.name);
    match &slot.kind {
        Kind::List(item_slot) => {
            let Ok(list) = value.cast_exact::<PyList>() else {
                return Ok(false);
            };
            out.push(b'[');
            let mut index = 0;
            while index < list.len() {
                let item = list.get_item(index)?;
                if index > 0 {
                    out.push(b',');
                }
                let shape = shape.as_deref_mut();
                object(out, item_slot, &item, shape, aside, &here, At::Item(index))
                    .map_err(|fault| fault.at(index))?;
                index += 1;
            }
            out.push(b']');
        }
        Kind::Struct(slots) => {
            let (Ok(dict), Some(shape)) = (value.cast::<PyDict>(), shape) else {
                return Ok(false);
            };
            fields(out, slots, shape, dict, aside, &here)?;
        }
        Kind::Map(value_slot) => {
            let Ok(dict) = value.cast::<PyDict>() else {
                return Ok(false);
            };
            out.push(b'{');
            for (index, pair) in dict.items().iter().enumerate() {
                let (key, item): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
                let Ok(name) = key.cast::<PyString>() else {
                    return Err(super::walk::not_text(&key));
                };
                let name = text(name)?;
                if index > 0 {
                    out.push(b',');
                }
                json_text::string(out, name);
                out.push(b':');
                let shape = shape.as_deref_mut();
                object(out, value_slot, &item, shape, aside, &here, At::Key(name))
                    .map_err(|fault| fault.within(name))?;
            }
            out.push(b'}');
        }
        _ => return Ok(false),
    }
    Ok(true)
}
