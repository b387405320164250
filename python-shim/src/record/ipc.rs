//! Arrow IPC messages, each on its own, their buffers uncopied.
//!
//! A schema message and the record batch messages behind it are a valid IPC
//! stream. No dictionaries: [`super::plain`] has undone them before.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamEncoder, write_message,
};
use arrow_schema::{ArrowError, Schema, SchemaRef};

/// Encodes the batches of one schema.
pub(crate) struct Encoder(StreamEncoder);

impl Encoder {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let mut encoder = StreamEncoder::try_new(schema)?;
        // The first call gives the schema message along, which travels apart.
        encoder.encode(&RecordBatch::new_empty(schema.clone()))?;
        Ok(Self(encoder))
    }

    /// One message; the buffers share the batch's memory.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<Buffer>, ArrowError> {
        self.0.encode(batch)
    }
}

/// The schema message.
pub(crate) fn schema(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let options = IpcWriteOptions::default();
    let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        schema,
        &mut DictionaryTracker::new(false),
        &options,
    );
    let mut out = Vec::new();
    write_message(&mut out, encoded, &options)?;
    Ok(out)
}

/// What [`schema`] wrote, or anyone else.
pub(crate) fn read_schema(message: &[u8]) -> Result<SchemaRef, ArrowError> {
    guarded(|| {
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut Buffer::from(message))?;
        // A schema has no body, and the decoder looks at a message only when
        // something follows it.
        decoder.decode(&mut Buffer::from(END))?;
        decoder
            .schema()
            .ok_or_else(|| ArrowError::IpcError("no whole schema message".into()))
    })
}

/// The batches in `body`, record batch messages (and dictionaries) behind
/// `schema`.
pub(crate) fn read_batches(schema: &Schema, body: Buffer) -> Result<Vec<RecordBatch>, ArrowError> {
    let head = self::schema(schema)?;
    guarded(move || {
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut Buffer::from(head))?;
        let mut body = body;
        let mut batches = Vec::new();
        while !body.is_empty() {
            match decoder.decode(&mut body)? {
                Some(batch) => batches.push(batch),
                None => break,
            }
        }
        if decoder.finish().is_err() {
            // Either cut short, or a last message without a body (columns of
            // nulls), which the decoder looks at when something follows.
            let mut end = Buffer::from(END);
            match decoder.decode(&mut end)? {
                Some(batch) if end.len() == END.len() => batches.push(batch),
                _ => return Err(ArrowError::IpcError("a message is cut short".into())),
            }
        }
        Ok(batches)
    })
}

/// What ends a stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The bytes come from outside, and the reader has assertions that they can
/// break: that is malformed input, too.
fn guarded<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ArrowError::IpcError("malformed message".into())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};
    use proptest::prelude::*;

    use super::*;

    fn sample() -> (RecordBatch, Vec<u8>) {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let mut encoder = Encoder::new(&batch.schema()).unwrap();
        let bytes = encoder
            .batch(&batch)
            .unwrap()
            .iter()
            .flat_map(|buffer| buffer.to_vec())
            .collect();
        (batch, bytes)
    }

    #[test]
    fn a_batch_is_read_back_behind_its_schema() {
        let (batch, bytes) = sample();
        let schema = read_schema(&super::schema(&batch.schema()).unwrap()).unwrap();
        assert_eq!(read_batches(&schema, bytes.into()).unwrap(), [batch]);
    }

    #[test]
    fn a_batch_without_a_body_is_read_and_a_cut_one_refused() {
        let column: ArrayRef = Arc::new(arrow_array::NullArray::new(2));
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let bytes: Vec<u8> = Encoder::new(&batch.schema())
            .unwrap()
            .batch(&batch)
            .unwrap()
            .iter()
            .flat_map(|buffer| buffer.to_vec())
            .collect();
        assert_eq!(
            read_batches(&batch.schema(), bytes.into()).unwrap(),
            [batch]
        );
        let (batch, bytes) = sample();
        for cut in [1, 8, 9] {
            let cut = &bytes[..bytes.len() - cut];
            assert!(read_batches(&batch.schema(), cut.into()).is_err());
        }
    }

    proptest! {
        #[test]
        fn broken_bytes_are_an_error_and_no_panic(at in 0usize..400, with in any::<u8>(), cut in 0usize..400) {
            let (batch, mut bytes) = sample();
            let at = at % bytes.len();
            bytes[at] = with;
            bytes.truncate(cut.max(1));
            let _ = read_batches(&batch.schema(), bytes.into());
        }
    }
}
