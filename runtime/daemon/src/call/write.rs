//! What a caller streams into a Write, checked and handed to the worker.

use std::collections::HashMap;

use bytes::Bytes;
use caisson_proto::v1::{self, ErrorCode, WriteMode, write_request::Message};
use caisson_state::MAX_STATE_BYTES;
use caisson_wire::{MAX_BODY, MAX_STREAMS, message};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::read::Streams;
use crate::error::CallError;
use crate::worker::Input;

/// Longest name of a stream, partition, schema or checkpoint, in bytes.
const NAME: usize = 1024;

/// How a caller's input ended.
pub(crate) enum Fed {
    /// Half-closed: everything came.
    Complete,
    /// The caller went away.
    Broken,
    /// The caller sent what makes no sense.
    Invalid(Box<CallError>),
    /// The worker takes no more.
    Unwanted,
}

/// The worker's word for a mode; empty where nothing is said.
pub(crate) fn mode_word(mode: i32) -> &'static str {
    match WriteMode::try_from(mode) {
        Ok(WriteMode::Append) => "append",
        Ok(WriteMode::Upsert) => "upsert",
        _ => "",
    }
}

/// Moves a caller's messages to the worker until the caller half-closes.
pub(crate) async fn feed_from_caller(
    mut requests: impl Stream<Item = Result<v1::WriteRequest, Status>> + Unpin,
    modes: Streams,
    input: mpsc::Sender<Input>,
) -> Fed {
    let mut schemas: HashMap<String, String> = HashMap::new();
    loop {
        let message = match requests.next().await {
            None => {
                return if input.send(Input::End).await.is_ok() {
                    Fed::Complete
                } else {
                    Fed::Unwanted
                };
            }
            Some(Err(_)) => return Fed::Broken,
            Some(Ok(request)) => request.message,
        };
        if let Some(error) = message.as_ref().and_then(too_large) {
            return Fed::Invalid(error.into());
        }
        let next = match message {
            Some(Message::Schema(schema)) => {
                schemas.insert(schema.stream.clone(), schema.schema_id.clone());
                if schemas.len() > MAX_STREAMS {
                    let message = format!("a Write has more than {MAX_STREAMS} streams");
                    let error = CallError::new(ErrorCode::ConfigInvalid, message)
                        .with_action("write fewer of them in one call");
                    return Fed::Invalid(error.into());
                }
                schema_of(schema, &modes)
            }
            Some(Message::Batch(batch)) => match batch_of(batch, &schemas) {
                Ok(input) => input,
                Err(error) => return Fed::Invalid(error.into()),
            },
            Some(Message::Checkpoint(checkpoint)) if checkpoint.id.is_empty() => {
                return Fed::Invalid(
                    CallError::new(ErrorCode::ConfigInvalid, "a checkpoint has no id").into(),
                );
            }
            Some(Message::Checkpoint(checkpoint)) => Input::Checkpoint(checkpoint),
            Some(Message::Start(_)) => {
                return Fed::Invalid(
                    CallError::new(ErrorCode::ConfigInvalid, "WriteStart came twice").into(),
                );
            }
            // An arm of a later version.
            None => continue,
        };
        if input.send(next).await.is_err() {
            return Fed::Unwanted;
        }
    }
}

/// Names and states that no worker is given: what a frame cannot hold, or
/// the store would refuse.
fn too_large(message: &Message) -> Option<CallError> {
    let (what, size, limit) = match message {
        Message::Checkpoint(checkpoint) if checkpoint.state.len() > MAX_STATE_BYTES => (
            "a checkpoint's state",
            checkpoint.state.len(),
            MAX_STATE_BYTES,
        ),
        Message::Schema(schema) if schema.ipc.len() > MAX_BODY => {
            ("a schema", schema.ipc.len(), MAX_BODY)
        }
        _ => {
            let names: [&str; 3] = match message {
                Message::Checkpoint(of) => [&of.stream, &of.partition, &of.id],
                Message::Schema(of) => [&of.stream, &of.schema_id, ""],
                Message::Batch(of) => [&of.stream, &of.partition, &of.schema_id],
                Message::Start(_) => [""; 3],
            };
            let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
            if longest <= NAME {
                return None;
            }
            ("a name", longest, NAME)
        }
    };
    let message = format!("{what} of {size} bytes is over the limit of {limit}");
    Some(CallError::new(ErrorCode::ConfigInvalid, message).with_action("send a smaller one"))
}

fn schema_of(schema: v1::WriteSchema, modes: &Streams) -> Input {
    let mode = match schema.mode {
        0 => modes.get(&schema.stream).map_or(0, |options| options.write),
        mode => mode,
    };
    let message = message::Schema {
        stream: schema.stream,
        schema_id: schema.schema_id,
        primary_key: schema.primary_key,
        cursor: String::new(),
        mode: mode_word(mode).to_owned(),
    };
    Input::Schema(message, Bytes::from(schema.ipc))
}

fn batch_of(batch: v1::WriteBatch, schemas: &HashMap<String, String>) -> Result<Input, CallError> {
    let wrong = |message: String, action: &str| {
        Err(CallError::new(ErrorCode::SchemaViolation, message).with_action(action))
    };
    if schemas.get(&batch.stream) != Some(&batch.schema_id) {
        let message = format!(
            "a batch of stream `{}` names schema `{}`, which is not the stream's current one",
            batch.stream, batch.schema_id
        );
        return wrong(
            message,
            "send WriteSchema with that schema_id before the batch",
        );
    }
    if batch.data.len() > MAX_BODY {
        let message = format!(
            "a batch of stream `{}` has {} bytes",
            batch.stream,
            batch.data.len()
        );
        return Err(CallError::new(ErrorCode::RecordTooLarge, message)
            .with_action("cut batches to at most 3.5 MiB, best 1 MiB"));
    }
    if batch.data.is_empty() {
        return wrong(
            format!("a batch of stream `{}` is empty", batch.stream),
            "leave empty batches out",
        );
    }
    let message = message::Batch {
        stream: batch.stream,
        partition: batch.partition,
        schema_id: batch.schema_id,
        epoch: batch.epoch,
        sequence: batch.sequence,
        records: batch.records,
    };
    Ok(Input::Batch(message, batch.data))
}
