//! What was emitted and not yet sent.

use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::{Fields, Schema, SchemaRef};

use super::failure::Failure;
use super::lane::Config;
use crate::record::columns::Columns;
use crate::record::fit::Origin;
use crate::record::infer::infer;
use crate::record::kind::{Slot, json_field};
use crate::record::lines::Lines;
use crate::record::value::{Aside, EXTRA, Unknown, Value};

/// A record before its schema is known.
pub(super) type Pairs = Vec<(String, Value)>;

/// Under one lock.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) schema: Option<SchemaRef>,
    pub(super) aside: Aside,
    /// Records taken, sent or not.
    pub(super) count: u64,
    /// When the oldest unsent record came.
    pub(super) since: Option<Instant>,
    /// A batch is due at this size; it grows from batch to batch.
    pub(super) limit: usize,
    /// Bytes of the sample, nearly.
    pub(super) sampled: usize,
    /// Nothing was sent yet.
    pub(super) first: bool,
    pub(super) closed: bool,
    /// The flusher will wake by itself.
    pub(super) armed: bool,
    pub(super) flusher: bool,
    /// What broke; every later call says it again.
    pub(super) failure: Option<Failure>,
}

/// Where unsent records are kept.
pub(super) enum Phase {
    Sampling(Vec<Pairs>),
    Columns(Columns),
    Lines(Lines),
    /// Only Arrow data fits; why.
    Foreign(String),
}

/// Unsent records, taken out to be sent.
pub(super) enum Cut {
    Batch(RecordBatch),
    Lines(Vec<u8>, usize),
}

impl State {
    pub(super) fn new(config: &Config, schema: Option<SchemaRef>) -> Self {
        let mut state = Self {
            phase: Phase::Sampling(Vec::new()),
            schema: None,
            aside: Aside::new(config.unknown),
            count: 0,
            since: None,
            limit: config.target.min(16 << 10),
            sampled: 0,
            first: true,
            closed: false,
            armed: false,
            flusher: false,
            failure: None,
        };
        if let Some(schema) = schema {
            state.settle_on(schema, config);
        }
        state
    }

    /// Whether another record is wanted.
    pub(super) fn may_take(&self, config: &Config) -> Result<bool, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.closed {
            return Err(Failure::AfterClose);
        }
        Ok(!config.is_full(self.count))
    }

    /// From here on the schema is fixed.
    pub(super) fn settle_on(&mut self, schema: SchemaRef, config: &Config) {
        let schema = match config.unknown {
            Unknown::Extra if schema.index_of(EXTRA).is_err() => {
                let extra = std::sync::Arc::new(json_field(EXTRA, true));
                let fields: Fields = schema.fields().iter().cloned().chain([extra]).collect();
                Schema::new(fields).into()
            }
            _ => schema,
        };
        self.phase = match Slot::from_fields(schema.fields()) {
            Ok(slots) if config.json => Phase::Lines(Lines::new(slots)),
            Ok(slots) => Phase::Columns(Columns::new(schema.clone(), slots)),
            Err(unsupported) => Phase::Foreign(unsupported.to_string()),
        };
        self.schema = Some(schema);
    }

    /// Ends the sample: its records fix the schema and go where all go.
    pub(super) fn settle(&mut self, config: &Config) -> Result<(), Failure> {
        let Phase::Sampling(sample) = &mut self.phase else {
            return Ok(());
        };
        if sample.is_empty() {
            return Ok(());
        }
        let sample = std::mem::take(sample);
        let schema = infer(sample.iter().map(Vec::as_slice));
        self.settle_on(schema.into(), config);
        let first = self.count - sample.len() as u64;
        for (index, pairs) in sample.iter().enumerate() {
            let record = first + index as u64;
            let pushed = match &mut self.phase {
                Phase::Columns(columns) => columns.push(pairs, Origin::Python, &mut self.aside),
                Phase::Lines(lines) => lines.push(pairs, Origin::Python, &mut self.aside),
                Phase::Foreign(why) => return Err(Failure::Foreign(why.clone())),
                Phase::Sampling(_) => return Ok(()),
            };
            let size = pushed.map_err(|misfit| Failure::misfit(record, &misfit))?;
            if size > config.max {
                return Err(Failure::TooLarge {
                    record,
                    bytes: size,
                    max: config.max,
                });
            }
        }
        Ok(())
    }

    /// Takes all unsent records; None if there are none.
    pub(super) fn cut(&mut self, config: &Config) -> Result<Option<Cut>, Failure> {
        self.since = None;
        self.settle(config)?;
        let (cut, size) = match &mut self.phase {
            Phase::Columns(columns) if columns.rows > 0 => {
                let size = columns.bytes;
                (Cut::Batch(columns.finish()?), size)
            }
            Phase::Lines(lines) if lines.rows > 0 => {
                let rows = lines.rows;
                let bytes = lines.finish();
                let size = bytes.len();
                (Cut::Lines(bytes, rows), size)
            }
            _ => return Ok(None),
        };
        self.first = false;
        if size >= self.limit {
            self.limit = self.limit.saturating_mul(4).min(config.target);
        }
        Ok(Some(cut))
    }

    /// Undoes a record that did not fit.
    pub(super) fn take_back(&mut self) {
        match &mut self.phase {
            Phase::Columns(columns) => columns.take_back(&mut self.aside),
            Phase::Lines(lines) => lines.take_back(&mut self.aside),
            Phase::Sampling(_) | Phase::Foreign(_) => {}
        }
    }

    /// Undoes the last record, which fitted but is too large.
    pub(super) fn take_back_last(&mut self, size: usize) {
        match &mut self.phase {
            Phase::Columns(columns) => columns.take_back_last(size, &mut self.aside),
            Phase::Lines(lines) => lines.take_back_last(size, &mut self.aside),
            Phase::Sampling(_) | Phase::Foreign(_) => {}
        }
    }

    /// Bytes that are unsent.
    pub(super) fn pending(&self) -> usize {
        match &self.phase {
            Phase::Columns(columns) => columns.bytes,
            Phase::Lines(lines) => lines.out.len(),
            Phase::Sampling(_) => self.sampled,
            Phase::Foreign(_) => 0,
        }
    }
}

/// What a value takes in memory, nearly.
pub(super) fn weight(value: &Value) -> usize {
    let own = std::mem::size_of::<Value>();
    own + match value {
        Value::Text(text) | Value::Decimal(text) | Value::Big(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(pairs) => pairs
            .iter()
            .map(|(name, value)| name.len() + weight(value))
            .sum(),
        _ => 0,
    }
}
