//! Any Python value as JSON, without a schema: `json` fields and unknown ones.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::objects::{Known, int, text};
use super::walk::not_text;
use super::{DEPTH, Fault, too_deep};
use crate::record::json_text;

pub(super) fn write(
    out: &mut Vec<u8>,
    object: &Bound<'_, PyAny>,
    depth: usize,
) -> Result<(), Fault> {
    if object.is_none() {
        out.extend_from_slice(b"null");
    } else if let Ok(string) = object.cast_exact::<PyString>() {
        json_text::string(out, text(string)?);
    } else if let Ok(value) = object.cast_exact::<PyBool>() {
        json_text::boolean(out, value.is_true());
    } else if object.is_exact_instance_of::<PyInt>()
        && let Some(number) = int(object)
    {
        json_text::int(out, number);
    } else if let Ok(number) = object.cast_exact::<PyFloat>() {
        if !json_text::float(out, number.value()) {
            return Err(json_text::not_finite("json").into());
        }
    } else if depth >= DEPTH {
        return Err(too_deep());
    } else if let Ok(dict) = object.cast::<PyDict>() {
        out.push(b'{');
        for (at, pair) in dict.items().iter().enumerate() {
            let (key, item): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let Ok(name) = key.cast::<PyString>() else {
                return Err(not_text(&key));
            };
            let name = text(name)?;
            if at > 0 {
                out.push(b',');
            }
            json_text::string(out, name);
            out.push(b':');
            write(out, &item, depth + 1).map_err(|fault| fault.within(name))?;
        }
        out.push(b'}');
    } else if object.cast::<PyList>().is_ok() || object.cast::<PyTuple>().is_ok() {
        out.push(b'[');
        for (index, item) in object.try_iter()?.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, &item?, depth + 1).map_err(|fault| fault.at(index))?;
        }
        out.push(b']');
    } else {
        let value = Known::get(object.py())?.value(object, depth)?;
        json_text::value(out, &value)?;
    }
    Ok(())
}
