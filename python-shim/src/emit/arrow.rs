//! Arrow data into frames, without a look at its values.

use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_array::{RecordBatch, RecordBatchReader as _};
use arrow_schema::SchemaRef;

use super::failure::Failure;
use super::lane::Lane;
use super::send::Out;
use crate::record::plain::{conform, plain_schema};
use crate::record::read::{Reader, object};

impl Lane {
    /// Sends everything of a stream; gives how many records were taken.
    pub(super) fn arrow(&self, stream: RecordBatchStreamReader) -> Result<u64, Failure> {
        let mut out = self.out();
        self.flush_with(&mut out)?;
        let schema = self.settled(plain_schema(&stream.schema()));
        self.sent(|| out.announce(self, &schema))?;
        let mut taken = 0;
        for batch in stream {
            let batch = batch?;
            let (batch, first) = {
                let mut state = self.state();
                if !state.may_take(&self.config)? {
                    break;
                }
                let batch = self.wanted(batch, state.count);
                let first = state.count;
                state.count += batch.num_rows() as u64;
                state.first = false;
                (batch, first)
            };
            taken += batch.num_rows() as u64;
            self.sent(|| self.send_arrow(&mut out, &batch, &schema, first))?;
        }
        Ok(taken)
    }

    /// The schema in force, which this data's is if there was none.
    fn settled(&self, of_data: SchemaRef) -> SchemaRef {
        let mut state = self.state();
        if state.schema.is_none() {
            state.settle_on(of_data.clone(), &self.config);
        }
        state.schema.clone().unwrap_or(of_data)
    }

    /// What the limit of records leaves of a batch.
    fn wanted(&self, batch: RecordBatch, count: u64) -> RecordBatch {
        let left = self.config.max_records.saturating_sub(count);
        if self.config.max_records > 0 && left < batch.num_rows() as u64 {
            batch.slice(0, left as usize)
        } else {
            batch
        }
    }

    fn send_arrow(
        &self,
        out: &mut Out,
        batch: &RecordBatch,
        schema: &SchemaRef,
        first: u64,
    ) -> Result<(), Failure> {
        let batch = conform(batch, schema, self.config.unknown)
            .map_err(|misfit| Failure::misfit(first, &misfit))?;
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        if self.config.json {
            return self.send_lines(out, &batch, first);
        }
        // Rows differ in size, so this aims and Out::batch makes sure.
        let sizes = batch
            .columns()
            .iter()
            .map(|column| column.to_data().get_slice_memory_size());
        let bytes: usize = sizes.sum::<Result<usize, _>>()?;
        let pieces = bytes.div_ceil(self.config.target).clamp(1, rows);
        let step = rows.div_ceil(pieces);
        let mut at = 0;
        while at < rows {
            let piece = batch.slice(at, step.min(rows - at));
            out.batch(self, &piece, first + at as u64)?;
            at += piece.num_rows();
        }
        Ok(())
    }

    fn send_lines(&self, out: &mut Out, batch: &RecordBatch, first: u64) -> Result<(), Failure> {
        let readers = Reader::of(batch).map_err(|foreign| Failure::Foreign(foreign.to_string()))?;
        let mut lines = Vec::new();
        let mut sent = 0;
        for row in 0..batch.num_rows() {
            object(&readers, row, &mut lines)
                .map_err(|misfit| Failure::misfit(first + row as u64, &misfit))?;
            lines.push(b'\n');
            if lines.len() >= self.config.target {
                let rows = row + 1 - sent;
                out.lines(self, &lines, rows, first + sent as u64)?;
                lines.clear();
                sent = row + 1;
            }
        }
        match batch.num_rows() - sent {
            0 => Ok(()),
            rows => out.lines(self, &lines, rows, first + sent as u64),
        }
    }
}
