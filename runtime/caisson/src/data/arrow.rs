//! Arrow IPC input, checked and cut into batches.
//!
//! Every record batch is decoded, which validates it, and encoded again in
//! slices that fit a message: a file may hold batches of any size.

use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use bytes::Bytes;
use caisson_proto::v1;

use super::input::Piece;
use super::{BATCH_MAX, BATCH_TARGET};
use crate::stop::{Result, Stop};

/// The end of an Arrow IPC stream.
pub(crate) const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

pub(crate) struct Batches {
    name: String,
    reader: StreamReader<BufReader<Box<dyn Read + Send>>>,
    writer: StreamWriter<Vec<u8>>,
    schema: Bytes,
    /// Slices that wait, last first.
    waiting: Vec<RecordBatch>,
}

impl Batches {
    /// Reads the schema.
    pub(crate) fn new(name: &str, reader: Box<dyn Read + Send>) -> Result<Self> {
        let reader = careful(name, || StreamReader::try_new(BufReader::new(reader), None))?;
        let mut writer = careful(name, || StreamWriter::try_new(Vec::new(), &reader.schema()))?;
        let schema = Bytes::from(std::mem::take(writer.get_mut()));
        Ok(Self {
            name: name.to_owned(),
            reader,
            writer,
            schema,
            waiting: Vec::new(),
        })
    }

    /// The encapsulated schema message.
    pub(crate) fn schema(&self) -> Bytes {
        self.schema.clone()
    }

    /// The next batch; none at the end.
    pub(crate) fn piece(&mut self) -> Result<Option<Piece>> {
        loop {
            let batch = match self.waiting.pop() {
                Some(batch) => batch,
                None => {
                    let reader = &mut self.reader;
                    match careful(&self.name, || reader.next().transpose())? {
                        Some(batch) => batch,
                        None => return Ok(None),
                    }
                }
            };
            let rows = batch.num_rows();
            if rows == 0 {
                continue;
            }
            if rows > 1 && size(&batch, &self.name)? > BATCH_TARGET {
                let half = rows / 2;
                self.waiting.push(batch.slice(half, rows - half));
                self.waiting.push(batch.slice(0, half));
                continue;
            }
            let writer = &mut self.writer;
            careful(&self.name, || writer.write(&batch))?;
            let data = Bytes::from(std::mem::take(self.writer.get_mut()));
            if data.len() > BATCH_MAX {
                return Err(Stop::failed(
                    v1::ErrorCode::RecordTooLarge,
                    format!("{}: a record is larger than 3.5 MiB", self.name),
                    "make the record smaller, for example by leaving a field out",
                ));
            }
            return Ok(Some(Piece {
                data,
                records: rows as u64,
            }));
        }
    }
}

/// Bytes that the rows of `batch` need, without what its slices leave out.
fn size(batch: &RecordBatch, name: &str) -> Result<usize> {
    let sizes = batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size());
    sizes
        .sum::<Result<usize, ArrowError>>()
        .map_err(|error| malformed(name, &error.to_string()))
}

/// Runs a step of the decoder. It returns errors for nearly everything that a
/// file can do to it; what it does not foresee is the file's fault as well.
fn careful<T>(name: &str, step: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result.map_err(|error| malformed(name, &error.to_string())),
        Err(_) => Err(malformed(name, "it breaks the decoder")),
    }
}

fn malformed(name: &str, why: &str) -> Stop {
    Stop::failed(
        v1::ErrorCode::ConfigInvalid,
        format!("{name} is no valid Arrow IPC stream: {why}"),
        "write it as an uncompressed Arrow IPC stream (pyarrow.ipc.new_stream), or as JSON lines",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn batch(rows: usize, width: usize) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8, true),
        ]);
        let ids = Int64Array::from_iter_values(0..rows as i64);
        let texts = StringArray::from_iter_values((0..rows).map(|_| "x".repeat(width)));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(texts)])
            .expect("columns fit")
    }

    fn stream(batches: &[RecordBatch]) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("schema");
        for batch in batches {
            writer.write(batch).expect("batch");
        }
        writer.finish().expect("finish");
        writer.into_inner().expect("bytes")
    }

    fn open(bytes: Vec<u8>) -> Result<Batches> {
        Batches::new("in.arrow", Box::new(std::io::Cursor::new(bytes)))
    }

    #[test]
    fn the_schema_and_the_pieces_are_an_arrow_stream_with_the_same_rows() {
        let bytes = stream(&[batch(5000, 1000), batch(0, 0), batch(3, 2)]);
        let mut batches = open(bytes).expect("a stream");
        let mut out = batches.schema().to_vec();
        let mut records = 0;
        let mut pieces = 0;
        while let Some(piece) = batches.piece().expect("valid") {
            assert!(
                piece.data.len() < BATCH_TARGET + (BATCH_TARGET >> 4),
                "{}",
                piece.data.len()
            );
            out.extend_from_slice(&piece.data);
            records += piece.records;
            pieces += 1;
        }
        out.extend_from_slice(&END);
        assert_eq!((records, pieces > 4), (5003, true));
        let ids: Vec<i64> = StreamReader::try_new(&out[..], None)
            .expect("a stream")
            .flat_map(|batch| {
                let batch = batch.expect("a batch");
                let ids = batch
                    .column(0)
                    .as_any()
                    .downcast_ref::<Int64Array>()
                    .expect("ids")
                    .clone();
                ids.values().to_vec()
            })
            .collect();
        assert_eq!(ids, (0..5000).chain(0..3).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_that_no_message_can_hold_is_refused() {
        let mut batches = open(stream(&[batch(1, 4 << 20)])).expect("a stream");
        let Err(Stop::Failed(failure)) = batches.piece() else {
            panic!("no failure")
        };
        assert_eq!(failure.code(), v1::ErrorCode::RecordTooLarge);
    }

    #[test]
    fn malformed_bytes_are_a_clear_refusal_wherever_they_are_cut_or_changed() {
        let whole = stream(&[batch(20, 10)]);
        let drain = |bytes: Vec<u8>| -> Result<u64> {
            let mut batches = open(bytes)?;
            let mut records = 0;
            while let Some(piece) = batches.piece()? {
                records += piece.records;
            }
            Ok(records)
        };
        assert_eq!(drain(whole.clone()).expect("valid"), 20);
        for garbage in [
            b"".to_vec(),
            b"ARROW1\0\0".to_vec(),
            b"{\"a\": 1}\n".to_vec(),
            vec![0xff; 64],
        ] {
            let Err(Stop::Failed(failure)) = drain(garbage) else {
                panic!("garbage was taken")
            };
            assert_eq!(failure.code(), v1::ErrorCode::ConfigInvalid);
        }
        // Cut inside the batch; a stream may end without its end marker, at a message's end.
        let end = whole.len() - END.len();
        for cut in (16..end).step_by(7) {
            match drain(whole[..cut].to_vec()) {
                Ok(records) => assert_eq!(records, 0, "cut at {cut}"),
                Err(Stop::Failed(failure)) => {
                    assert_eq!(failure.code(), v1::ErrorCode::ConfigInvalid)
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        for at in 0..end {
            let mut changed = whole.clone();
            changed[at] ^= 0x5a;
            // Whatever it decodes to, it is an answer and not a crash.
            let _ = drain(changed);
        }
    }
}
