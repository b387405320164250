//! Batches and checkpoints as frames, cut to the largest size.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use caisson_wire::message::{self, from_worker};

use super::failure::Failure;
use super::lane::Lane;
use super::state::Cut;
use crate::record::ipc;
use crate::record::lines::halve;

/// Under one lock, which gives the frames their order.
#[derive(Default)]
pub(super) struct Out {
    /// Counts batches and checkpoints together.
    sequence: u64,
    ready: Option<Ready>,
}

/// The schema was announced.
struct Ready {
    schema: SchemaRef,
    id: String,
    encoder: ipc::Encoder,
}

impl Out {
    /// Sends records that were cut; `count` is how many there were up to here.
    pub(super) fn send(
        &mut self,
        lane: &Lane,
        cut: Cut,
        schema: Option<SchemaRef>,
        count: u64,
    ) -> Result<(), Failure> {
        if let Some(schema) = schema {
            self.announce(lane, &schema)?;
        }
        match cut {
            Cut::Batch(batch) => {
                let first = count - batch.num_rows() as u64;
                self.batch(lane, &batch, first)
            }
            Cut::Lines(lines, rows) => self.lines(lane, &lines, rows, count - rows as u64),
        }
    }

    /// Sends the schema unless this channel has seen it of this stream.
    pub(super) fn announce(&mut self, lane: &Lane, schema: &SchemaRef) -> Result<(), Failure> {
        if self
            .ready
            .as_ref()
            .is_some_and(|ready| ready.schema == *schema)
        {
            return Ok(());
        }
        let config = &lane.config;
        let body = ipc::schema(schema)?;
        let id = lane.socket.schema_id(&config.stream, &body, |id| {
            let message = message::Schema {
                stream: config.stream.clone(),
                schema_id: id.to_owned(),
                primary_key: config.primary_key.clone(),
                cursor: config.cursor.clone(),
                mode: String::new(),
            };
            lane.socket
                .send(from_worker::Message::Schema(message), &[&body])
        })?;
        self.ready = Some(Ready {
            schema: schema.clone(),
            id,
            encoder: ipc::Encoder::new(schema)?,
        });
        Ok(())
    }

    /// Sends a batch, in halves if it is too large; `first` is its first
    /// record's number.
    pub(super) fn batch(
        &mut self,
        lane: &Lane,
        batch: &RecordBatch,
        first: u64,
    ) -> Result<(), Failure> {
        let rows = batch.num_rows();
        let Some(ready) = &mut self.ready else {
            return Ok(());
        };
        let buffers = ready.encoder.batch(batch)?;
        let bytes = buffers.iter().map(|buffer| buffer.len()).sum();
        if bytes > lane.config.max {
            if rows <= 1 {
                return Err(too_large(lane, first, bytes));
            }
            drop(buffers);
            let half = rows / 2;
            self.batch(lane, &batch.slice(0, half), first)?;
            return self.batch(lane, &batch.slice(half, rows - half), first + half as u64);
        }
        let parts: Vec<&[u8]> = buffers.iter().map(|buffer| buffer.as_slice()).collect();
        self.frame(lane, rows, &parts)
    }

    /// The same for JSON lines.
    pub(super) fn lines(
        &mut self,
        lane: &Lane,
        lines: &[u8],
        rows: usize,
        first: u64,
    ) -> Result<(), Failure> {
        if lines.len() <= lane.config.max {
            return self.frame(lane, rows, &[lines]);
        }
        let Some(middle) = halve(lines) else {
            return Err(too_large(lane, first, lines.len()));
        };
        let (left, right) = lines.split_at(middle);
        let before = left.iter().filter(|byte| **byte == b'\n').count();
        self.lines(lane, left, before, first)?;
        self.lines(lane, right, rows - before, first + before as u64)
    }

    fn frame(&mut self, lane: &Lane, rows: usize, body: &[&[u8]]) -> Result<(), Failure> {
        let Some(ready) = &self.ready else {
            return Ok(());
        };
        let message = message::Batch {
            stream: lane.config.stream.clone(),
            partition: lane.config.partition.clone(),
            schema_id: ready.id.clone(),
            epoch: 0,
            sequence: self.sequence + 1,
            records: rows as u64,
        };
        lane.socket
            .send(from_worker::Message::Batch(message), body)?;
        self.sequence += 1;
        Ok(())
    }

    pub(super) fn checkpoint(
        &mut self,
        lane: &Lane,
        state: &[u8],
        records: u64,
        last: bool,
    ) -> Result<String, Failure> {
        let id = uuid::Uuid::now_v7().to_string();
        let message = message::Checkpoint {
            stream: lane.config.stream.clone(),
            partition: lane.config.partition.clone(),
            id: id.clone(),
            state: state.to_vec(),
            records,
            r#final: last,
        };
        lane.socket
            .send(from_worker::Message::Checkpoint(message), &[])?;
        self.sequence += 1;
        Ok(id)
    }
}

fn too_large(lane: &Lane, record: u64, bytes: usize) -> Failure {
    Failure::TooLarge {
        record,
        bytes,
        max: lane.config.max,
    }
}
