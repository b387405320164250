//! One batch's bytes into Arrow, whatever its encoding.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_schema::{Schema, SchemaRef};

use crate::record::columns::Columns;
use crate::record::fit::Origin;
use crate::record::infer::infer;
use crate::record::kind::Slot;
use crate::record::value::{Aside, Unknown};
use crate::record::{ipc, parse, plain};

/// The batch in plain layouts, or what is wrong and where.
pub(super) fn decode(
    schema: Option<SchemaRef>,
    encoding: &str,
    body: &[u8],
) -> Result<RecordBatch, String> {
    match (encoding, schema) {
        ("arrow_ipc", Some(schema)) => arrow(&schema, body),
        ("arrow_ipc", None) => Err("Arrow IPC needs its schema".into()),
        ("json_lines", schema) => lines(schema, body),
        _ => Err("encoding is arrow_ipc or json_lines".into()),
    }
}

fn arrow(schema: &Schema, body: &[u8]) -> Result<RecordBatch, String> {
    let batches = ipc::read_batches(schema, Buffer::from(body)).map_err(|e| e.to_string())?;
    let batches = batches
        .iter()
        .map(plain::plain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    match <[RecordBatch; 1]>::try_from(batches) {
        Ok([batch]) => Ok(batch),
        Err(batches) => {
            let schema = plain::plain_schema(schema);
            arrow_select::concat::concat_batches(&schema, &batches).map_err(|e| e.to_string())
        }
    }
}

fn lines(schema: Option<SchemaRef>, body: &[u8]) -> Result<RecordBatch, String> {
    let records = parse::lines(body).map_err(|malformed| malformed.to_string())?;
    let schema = match schema {
        Some(schema) => plain::plain_schema(&schema),
        None => Arc::new(infer(records.iter().map(Vec::as_slice))),
    };
    let slots = Slot::from_fields(schema.fields()).map_err(|error| error.to_string())?;
    let mut columns = Columns::new(schema, slots);
    let mut aside = Aside::new(Unknown::Error);
    for (index, record) in records.iter().enumerate() {
        columns
            .push(record, Origin::Json, &mut aside)
            .map_err(|misfit| {
                format!(
                    "record {index}, field {:?}: expected {}, found {}",
                    misfit.field(),
                    misfit.expected,
                    misfit.found
                )
            })?;
    }
    columns.finish().map_err(|error| error.to_string())
}
