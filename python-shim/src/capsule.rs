//! Arrow's C data interface in Python's capsules, both ways.
//!
//! The Arrow PyCapsule Interface: a capsule named `arrow_schema`,
//! `arrow_array` or `arrow_array_stream` holds the C structure of that name;
//! who takes it moves the structure out and leaves it released.

use std::ffi::CStr;
use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{Array, RecordBatch, RecordBatchIterator, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

fn raised(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The structure behind a capsule of this name.
fn pointer<'py, T>(object: &Bound<'py, PyAny>, name: &'static CStr) -> PyResult<*mut T> {
    let capsule = object.cast::<PyCapsule>()?;
    Ok(capsule.pointer_checked(Some(name))?.as_ptr().cast())
}

/// The schema of an object with `__arrow_c_schema__`.
pub(crate) fn schema(object: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let capsule = object.call_method0("__arrow_c_schema__")?;
    let pointer = pointer::<FFI_ArrowSchema>(&capsule, SCHEMA)?;
    // SAFETY: a capsule of this name holds a valid ArrowSchema, by the
    // interface; it is read, not taken, and the capsule outlives the read.
    let schema = Schema::try_from(unsafe { &*pointer }).map_err(raised)?;
    Ok(schema.into())
}

/// The batches of an object with `__arrow_c_stream__` or `__arrow_c_array__`.
pub(crate) fn stream(object: &Bound<'_, PyAny>) -> PyResult<RecordBatchStreamReader> {
    if object.hasattr("__arrow_c_stream__")? {
        let capsule = object.call_method0("__arrow_c_stream__")?;
        let pointer = pointer::<FFI_ArrowArrayStream>(&capsule, STREAM)?;
        // SAFETY: a capsule of this name holds a valid ArrowArrayStream, by
        // the interface; from_raw moves it out and leaves it released, so
        // that the capsule's destructor does nothing more.
        return unsafe { RecordBatchStreamReader::from_raw(pointer) }.map_err(raised);
    }
    if object.hasattr("__arrow_c_array__")? {
        let pair = object
            .call_method0("__arrow_c_array__")?
            .cast_into::<PyTuple>()?;
        let schema = pointer::<FFI_ArrowSchema>(&pair.get_item(0)?, SCHEMA)?;
        let array = pointer::<FFI_ArrowArray>(&pair.get_item(1)?, ARRAY)?;
        // SAFETY: capsules of these names hold valid structures, by the
        // interface. The schema is read; the array is moved out and left
        // released.
        let data =
            unsafe { from_ffi(FFI_ArrowArray::from_raw(array), &*schema) }.map_err(raised)?;
        if !matches!(data.data_type(), DataType::Struct(_)) {
            return Err(PyTypeError::new_err(format!(
                "Arrow data is a batch of records (a struct), not an array of {}",
                data.data_type()
            )));
        }
        let array = StructArray::from(data);
        if array.null_count() > 0 {
            return Err(PyValueError::new_err(
                "a batch of records has no null records",
            ));
        }
        let batch = RecordBatch::from(array);
        let schema = batch.schema();
        let one = RecordBatchIterator::new([Ok(batch)], schema);
        return RecordBatchStreamReader::try_new(FFI_ArrowArrayStream::new(Box::new(one)))
            .map_err(raised);
    }
    Err(PyTypeError::new_err(format!(
        "{} has neither __arrow_c_stream__ nor __arrow_c_array__",
        object.get_type().name()?
    )))
}

/// A schema's capsule.
pub(crate) fn of_schema<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema).map_err(raised)?;
    PyCapsule::new_with_value(py, schema, SCHEMA)
}

/// A batch's two capsules; its buffers are shared.
pub(crate) fn of_batch<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let array = StructArray::from(batch.clone());
    let field = Field::new("", array.data_type().clone(), false)
        .with_metadata(batch.schema().metadata().clone());
    let schema = FFI_ArrowSchema::try_from(&field).map_err(raised)?;
    let array = FFI_ArrowArray::new(&array.to_data());
    Ok((
        PyCapsule::new_with_value(py, schema, SCHEMA)?,
        PyCapsule::new_with_value(py, array, ARRAY)?,
    ))
}

/// A stream of this one batch.
pub(crate) fn of_stream<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = Arc::clone(&batch.schema());
    let one = RecordBatchIterator::new([Ok(batch.clone())], schema);
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(one)), STREAM)
}
