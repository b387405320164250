//! The emitter as Python sees it: records in, frames out.
//!
//! [`lane`] holds what two threads share (the connector's and the flusher's)
//! and knows no Python; the shapes of dicts, which are Python objects, stay
//! here.

mod arrow;
mod failure;
mod flusher;
mod lane;
mod rows;
mod send;
mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;
use pyo3::types::PyDict;

use crate::channel::Channel;
use crate::page::{self, Page};
use crate::python::{self, Fault, Shape};
use crate::record::value::{EXTRA, Unknown};
use crate::schema::ArrowSchema;
use crate::trail::Trail;
use failure::Failure;
use lane::{Config, Lane};
use state::{Phase, State};

/// See `_native.pyi`.
#[pyclass(frozen, module = "caisson._native")]
pub(crate) struct Emitter {
    lane: Arc<Lane>,
    /// Made when the schema is known. Locked after the lane's state.
    shape: Mutex<Option<Shape>>,
    /// Records that the running `pump` has taken, or the last one took.
    pumped: AtomicU64,
}

#[pymethods]
impl Emitter {
    #[new]
    #[pyo3(signature = (
        channel, stream, partition, *, encoding, schema, unknown="error", primary_key=Vec::new(),
        cursor="", target_bytes=1_048_576, max_bytes=3_670_016, flush_seconds=0.2,
        sample=1_000, max_records=0
    ))]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        channel: &Channel,
        stream: String,
        partition: String,
        encoding: &str,
        schema: Option<&ArrowSchema>,
        unknown: &str,
        primary_key: Vec<String>,
        cursor: &str,
        target_bytes: usize,
        max_bytes: usize,
        flush_seconds: f64,
        sample: usize,
        max_records: u64,
    ) -> PyResult<Self> {
        let config = Config {
            stream,
            partition,
            json: match encoding {
                "arrow_ipc" => false,
                "json_lines" => true,
                _ => return Err(PyValueError::new_err("encoding is arrow_ipc or json_lines")),
            },
            unknown: match unknown {
                "error" => Unknown::Error,
                "drop" => Unknown::Drop,
                "extra" => Unknown::Extra,
                _ => return Err(PyValueError::new_err("unknown is error, drop or extra")),
            },
            primary_key,
            cursor: cursor.to_owned(),
            max: max_bytes.clamp(1, caisson_wire::MAX_BODY),
            target: target_bytes.clamp(1, max_bytes.clamp(1, caisson_wire::MAX_BODY)),
            flush: Duration::try_from_secs_f64(flush_seconds)
                .map_err(|_| PyValueError::new_err("flush_seconds is no time"))?,
            sample: sample.max(1),
            max_records,
        };
        let lane = Lane::new(
            channel.socket.clone(),
            config,
            schema.map(|schema| schema.inner()),
        );
        Ok(Self {
            lane: Arc::new(lane),
            shape: Mutex::new(None),
            pumped: AtomicU64::new(0),
        })
    }

    fn record(&self, py: Python<'_>, record: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.push(py, record)? {
            self.flush(py)?;
        }
        Ok(())
    }

    fn records(&self, py: Python<'_>, records: &Bound<'_, PyAny>) -> PyResult<u64> {
        let mut count = 0;
        for record in records.try_iter()? {
            if self.push(py, &record?)? {
                self.flush(py)?;
            }
            count += 1;
        }
        Ok(count)
    }

    #[pyo3(signature = (source, most, trail=None, limit=None))]
    fn pump<'py>(
        &self,
        py: Python<'py>,
        source: &Bound<'py, PyAny>,
        most: u64,
        trail: Option<&Bound<'py, Trail>>,
        limit: Option<u64>,
    ) -> PyResult<(u64, Option<Bound<'py, PyAny>>, bool)> {
        let mut records = source.try_iter()?;
        let limit = limit.unwrap_or(u64::MAX);
        let most = most.min(limit);
        let mut handed = page::handed();
        let mut count = 0;
        self.pumped.store(count, Ordering::Relaxed);
        while count < most {
            let Some(item) = records.next().transpose()? else {
                return Ok((count, None, true));
            };
            let plain = item.is_exact_instance_of::<PyDict>();
            if !plain || trail.is_some_and(|trail| trail.get().waits(py, &item)) {
                return Ok((count, Some(item), false));
            }
            if let Some(trail) = trail {
                trail.get().arrive(py, &item);
            }
            self.record(py, &item)?;
            if let Some(trail) = trail {
                trail.get().passed(py);
            }
            count += 1;
            self.pumped.store(count, Ordering::Relaxed);
            if handed != page::handed() {
                handed = page::handed();
                // A page that another thread is at goes record by record.
                if let Some(page) = page::delegated(records.as_any())?
                    && let Ok(mut page) = page.try_borrow_mut()
                {
                    let taken = self.page(py, &mut page, limit - count);
                    let through = self.pumped.load(Ordering::Relaxed) - count;
                    page.went_through(py, through, trail);
                    count += through;
                    taken?;
                }
            }
        }
        Ok((count, None, false))
    }

    #[getter]
    fn pumped(&self) -> u64 {
        self.pumped.load(Ordering::Relaxed)
    }

    fn arrow(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<u64> {
        let stream = crate::capsule::stream(data)?;
        py.detach(|| self.lane.arrow(stream))
            .map_err(|failure| failure.raise(py, &self.lane.config.stream))
    }

    #[pyo3(signature = (state, r#final=false))]
    fn checkpoint(&self, py: Python<'_>, state: &[u8], r#final: bool) -> PyResult<String> {
        py.detach(|| self.lane.checkpoint(state, r#final))
            .map_err(|failure| failure.raise(py, &self.lane.config.stream))
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.lane.flush())
            .map_err(|failure| failure.raise(py, &self.lane.config.stream))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.lane.close())
            .map_err(|failure| failure.raise(py, &self.lane.config.stream))
    }

    #[getter]
    fn count(&self, py: Python<'_>) -> u64 {
        self.state(py).count
    }

    #[getter]
    fn full(&self, py: Python<'_>) -> bool {
        self.lane.config.is_full(self.state(py).count)
    }

    #[getter]
    fn schema(&self, py: Python<'_>) -> Option<ArrowSchema> {
        self.state(py).schema.clone().map(ArrowSchema::of)
    }
}

impl Emitter {
    fn state(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        self.lane
            .state
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds at most so many records of a page, or until a batch was sent: as
    /// they lie where they are ordinary, else as dicts. Counts them in
    /// `pumped`.
    fn page(&self, py: Python<'_>, page: &mut Page, most: u64) -> PyResult<()> {
        let mut left = most;
        while left > 0 {
            let mut parts = page.parts(py);
            let (count, odd) = py.detach(|| self.lane.rows(&mut parts, left));
            self.pumped.fetch_add(count, Ordering::Relaxed);
            left -= count;
            let odd = odd.map_err(|failure| failure.raise(py, &self.lane.config.stream))?;
            if !odd || left == 0 || !page.is_at_object(py) {
                break;
            }
            let Some(record) = page.take(py)? else {
                break;
            };
            self.record(py, &record)?;
            self.pumped.fetch_add(1, Ordering::Relaxed);
            left -= 1;
        }
        if let Some(mould) = self.lane.mould.get() {
            page.became(mould);
        }
        Ok(())
    }

    /// Adds a record; true if it is time to flush.
    fn push(&self, py: Python<'_>, record: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(record) = record.cast::<PyDict>() else {
            return Err(PyTypeError::new_err(format!(
                "stream {:?}: a record is a dict, not {}",
                self.lane.config.stream,
                record.get_type().name()?,
            )));
        };
        let config = &self.lane.config;
        let raise = |failure: Failure| failure.raise(py, &config.stream);
        let mut state = self.state(py);
        if !state.may_take(config).map_err(raise)? {
            return Ok(false);
        }
        let State {
            phase,
            aside,
            schema,
            ..
        } = &mut *state;
        if let Phase::Sampling(_) = phase {
            let pairs = match python::pairs(record) {
                Ok(pairs) => pairs,
                Err(fault) => return Err(self.fault(py, &mut state, fault)),
            };
            return self.lane.sampled(&mut state, pairs).map_err(raise);
        }
        let mut shape = self.shape.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = match phase {
            Phase::Columns(columns) => Err(columns),
            Phase::Lines(lines) => Ok(lines),
            Phase::Sampling(_) => return Ok(false),
            Phase::Foreign(unsupported) => {
                return Err(raise(Failure::Foreign(unsupported.clone())));
            }
        };
        let pushed = match slots {
            Err(columns) => {
                let shape = shape.get_or_insert_with(|| {
                    let slots: Vec<_> = columns.columns.iter().map(|c| c.slot.clone()).collect();
                    Shape::new(&slots, config.aside())
                });
                python::push_columns(columns, shape, record, aside)
            }
            Ok(lines) => {
                let shape = shape.get_or_insert_with(|| Shape::new(&lines.slots, config.aside()));
                python::push_lines(lines, shape, record, aside)
            }
        };
        debug_assert!(schema.is_some(), "columns and lines follow a schema");
        drop(shape);
        match pushed {
            Ok(size) => self.lane.pushed(&mut state, size).map_err(raise),
            Err(fault) => Err(self.fault(py, &mut state, fault)),
        }
    }

    /// The record did not fit: nothing of it stays.
    fn fault(&self, py: Python<'_>, state: &mut State, fault: Fault) -> PyErr {
        state.take_back();
        match fault {
            Fault::Python(error) => error,
            Fault::Misfit(misfit) => {
                Failure::misfit(state.count, &misfit).raise(py, &self.lane.config.stream)
            }
        }
    }
}

impl Config {
    /// The field that no record may fill itself.
    fn aside(&self) -> Option<&'static str> {
        (self.unknown == Unknown::Extra).then_some(EXTRA)
    }
}

impl Drop for Emitter {
    fn drop(&mut self) {
        self.lane.abandon();
    }
}
