//! Columns turned into JSON's text, for destinations that hold nested values
//! as documents.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Schema};

use super::kind::json_field;
use super::read::Reader;
use super::value::Misfit;

/// Why a column has no form as JSON.
#[derive(Debug)]
pub(crate) enum NoJson {
    Value(Box<Misfit>),
    /// Texts beyond 2 GiB, which offsets of 32 bits cannot reach.
    TooLarge,
    Arrow(ArrowError),
}

/// The batch with these columns as JSON; a null stays one.
pub(crate) fn with_json(
    batch: &RecordBatch,
    readers: &[Reader<'_>],
    columns: &[usize],
) -> Result<RecordBatch, NoJson> {
    let schema = batch.schema_ref();
    let mut fields = schema.fields().to_vec();
    let mut arrays = batch.columns().to_vec();
    for &at in columns {
        let field = &fields[at];
        fields[at] = Arc::new(json_field(field.name(), field.is_nullable()));
        arrays[at] = texts(&arrays[at], &readers[at])?;
    }
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options).map_err(NoJson::Arrow)
}

fn texts(array: &ArrayRef, reader: &Reader<'_>) -> Result<ArrayRef, NoJson> {
    let nulls = array.logical_nulls();
    // A reader names the innermost field.
    let whole = |misfit: Box<Misfit>| match array.data_type().is_nested() {
        true => misfit.within(reader.name),
        false => misfit,
    };
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(array.len() + 1);
    offsets.push(0);
    for row in 0..array.len() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            reader
                .json(row, &mut bytes)
                .map_err(|misfit| NoJson::Value(whole(misfit)))?;
        }
        offsets.push(i32::try_from(bytes.len()).map_err(|_| NoJson::TooLarge)?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let texts = StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls);
    Ok(Arc::new(texts.map_err(NoJson::Arrow)?))
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::cast::AsArray as _;
    use arrow_array::{Float64Array, Int64Array, StructArray};
    use arrow_schema::{DataType, Field};

    use super::*;
    use crate::record::kind::is_json;

    fn batch() -> RecordBatch {
        let mut list = ListBuilder::new(Int64Builder::new());
        list.append_value([Some(1), None]);
        list.append_null();
        list.append_value([]);
        let inner = Field::new("a", DataType::Float64, true);
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)]));
        let object = StructArray::from(vec![(Arc::new(inner), values)]);
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("list", Arc::new(list.finish())),
            ("object", Arc::new(object)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn nested_columns_become_json_and_the_others_stay() {
        let batch = batch().slice(0, 2);
        let found = with_json(&batch, &Reader::of(&batch).unwrap(), &[1, 2]).unwrap();
        assert_eq!(found.column(0), batch.column(0));
        let texts = |at: usize| {
            found
                .column(at)
                .as_string::<i32>()
                .iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(1), [Some("[1,null]"), None]);
        assert_eq!(texts(2), [Some(r#"{"a":1.5}"#), Some(r#"{"a":null}"#)]);
        assert!(is_json(found.schema_ref().field(1)) && is_json(found.schema_ref().field(2)));
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let batch = batch();
        let found = with_json(&batch, &Reader::of(&batch).unwrap(), &[2]);
        let Err(NoJson::Value(misfit)) = found else {
            panic!("{found:?}")
        };
        assert_eq!(misfit.field(), "object.a");
    }
}
