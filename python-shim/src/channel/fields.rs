//! Messages as dicts: ToWorker's arms towards Python, FromWorker's from it.
//!
//! Written out by hand: the compiler then says which field a changed
//! protocol forgot here.

use caisson_wire::Opening;
use caisson_wire::message::{self, from_worker, to_worker};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

/// The arm's name and its fields by proto name.
pub(super) fn to_python(
    py: Python<'_>,
    message: to_worker::Message,
) -> PyResult<(&'static str, Bound<'_, PyDict>)> {
    let fields = PyDict::new(py);
    let kind = match message {
        to_worker::Message::Start(_)
        | to_worker::Message::StreamStart(_)
        | to_worker::Message::Prepare(_) => {
            return Err(PyValueError::new_err(
                "the daemon opened the call a second time",
            ));
        }
        to_worker::Message::Schema(schema) => {
            fields.set_item("stream", schema.stream)?;
            fields.set_item("schema_id", schema.schema_id)?;
            fields.set_item("primary_key", schema.primary_key)?;
            fields.set_item("cursor", schema.cursor)?;
            fields.set_item("mode", schema.mode)?;
            "schema"
        }
        to_worker::Message::Batch(batch) => {
            fields.set_item("stream", batch.stream)?;
            fields.set_item("partition", batch.partition)?;
            fields.set_item("schema_id", batch.schema_id)?;
            fields.set_item("epoch", batch.epoch)?;
            fields.set_item("sequence", batch.sequence)?;
            fields.set_item("records", batch.records)?;
            "batch"
        }
        to_worker::Message::Checkpoint(checkpoint) => {
            fields.set_item("stream", checkpoint.stream)?;
            fields.set_item("partition", checkpoint.partition)?;
            fields.set_item("id", checkpoint.id)?;
            fields.set_item("state", PyBytes::new(py, &checkpoint.state))?;
            fields.set_item("records", checkpoint.records)?;
            fields.set_item("final", checkpoint.r#final)?;
            "checkpoint"
        }
        to_worker::Message::EndOfInput(message::EndOfInput {}) => "end_of_input",
        to_worker::Message::Cancel(cancel) => {
            fields.set_item("reason", cancel.reason)?;
            "cancel"
        }
    };
    Ok((kind, fields))
}

/// Prepare's only field, under a name that no field of Start has.
pub(super) fn prepare(py: Python<'_>, prepare: message::Prepare) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("prepare", prepare.entrypoint)?;
    Ok(fields)
}

/// Start's fields; `streams` are those that followed it, each with its state.
pub(super) fn opening(py: Python<'_>, opening: Opening) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    let start = opening.start;
    fields.set_item("operation", word(start.operation().as_str_name()))?;
    fields.set_item("encoding", word(start.encoding().as_str_name()))?;
    fields.set_item("protocol_version", start.protocol_version)?;
    fields.set_item("call_id", start.call_id)?;
    fields.set_item("manifest_json", start.manifest_json)?;
    fields.set_item("config_json", start.config_json)?;
    let secrets = PyList::empty(py);
    for secret in start.secrets {
        let item = PyDict::new(py);
        item.set_item("reference", secret.reference)?;
        item.set_item("value", PyBytes::new(py, &secret.value))?;
        secrets.append(item)?;
    }
    fields.set_item("secrets", secrets)?;
    let streams = PyList::empty(py);
    for (stream, state) in opening.streams {
        let item = PyDict::new(py);
        item.set_item("name", stream.name)?;
        item.set_item("partition", stream.partition)?;
        item.set_item("mode", stream.mode)?;
        item.set_item("max_records", stream.max_records)?;
        item.set_item("has_state", stream.has_state)?;
        item.set_item("state", PyBytes::new(py, &state))?;
        streams.append(item)?;
    }
    fields.set_item("streams", streams)?;
    fields.set_item("deadline_unix_ms", start.deadline_unix_ms)?;
    fields.set_item("batch_target_bytes", start.batch_target_bytes)?;
    fields.set_item("batch_max_bytes", start.batch_max_bytes)?;
    fields.set_item("flush_ms", start.flush_ms)?;
    fields.set_item("checkpoint_ms", start.checkpoint_ms)?;
    fields.set_item("write_max_records", start.write_max_records)?;
    fields.set_item("write_max_bytes", start.write_max_bytes)?;
    fields.set_item("all_streams", start.all_streams)?;
    fields.set_item("heartbeat_ms", start.heartbeat_ms)?;
    fields.set_item("throttle_max_ms", start.throttle_max_ms)?;
    Ok(fields)
}

/// ENCODING_ARROW_IPC as "arrow_ipc".
fn word(name: &str) -> String {
    let word = name.split_once('_').map_or(name, |(_, word)| word);
    word.to_ascii_lowercase()
}

/// A dict's items, each to be taken by name; what is left over was unknown.
struct Fields<'a, 'py> {
    kind: &'a str,
    items: &'a Bound<'py, PyDict>,
    taken: usize,
}

impl<'py> Fields<'_, 'py> {
    fn take<T: Default + FromPyObjectOwned<'py>>(&mut self, name: &str) -> PyResult<T> {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let Some(value) = self.items.get_item(name)? else {
            return Ok(T::default());
        };
        self.taken += 1;
        value.extract::<T>().map_err(|error| {
            let error: PyErr = error.into();
            let found = value.get_type();
            PyTypeError::new_err(format!(
                "field {name:?} of {:?}: {} does not fit ({})",
                self.kind,
                found
                    .name()
                    .map_or_else(|_| "this value".to_owned(), |name| name.to_string()),
                error.value(self.items.py()),
            ))
        })
    }

    fn finish(self, names: &[&str]) -> PyResult<()> {
        if self.taken == self.items.len() {
            return Ok(());
        }
        for key in self.items.keys() {
            let key = key.to_string();
            if !names
                .iter()
                .any(|name| name.trim_start_matches("r#") == key)
            {
                return Err(PyTypeError::new_err(format!(
                    "{:?} has no field {key:?}; it has {}",
                    self.kind,
                    names.join(", ").replace("r#", ""),
                )));
            }
        }
        Ok(())
    }
}

macro_rules! arms {
    ($kind:expr, $items:expr; $($name:literal => $Arm:ident { $($field:ident),* }),* $(,)?) => {
        match $kind {
            $($name => {
                #[allow(unused_mut, reason = "arms without fields")]
                let mut fields = Fields { kind: $kind, items: $items, taken: 0 };
                let message = from_worker::Message::$Arm(message::$Arm {
                    $($field: fields.take(stringify!($field))?),*
                });
                fields.finish(&[$(stringify!($field)),*])?;
                Ok(message)
            })*
            other => Err(PyTypeError::new_err(format!(
                "no message {other:?}; there are {}",
                [$($name),*].join(", "),
            ))),
        }
    };
}

/// The inverse, for what a worker may say.
pub(super) fn from_python(kind: &str, items: &Bound<'_, PyDict>) -> PyResult<from_worker::Message> {
    arms! { kind, items;
        "hello" => Hello { protocol_version, cdk_version, python_version, profile },
        "started" => Started {},
        "object" => Object { json },
        "step" => Step { name, status, message },
        "schema" => Schema { stream, schema_id, primary_key, cursor, mode },
        "batch" => Batch { stream, partition, schema_id, epoch, sequence, records },
        "checkpoint" => Checkpoint { stream, partition, id, state, records, r#final },
        "stream_status" => StreamStatus { stream, partition, status },
        "log" => Log { level, logger, message, fields_json },
        "progress" => Progress { stream, records, total, message },
        "throttled" => Throttled { until_unix_ms, host, cause },
        "rejected" => Rejected { stream, partition, sequence, record, key_json, reason },
        "acknowledged" => Acknowledged { stream, partition, sequence, records },
        "committed" => Committed { stream, partition, checkpoint_id },
        "facts" => Facts {},
        "prepared" => Prepared {},
        "done" => Done { requests, throttled_seconds },
        "failed" => Failed {
            code, exception, message, traceback, stream, partition, retry_at_unix_ms, action,
            requests, throttled_seconds
        },
    }
}
