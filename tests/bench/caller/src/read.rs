//! One Read, drained and verified.

use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use caisson_proto::v1::read_event::Event;
use caisson_proto::v1::runtime_client::RuntimeClient;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::Fault;
use crate::request::Request;

/// What has come so far.
#[derive(Default)]
struct Seen {
    decoder: StreamDecoder,
    schema: String,
    claimed: u64,
    records: u64,
    bytes: u64,
    /// Arrow: the sum of the first column, modulo 2^64. JSON lines: the last line.
    sum: i64,
    last: Vec<u8>,
}

pub(crate) async fn drain(
    mut runtime: RuntimeClient<Channel>,
    request: &Request,
) -> Result<Value, Fault> {
    let began = Instant::now();
    let mut events = runtime.read(request.read()).await?.into_inner();
    let mut seen = Seen::default();
    let mut first = None;
    while let Some(message) = events.message().await? {
        match message.event {
            Some(Event::Schema(schema)) if request.arrow && schema.schema_id != seen.schema => {
                seen.schema = schema.schema_id;
                seen.decoder = StreamDecoder::new();
                seen.arrow(Buffer::from(schema.ipc))?;
            }
            Some(Event::Batch(batch)) => {
                first.get_or_insert_with(|| began.elapsed());
                seen.claimed += batch.records;
                seen.bytes += batch.data.len() as u64;
                if request.arrow {
                    seen.arrow(Buffer::from(batch.data))?;
                } else {
                    seen.lines(&batch.data);
                }
            }
            Some(Event::Summary(summary)) => {
                let stats = summary.stats.unwrap_or_default();
                return seen.told(began, first, &stats);
            }
            Some(Event::Failure(failure)) => {
                return Err(format!("{}: {}", failure.message, failure.traceback).into());
            }
            _ => {}
        }
    }
    Err("the stream ended without a summary".into())
}

impl Seen {
    /// Decodes encapsulated messages; columns borrow the buffer.
    fn arrow(&mut self, mut buffer: Buffer) -> Result<(), Fault> {
        while !buffer.is_empty() {
            if let Some(batch) = self.decoder.decode(&mut buffer)? {
                self.records += batch.num_rows() as u64;
                if let Some(numbers) = batch.column(0).as_primitive_opt::<Int64Type>() {
                    let sum = numbers
                        .values()
                        .iter()
                        .fold(0, |sum: i64, n| sum.wrapping_add(*n));
                    self.sum = self.sum.wrapping_add(sum);
                }
            }
        }
        Ok(())
    }

    /// Counts lines and keeps the last.
    fn lines(&mut self, data: &[u8]) {
        self.records += memchr::memchr_iter(b'\n', data).count() as u64;
        let whole = data.strip_suffix(b"\n").unwrap_or(data);
        let start = memchr::memrchr(b'\n', whole).map_or(0, |at| at + 1);
        self.last = whole[start..].to_vec();
    }

    fn told(
        self,
        began: Instant,
        first: Option<std::time::Duration>,
        stats: &caisson_proto::v1::Stats,
    ) -> Result<Value, Fault> {
        if self.claimed != self.records {
            return Err(
                format!("{} records came, {} were told", self.records, self.claimed).into(),
            );
        }
        Ok(json!({
            "records": self.records,
            "bytes": self.bytes,
            "sum": self.sum,
            "last": String::from_utf8_lossy(&self.last),
            "seconds": began.elapsed().as_secs_f64(),
            "first_batch_ms": first.map(|first| first.as_secs_f64() * 1e3),
            "start_ms": stats.start_ms,
            "worker_cpu_seconds": stats.worker_cpu_seconds,
            "daemon_cpu_seconds": stats.daemon_cpu_seconds,
            "worker_peak_rss_bytes": stats.worker_peak_rss_bytes,
            "worker_peak_memory_bytes": stats.worker_peak_memory_bytes,
            "daemon_peak_rss_bytes": stats.daemon_peak_rss_bytes,
        }))
    }
}
