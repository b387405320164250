//! What a Python object is: one classification for every place that asks.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
    PyType,
};
use pyo3::{ffi, intern};

use super::{DEPTH, Fault, too_deep};
use crate::record::time::{MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil};
use crate::record::value::{Misfit, Value};

/// The classes that are recognised, looked up once.
pub(super) struct Known {
    datetime: Py<PyType>,
    /// `datetime.__reduce__`: gives all numbers of a datetime in one call.
    reduce: Py<PyAny>,
    date: Py<PyType>,
    time: Py<PyType>,
    timedelta: Py<PyType>,
    utc: Py<PyAny>,
    decimal: Py<PyType>,
    enumeration: Py<PyType>,
}

static KNOWN: PyOnceLock<Known> = PyOnceLock::new();

/// Days from 0001-01-01, which Python counts as 1, to 1970-01-01.
const ORDINAL_1970: i64 = 719_163;

impl Known {
    pub(super) fn get(py: Python<'_>) -> PyResult<&Self> {
        KNOWN.get_or_try_init(py, || {
            let datetimes = py.import("datetime")?;
            let class = |name: &str| -> PyResult<Py<PyType>> {
                Ok(datetimes.getattr(name)?.cast_into::<PyType>()?.unbind())
            };
            Ok(Self {
                datetime: class("datetime")?,
                reduce: datetimes
                    .getattr("datetime")?
                    .getattr("__reduce__")?
                    .unbind(),
                date: class("date")?,
                time: class("time")?,
                timedelta: class("timedelta")?,
                utc: datetimes.getattr("timezone")?.getattr("utc")?.unbind(),
                decimal: py
                    .import("decimal")?
                    .getattr("Decimal")?
                    .cast_into::<PyType>()?
                    .unbind(),
                enumeration: py
                    .import("enum")?
                    .getattr("Enum")?
                    .cast_into::<PyType>()?
                    .unbind(),
            })
        })
    }

    /// Exactly a datetime, no subclass of it.
    pub(super) fn is_datetime(&self, object: &Bound<'_, PyAny>) -> bool {
        type_of(object) == self.datetime.as_ptr().cast()
    }

    /// Exactly a Decimal.
    pub(super) fn is_decimal(&self, object: &Bound<'_, PyAny>) -> bool {
        type_of(object) == self.decimal.as_ptr().cast()
    }

    /// Microseconds since 1970, and whether there was a zone.
    pub(super) fn datetime(&self, object: &Bound<'_, PyAny>) -> PyResult<(i64, bool)> {
        let py = object.py();
        if self.is_datetime(object) {
            // (class, (bytes,)) or (class, (bytes, tzinfo)).
            let reduced = self.reduce.bind(py).call1((object,))?;
            let arguments = reduced.get_item(1)?.cast_into::<PyTuple>()?;
            let packed = arguments.get_item(0)?.cast_into::<PyBytes>()?;
            if let Some(local) = unpack(packed.as_bytes()) {
                if arguments.len() < 2 {
                    return Ok((local, false));
                }
                if arguments.get_item(1)?.is(&self.utc) {
                    return Ok((local, true));
                }
                return self.in_utc(object, local);
            }
        }
        let number = |name| object.getattr(name)?.extract::<i64>();
        let days = days_from_civil(
            number(intern!(py, "year"))?,
            number(intern!(py, "month"))?,
            number(intern!(py, "day"))?,
        );
        let seconds = (number(intern!(py, "hour"))? * 60 + number(intern!(py, "minute"))?) * 60
            + number(intern!(py, "second"))?;
        let micros = number(intern!(py, "microsecond"))?;
        self.in_utc(
            object,
            days * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + micros,
        )
    }

    fn in_utc(&self, object: &Bound<'_, PyAny>, local: i64) -> PyResult<(i64, bool)> {
        let offset = object.call_method0(intern!(object.py(), "utcoffset"))?;
        if offset.is_none() {
            return Ok((local, false));
        }
        Ok((local - timedelta(&offset)?.unwrap_or_default(), true))
    }

    /// Any value; `depth` counts the lists and dicts around it.
    pub(super) fn value(&self, object: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Fault> {
        let py = object.py();
        if object.is_none() {
            return Ok(Value::Null);
        }
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(Value::Text(self::text(text)?.to_owned()));
        }
        if let Ok(value) = object.cast::<PyBool>() {
            return Ok(Value::Bool(value.is_true()));
        }
        if object.cast::<PyInt>().is_ok() {
            return Ok(match self::int(object) {
                Some(number) => Value::Int(number),
                None => Value::Big(big(object)?),
            });
        }
        if let Ok(number) = object.cast::<PyFloat>() {
            return Ok(Value::Float(number.value()));
        }
        if depth >= DEPTH {
            return Err(too_deep());
        }
        if let Ok(dict) = object.cast::<PyDict>() {
            return Ok(Value::Map(self.map(dict, depth + 1)?));
        }
        if object.cast::<PyList>().is_ok() || object.cast::<PyTuple>().is_ok() {
            let mut items = Vec::with_capacity(object.len()?);
            for (index, item) in object.try_iter()?.enumerate() {
                items.push(
                    self.value(&item?, depth + 1)
                        .map_err(|fault| fault.at(index))?,
                );
            }
            return Ok(Value::List(items));
        }
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Value::Bytes(bytes.as_bytes().to_vec()));
        }
        if object.is_instance(self.datetime.bind(py))? {
            let (micros, aware) = self.datetime(object)?;
            return Ok(Value::Timestamp { micros, aware });
        }
        if object.is_instance(self.date.bind(py))? {
            let ordinal: i64 = object.call_method0(intern!(py, "toordinal"))?.extract()?;
            // Years 1 to 9999: always inside of 32 bits.
            return Ok(Value::Date((ordinal - ORDINAL_1970) as i32));
        }
        if object.is_instance(self.decimal.bind(py))? {
            return Ok(Value::Decimal(object.str()?.to_str()?.to_owned()));
        }
        if object.is_instance(self.time.bind(py))? {
            return self.time(object);
        }
        if object.is_instance(self.timedelta.bind(py))? {
            return timedelta(object)?
                .map(Value::Duration)
                .ok_or_else(|| Misfit::new("duration", "timedelta out of range").into());
        }
        if object.cast::<PyByteArray>().is_ok() || object.cast::<PyMemoryView>().is_ok() {
            let bytes = py.get_type::<PyBytes>().call1((object,))?;
            return Ok(Value::Bytes(
                bytes
                    .cast::<PyBytes>()
                    .map_err(PyErr::from)?
                    .as_bytes()
                    .to_vec(),
            ));
        }
        self.other(object, depth)
    }

    fn time(&self, object: &Bound<'_, PyAny>) -> Result<Value, Fault> {
        let py = object.py();
        if !object.getattr(intern!(py, "tzinfo"))?.is_none() {
            return Err(Misfit::new("time without a zone", "time with a zone").into());
        }
        let number = |name| object.getattr(name)?.extract::<i64>();
        let seconds = (number(intern!(py, "hour"))? * 60 + number(intern!(py, "minute"))?) * 60
            + number(intern!(py, "second"))?;
        Ok(Value::Time(
            seconds * MICROS_PER_SECOND + number(intern!(py, "microsecond"))?,
        ))
    }

    /// Enumerations by their value, UUIDs, and what converts itself to a
    /// number (NumPy's scalars).
    fn other(&self, object: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Fault> {
        let py = object.py();
        if object.is_instance(self.enumeration.bind(py))? {
            return self.value(&object.getattr(intern!(py, "value"))?, depth + 1);
        }
        let class = object.get_type();
        if is_uuid(object)? {
            return Ok(Value::Text(object.str()?.to_str()?.to_owned()));
        }
        if class.hasattr(intern!(py, "__index__"))? {
            let number = object.call_method0(intern!(py, "__index__"))?;
            return self.value(&number, depth + 1);
        }
        if class.hasattr(intern!(py, "__float__"))? {
            let number = object.call_method0(intern!(py, "__float__"))?;
            return self.value(&number, depth + 1);
        }
        Err(Misfit::new("a type that a record may hold", class.name()?.to_string()).into())
    }

    fn map(&self, dict: &Bound<'_, PyDict>, depth: usize) -> Result<Vec<(String, Value)>, Fault> {
        let mut pairs = Vec::with_capacity(dict.len());
        // Items first: converting a value may run code that changes the dict.
        for (key, item) in dict.items().iter().filter_map(|pair| pair.extract().ok()) {
            let (key, item): (Bound<'_, PyAny>, Bound<'_, PyAny>) = (key, item);
            let Ok(name) = key.cast::<PyString>() else {
                return Err(super::walk::not_text(&key));
            };
            let name = text(name)?.to_owned();
            let value = self
                .value(&item, depth)
                .map_err(|fault| fault.within(&name))?;
            pairs.push((name, value));
        }
        Ok(pairs)
    }
}

/// A record as values.
pub(crate) fn pairs(record: &Bound<'_, PyDict>) -> Result<Vec<(String, Value)>, Fault> {
    Known::get(record.py())?.map(record, 0)
}

/// Plain Python data as a JSON document.
pub(crate) fn json_document(object: &Bound<'_, PyAny>) -> Result<serde_json::Value, Fault> {
    let mut text = Vec::new();
    super::json::write(&mut text, object, 0)?;
    serde_json::from_slice(&text)
        .map_err(|error| Misfit::new("a JSON document", error.to_string()).into())
}

/// The class of an object, to compare with another.
#[inline]
pub(super) fn type_of(object: &Bound<'_, PyAny>) -> *mut ffi::PyTypeObject {
    object.get_type_ptr()
}

/// A string's UTF-8; half of a surrogate pair has none.
pub(super) fn text<'a>(object: &'a Bound<'_, PyString>) -> Result<&'a str, Fault> {
    object
        .to_str()
        .map_err(|_| Misfit::new("string", "str with half of a surrogate pair").into())
}

/// An int, or None if it has more than 64 bits.
#[inline]
pub(super) fn int(object: &Bound<'_, PyAny>) -> Option<i64> {
    let mut overflow = 0;
    // SAFETY: the callers checked that it is an int, the thread is attached,
    // and `overflow` lives as long as the call; with it, nothing is raised.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &mut overflow) };
    (overflow == 0).then_some(number)
}

/// The digits of an int that has more than 64 bits.
fn big(object: &Bound<'_, PyAny>) -> Result<String, Fault> {
    // 300 bits are beyond every type that could hold it, and Python refuses
    // to print the longest.
    let bits: u64 = object
        .call_method0(intern!(object.py(), "bit_length"))?
        .extract()?;
    if bits > 300 {
        return Err(Misfit::new("int of at most 76 digits", "int out of range").into());
    }
    // A subclass may print itself as it likes.
    let plain = object.call_method0(intern!(object.py(), "__int__"))?;
    Ok(plain.str()?.to_str()?.to_owned())
}

/// Microseconds, None where they leave 64 bits.
fn timedelta(object: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    let py = object.py();
    let number = |name| object.getattr(name)?.extract::<i64>();
    let days = number(intern!(py, "days"))?;
    let rest =
        number(intern!(py, "seconds"))? * MICROS_PER_SECOND + number(intern!(py, "microseconds"))?;
    Ok(days
        .checked_mul(MICROS_PER_DAY)
        .and_then(|days| days.checked_add(rest)))
}

/// The ten bytes in which a datetime pickles itself.
fn unpack(packed: &[u8]) -> Option<i64> {
    let &[y1, y0, month, day, hour, minute, second, u2, u1, u0] = packed else {
        return None;
    };
    let days = days_from_civil(
        i64::from(y1) << 8 | i64::from(y0),
        (month & 0x7f).into(),
        day.into(),
    );
    let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    let micros = i64::from(u2) << 16 | i64::from(u1) << 8 | i64::from(u0);
    Some(days * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + micros)
}

/// Nobody can hold a UUID whose module is not loaded, and loading it takes
/// longer than a small call.
fn is_uuid(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    let modules = py.import("sys")?.getattr(intern!(py, "modules"))?;
    match modules.cast::<PyDict>()?.get_item(intern!(py, "uuid"))? {
        Some(module) => object.is_instance(&module.getattr(intern!(py, "UUID"))?),
        None => Ok(false),
    }
}
