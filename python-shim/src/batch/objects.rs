//! Cells as Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString};

use crate::record::decimal;
use crate::record::read::{Cell, Reader};
use crate::record::time::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days};

/// The classes of what has no literal.
pub(super) struct Objects<'py> {
    py: Python<'py>,
    datetime: Bound<'py, PyAny>,
    date: Bound<'py, PyAny>,
    time: Bound<'py, PyAny>,
    timedelta: Bound<'py, PyAny>,
    utc: Bound<'py, PyAny>,
    decimal: Bound<'py, PyAny>,
    /// Where numbers are spelled for Decimal.
    digits: Vec<u8>,
}

impl<'py> Objects<'py> {
    pub(super) fn new(py: Python<'py>) -> PyResult<Self> {
        let datetimes = py.import("datetime")?;
        Ok(Self {
            py,
            datetime: datetimes.getattr("datetime")?,
            date: datetimes.getattr("date")?,
            time: datetimes.getattr("time")?,
            timedelta: datetimes.getattr("timedelta")?,
            utc: datetimes.getattr("timezone")?.getattr("utc")?,
            decimal: py.import("decimal")?.getattr("Decimal")?,
            digits: Vec::new(),
        })
    }

    pub(super) fn cell(&mut self, reader: &Reader<'_>, row: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match reader.cell(row) {
            Cell::Null => py.None().into_bound(py),
            Cell::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
            Cell::Int(number) => number.into_pyobject(py)?.into_any(),
            Cell::Above(number) => number.into_pyobject(py)?.into_any(),
            Cell::Float(number) => PyFloat::new(py, number).into_any(),
            Cell::Single(number) => PyFloat::new(py, number.into()).into_any(),
            Cell::Text(text) | Cell::Json(text) => PyString::new(py, text).into_any(),
            Cell::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
            Cell::Decimal(number, scale) => {
                self.digits.clear();
                decimal::write(&mut self.digits, number, scale);
                let text = String::from_utf8_lossy(&self.digits);
                self.decimal.call1((text.as_ref(),))?
            }
            Cell::Date(days) => {
                let (year, month, day) = civil_from_days(days);
                self.date.call1((year, month, day))?
            }
            Cell::Time(micros) => {
                let (hour, minute, second, micro) = clock(micros);
                self.time.call1((hour, minute, second, micro))?
            }
            Cell::Timestamp(Some(micros), aware) => {
                let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
                let (hour, minute, second, micro) = clock(micros.rem_euclid(MICROS_PER_DAY));
                let zone = aware.then_some(&self.utc);
                self.datetime
                    .call1((year, month, day, hour, minute, second, micro, zone))?
            }
            Cell::Duration(Some(micros)) => self.timedelta.call1((
                micros.div_euclid(MICROS_PER_DAY),
                0,
                micros.rem_euclid(MICROS_PER_DAY),
            ))?,
            Cell::Timestamp(None, _) | Cell::Duration(None) => {
                return Err(pyo3::exceptions::PyValueError::new_err(format!(
                    "column {:?}: a time that microseconds of 64 bits cannot hold",
                    reader.name
                )));
            }
            Cell::List(items, rows) => {
                let cells = rows
                    .map(|row| self.cell(items, row))
                    .collect::<PyResult<Vec<_>>>()?;
                PyList::new(py, cells)?.into_any()
            }
            Cell::Struct(fields, row) => {
                let dict = PyDict::new(py);
                for field in fields {
                    dict.set_item(field.name, self.cell(field, row)?)?;
                }
                dict.into_any()
            }
            Cell::Map(keys, values, rows) => {
                let dict = PyDict::new(py);
                for row in rows {
                    dict.set_item(self.cell(keys, row)?, self.cell(values, row)?)?;
                }
                dict.into_any()
            }
        })
    }
}

/// (hour, minute, second, microsecond) of a time of day.
fn clock(micros: i64) -> (i64, i64, i64, i64) {
    let seconds = micros / MICROS_PER_SECOND;
    (
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        micros % MICROS_PER_SECOND,
    )
}
