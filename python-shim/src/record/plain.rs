//! Arrow data as it comes, brought to the layouts that every consumer reads.
//!
//! Dictionaries, views, run ends and other compact layouts are undone: no
//! dictionary may span schema ids, and readers of other languages lag behind.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::read::Reader;
use super::value::{EXTRA, Misfit, Unknown};

/// A conversion that loses a value is an error, not a null.
const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow_cast::display::FormatOptions::new(),
};

/// The plain layout of a type; the type itself if it is plain.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::ListView(item) | DataType::FixedSizeList(item, _) | DataType::List(item) => {
            DataType::List(plain_field(item))
        }
        DataType::LargeListView(item) | DataType::LargeList(item) => {
            DataType::LargeList(plain_field(item))
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, ordered) => DataType::Map(plain_field(entries), *ordered),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) => DataType::Time64(TimeUnit::Microsecond),
        other => other.clone(),
    }
}

fn plain_field(field: &Arc<Field>) -> Arc<Field> {
    let data_type = plain_type(field.data_type());
    if data_type == *field.data_type() {
        return field.clone();
    }
    Arc::new((**field).clone().with_data_type(data_type))
}

/// The plain layout of a schema.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new(fields))
}

/// The batch in exactly this schema. Columns may come in another order and in
/// another layout of the same type; values that another *type* would need are
/// refused, and so are missing columns. Unknown columns go the way of unknown
/// fields.
pub(crate) fn conform(
    batch: &RecordBatch,
    schema: &SchemaRef,
    unknown: Unknown,
) -> Result<RecordBatch, Box<Misfit>> {
    let given = batch.schema();
    let known = |field: &Field| {
        let aside = unknown == Unknown::Extra && field.name() == EXTRA;
        !aside && schema.index_of(field.name()).is_ok()
    };
    if unknown == Unknown::Error
        && let Some(field) = given.fields().iter().find(|field| !known(field))
    {
        let found = field.data_type().to_string();
        return Err(Misfit::new("no such field", found).within(field.name()));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if unknown == Unknown::Extra && field.name() == EXTRA {
            let others: Vec<usize> = (0..given.fields().len())
                .filter(|at| !known(given.field(*at)))
                .collect();
            columns.push(extra(batch, &others)?);
            continue;
        }
        let Ok(at) = given.index_of(field.name()) else {
            return Err(
                Misfit::new(field.data_type().to_string(), "no column").within(field.name())
            );
        };
        let column = batch.column(at);
        let misfit = || {
            Misfit::new(
                field.data_type().to_string(),
                column.data_type().to_string(),
            )
            .within(field.name())
        };
        if !same(column.data_type(), field.data_type()) {
            return Err(misfit());
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(Misfit::new(field.data_type().to_string(), "null").within(field.name()));
        }
        columns.push(if column.data_type() == field.data_type() {
            column.clone()
        } else {
            cast_with_options(column, field.data_type(), &STRICT).map_err(|_| misfit())?
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| Misfit::new("columns of the schema", error.to_string()))
}

/// These columns as one of JSON objects.
fn extra(batch: &RecordBatch, columns: &[usize]) -> Result<ArrayRef, Box<Misfit>> {
    let others = batch
        .project(columns)
        .and_then(|others| plain(&others))
        .map_err(|error| Misfit::new("columns that JSON can hold", error.to_string()))?;
    let readers = Reader::of(&others)
        .map_err(|error| Misfit::new("columns that JSON can hold", error.to_string()))?;
    if readers.is_empty() {
        return Ok(Arc::new(StringArray::new_null(batch.num_rows())));
    }
    let mut out = StringBuilder::new();
    let mut object = Vec::new();
    for row in 0..batch.num_rows() {
        object.clear();
        super::read::object(&readers, row, &mut object)?;
        out.append_value(String::from_utf8_lossy(&object));
    }
    Ok(Arc::new(out.finish()))
}

/// The batch in its plain layout.
pub(crate) fn plain(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = plain_schema(&batch.schema());
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(column.clone())
            } else {
                cast_with_options(column, field.data_type(), &STRICT)
            }
        })
        .collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// Whether two types hold the same values, whatever their layout.
fn same(a: &DataType, b: &DataType) -> bool {
    use DataType::{Binary, LargeBinary, LargeList, LargeUtf8, List, Map, Struct, Timestamp, Utf8};
    match (&plain_type(a), &plain_type(b)) {
        (Utf8 | LargeUtf8, Utf8 | LargeUtf8) | (Binary | LargeBinary, Binary | LargeBinary) => true,
        // A zone is a way to show an instant; without one it is none.
        (Timestamp(a, zone), Timestamp(b, other)) => a == b && zone.is_some() == other.is_some(),
        (List(a) | LargeList(a), List(b) | LargeList(b)) | (Map(a, _), Map(b, _)) => {
            same(a.data_type(), b.data_type())
        }
        (Struct(a), Struct(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| {
                    // Inside of a map the names are the writer's affair.
                    (a.name() == b.name() || is_entry(a) && is_entry(b))
                        && same(a.data_type(), b.data_type())
                })
        }
        (a, b) => a == b,
    }
}

fn is_entry(field: &Field) -> bool {
    ["key", "keys", "value", "values"].contains(&field.name().as_str())
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, StringViewArray};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn another_layout_of_the_same_type_is_taken_in_any_order() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Int32, true),
        ]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let words: ArrayRef = Arc::new(StringViewArray::from(vec!["x"]));
        let conformed = conform(
            &batch(vec![("b", numbers), ("a", words)]),
            &schema,
            Unknown::Error,
        )
        .unwrap();
        let expected: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        assert_eq!(conformed.column(0), &expected);
    }

    #[test]
    fn unknown_columns_are_dropped_or_kept_as_unknown_fields_are() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, false),
            crate::record::kind::json_field(EXTRA, true),
        ]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let given = batch(vec![("a", numbers.clone()), ("z", numbers)]);
        let kept = conform(&given, &schema, Unknown::Extra).unwrap();
        let expected: ArrayRef = Arc::new(StringArray::from(vec!["{\"z\":1}", "{\"z\":2}"]));
        assert_eq!(kept.column(1), &expected);
        let narrow = Arc::new(schema.project(&[0]).unwrap());
        assert_eq!(
            conform(&given, &narrow, Unknown::Drop)
                .unwrap()
                .num_columns(),
            1
        );
    }

    #[test]
    fn another_type_an_unknown_column_and_a_missing_one_are_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let refused = |columns| conform(&batch(columns), &schema, Unknown::Error).unwrap_err();
        let other = refused(vec![("a", numbers.clone())]);
        assert_eq!(
            (
                other.field().as_str(),
                other.expected.as_str(),
                other.found.as_str()
            ),
            ("a", "Int64", "Int32")
        );
        assert_eq!(refused(vec![("z", numbers)]).field(), "z");
        let none = RecordBatch::new_empty(Arc::new(Schema::empty()));
        assert_eq!(
            conform(&none, &schema, Unknown::Error).unwrap_err().found,
            "no column"
        );
    }
}
