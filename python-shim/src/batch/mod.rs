//! Decoded records on their way to a destination.

mod decode;
mod objects;

use arrow_array::RecordBatch as Arrow;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict, PyList, PyTuple};

use crate::capsule;
use crate::record::copy_text;
use crate::record::nested::{self, NoJson};
use crate::record::read::Reader;
use crate::record::value::Misfit;
use crate::schema::ArrowSchema;
use objects::Objects;

/// See `_native.pyi`. Holds plain layouts only.
#[pyclass(frozen, module = "caisson._native")]
pub(crate) struct RecordBatch(Arrow);

fn refused(misfit: &Misfit) -> PyErr {
    PyValueError::new_err(format!(
        "column {:?}: expected {}, found {}",
        misfit.field(),
        misfit.expected,
        misfit.found
    ))
}

fn place(readers: &[Reader<'_>], name: &str) -> PyResult<usize> {
    let found = readers.iter().position(|reader| reader.name == name);
    found.ok_or_else(|| PyValueError::new_err(format!("there is no field {name:?}")))
}

impl RecordBatch {
    fn readers(&self) -> PyResult<Vec<Reader<'_>>> {
        Reader::of(&self.0).map_err(|foreign| PyValueError::new_err(foreign.to_string()))
    }
}

#[pymethods]
impl RecordBatch {
    #[staticmethod]
    fn decode(
        py: Python<'_>,
        schema: Option<&ArrowSchema>,
        encoding: &str,
        body: &Bound<'_, PyBytes>,
    ) -> PyResult<Self> {
        let schema = schema.map(ArrowSchema::inner);
        let bytes = body.as_bytes();
        py.detach(|| decode::decode(schema, encoding, bytes))
            .map(Self)
            .map_err(PyValueError::new_err)
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    #[getter]
    fn nbytes(&self) -> PyResult<usize> {
        let sizes = self
            .0
            .columns()
            .iter()
            .map(|column| column.to_data().get_slice_memory_size());
        sizes
            .sum::<Result<usize, _>>()
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    #[getter]
    fn schema(&self) -> ArrowSchema {
        ArrowSchema::of(self.0.schema())
    }

    fn to_pylist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let readers = self.readers()?;
        let mut objects = Objects::new(py)?;
        let names: Vec<_> = readers
            .iter()
            .map(|reader| pyo3::types::PyString::intern(py, reader.name))
            .collect();
        let list = PyList::empty(py);
        for row in 0..self.0.num_rows() {
            let record = PyDict::new(py);
            for (name, reader) in names.iter().zip(&readers) {
                record.set_item(name, objects.cell(reader, row)?)?;
            }
            list.append(record)?;
        }
        Ok(list)
    }

    #[pyo3(signature = (columns=None))]
    fn rows<'py>(
        &self,
        py: Python<'py>,
        columns: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let all = self.readers()?;
        let named = |name: &String| place(&all, name).map(|at| &all[at]);
        let readers: Vec<_> = match &columns {
            None => all.iter().collect(),
            Some(names) => names.iter().map(named).collect::<PyResult<_>>()?,
        };
        let mut objects = Objects::new(py)?;
        let list = PyList::empty(py);
        for row in 0..self.0.num_rows() {
            let cells = readers
                .iter()
                .map(|reader| objects.cell(reader, row))
                .collect::<PyResult<Vec<_>>>()?;
            list.append(PyTuple::new(py, cells)?)?;
        }
        Ok(list)
    }

    fn with_json(&self, py: Python<'_>, columns: Vec<String>) -> PyResult<Self> {
        let readers = self.readers()?;
        let places = columns.iter().map(|name| place(&readers, name));
        let places = places.collect::<PyResult<Vec<_>>>()?;
        py.detach(|| nested::with_json(&self.0, &readers, &places))
            .map(Self)
            .map_err(|refusal| match refusal {
                NoJson::Value(misfit) => refused(&misfit),
                NoJson::TooLarge => PyValueError::new_err("more than 2 GiB of JSON in a column"),
                NoJson::Arrow(error) => PyValueError::new_err(error.to_string()),
            })
    }

    fn slice(&self, offset: usize, length: usize) -> PyResult<Self> {
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > self.0.num_rows()) {
            return Err(PyIndexError::new_err(format!(
                "records {offset} to {offset}+{length} of {}",
                self.0.num_rows()
            )));
        }
        Ok(Self(self.0.slice(offset, length)))
    }

    #[pyo3(signature = (null="\\N"))]
    fn csv<'py>(&self, py: Python<'py>, null: &str) -> PyResult<Bound<'py, PyBytes>> {
        let readers = self.readers()?;
        let rows = self.0.num_rows();
        let text = py
            .detach(|| copy_text::rows(&readers, rows, null))
            .map_err(|misfit| refused(&misfit))?;
        Ok(PyBytes::new(py, &text))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::of_schema(py, &self.0.schema())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // A request, which the interface lets us ignore.
        let _ = requested_schema;
        capsule::of_batch(py, &self.0)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        capsule::of_stream(py, &self.0)
    }

    fn __repr__(&self) -> String {
        format!(
            "RecordBatch({} records, {} fields)",
            self.0.num_rows(),
            self.0.num_columns()
        )
    }
}
