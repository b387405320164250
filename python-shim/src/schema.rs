//! Schemas as Python sees them.

use arrow_schema::{ArrowError, Schema, SchemaRef};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyCapsule, PyDict, PyList, PyString};
use serde_json::Value;

use crate::python::{Fault, json_document, pairs};
use crate::record::infer::infer;
use crate::record::{ipc, json_schema, notation};

/// See `_native.pyi`.
#[pyclass(frozen, eq, module = "caisson._native")]
#[derive(PartialEq)]
pub(crate) struct ArrowSchema(SchemaRef);

impl ArrowSchema {
    pub(crate) fn of(schema: SchemaRef) -> Self {
        Self(schema)
    }

    pub(crate) fn inner(&self) -> SchemaRef {
        self.0.clone()
    }
}

/// For values that are no record of any stream.
pub(crate) fn refused(fault: Fault) -> PyErr {
    match fault {
        Fault::Python(error) => error,
        Fault::Misfit(misfit) => PyValueError::new_err(format!(
            "{}expected {}, found {}",
            match misfit.field().as_str() {
                "" => String::new(),
                field => format!("field {field:?}: "),
            },
            misfit.expected,
            misfit.found
        )),
    }
}

fn malformed(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl ArrowSchema {
    #[staticmethod]
    fn from_fields(fields: &Bound<'_, PyAny>) -> PyResult<Self> {
        let fields = json_document(fields).map_err(refused)?;
        let schema = notation::schema(&fields).map_err(PyValueError::new_err)?;
        Ok(Self(schema.into()))
    }

    #[staticmethod]
    fn from_arrow(schema: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(crate::capsule::schema(schema)?))
    }

    #[staticmethod]
    fn from_json_schema(schema: &Bound<'_, PyAny>) -> PyResult<Self> {
        let document = json_document(schema).map_err(refused)?;
        let schema = json_schema::schema(&document).map_err(PyValueError::new_err)?;
        Ok(Self(schema.into()))
    }

    #[staticmethod]
    fn from_ipc(message: &[u8]) -> PyResult<Self> {
        ipc::read_schema(message).map(Self).map_err(malformed)
    }

    #[staticmethod]
    fn infer(records: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut sample = Vec::new();
        for record in records.try_iter()? {
            let record = record?;
            let Ok(record) = record.cast::<PyDict>() else {
                return Err(PyTypeError::new_err("a record is a dict"));
            };
            sample.push(pairs(record).map_err(refused)?);
        }
        Ok(Self(infer(sample.iter().map(Vec::as_slice)).into()))
    }

    fn to_ipc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let message = ipc::schema(&self.0).map_err(malformed)?;
        Ok(PyBytes::new(py, &message))
    }

    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &notation::plain(self.0.fields()))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema: &Schema = &self.0;
        crate::capsule::of_schema(py, schema)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("ArrowSchema({})", self.fields(py)?.repr()?))
    }
}

/// A JSON document as Python data.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (_, Some(number)) => number.into_pyobject(py)?.into_any(),
            _ => number
                .as_f64()
                .unwrap_or(f64::NAN)
                .into_pyobject(py)?
                .into_any(),
        },
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            list.into_any()
        }
        Value::Object(items) => {
            let dict = PyDict::new(py);
            for (name, item) in items {
                dict.set_item(name, to_python(py, item)?)?;
            }
            dict.into_any()
        }
    })
}
