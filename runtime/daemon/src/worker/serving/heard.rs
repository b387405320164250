//! What a worker says, acted on: checked, redacted, handed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use caisson_egress::{EgressEvent, Reason};
use caisson_proto::v1::{self, ErrorCode};
use caisson_secrets::Redactor;
use caisson_wire::message::Encoding;
use caisson_wire::message::from_worker::Message;
use tokio::time::Instant;

use super::{Serving, broken};
use crate::call::Event;
use crate::egress::{exhausted, not_recorded, refusal_of, throttled};
use crate::error::CallError;
use crate::worker::classify::describe;
use crate::worker::order::{NAME, names};
use crate::worker::translate::{clean, event};
use crate::worker::way::{Verdict, Way};

/// Bytes whose search takes longer than other tasks should wait.
const LARGE: usize = 64 << 10;

impl Serving {
    /// Checks one message and acts on it; a verdict if it ends the serving.
    pub(super) async fn frame(
        &mut self,
        message: Message,
        body: Bytes,
        way: &mut Way<'_>,
    ) -> Option<Verdict> {
        // First: what breaks the order is quoted, perhaps in part.
        if let Some(error) = named_secret(&message, &body, &self.redactor).await {
            return Some(Verdict::Ended(error));
        }
        if let Err(violation) = self.order.accept(&message, body.len()) {
            return Some(Verdict::Ended(broken(&violation)));
        }
        match message {
            Message::Done(_) if self.writes && !self.given.complete() => {
                return Some(Verdict::Ended(broken(
                    &"the destination said that it was done before it had everything",
                )));
            }
            Message::Done(done) => return Some(Verdict::Done(done)),
            Message::Failed(failed) => return Some(Verdict::Failed(failed)),
            Message::Started(_) => way.tally.stats.start_ms = way.tally.since_accepted_ms(),
            Message::Committed(committed) => {
                let (stream, partition) = (&committed.stream, &committed.partition);
                let done = self
                    .given
                    .committed(stream, partition, &committed.checkpoint_id);
                let Some(done) = done else {
                    return Some(Verdict::Ended(broken(
                        &"the worker committed a checkpoint that it was not given",
                    )));
                };
                for checkpoint in done {
                    let event = Event::Committed(v1::Committed {
                        checkpoint: Some(checkpoint),
                        revision: 0,
                    });
                    self.emit(stream, partition, event, way).await;
                }
            }
            Message::Checkpoint(mut checkpoint) => {
                let state = Bytes::from(checkpoint.state);
                if finds(&self.redactor, &state).await {
                    let message = format!(
                        "a checkpoint of stream `{}` holds a secret",
                        checkpoint.stream
                    );
                    let error = CallError::new(ErrorCode::ConnectorFailed, message)
                        .with_action("keep credentials out of the connector's state");
                    return Some(Verdict::Ended(error));
                }
                checkpoint.state = state.into();
                self.translate(Message::Checkpoint(checkpoint), body, way)
                    .await;
            }
            Message::Log(_) | Message::Progress(_) | Message::StreamStatus(_)
                if !self.quota.admits(told(&message)) => {}
            Message::Throttled(throttled) => {
                let wait = throttled
                    .until_unix_ms
                    .saturating_sub(crate::usage::unix_ms());
                self.pulse
                    .waits(Duration::from_millis(wait), Instant::now());
                self.translate(Message::Throttled(throttled), body, way)
                    .await;
            }
            Message::Batch(batch) if self.redact_records => {
                match masked(&self.redactor, body, self.encoding).await {
                    Ok(body) => self.translate(Message::Batch(batch), body, way).await,
                    Err(error) => return Some(Verdict::Ended(error)),
                }
            }
            message => self.translate(message, body, way).await,
        }
        None
    }

    async fn translate(&mut self, message: Message, body: Bytes, way: &mut Way<'_>) {
        if let Some((stream, partition, event)) = event(message, body, &self.redactor) {
            self.emit(&stream, &partition, event, way).await;
        }
    }

    pub(super) async fn emit(
        &mut self,
        stream: &str,
        partition: &str,
        event: Event,
        way: &mut Way<'_>,
    ) {
        way.emit(stream, partition, event).await;
        self.pulse.told(Instant::now());
    }

    pub(super) async fn log(&mut self, mut log: v1::Log, way: &mut Way<'_>) {
        log.message = clean(&log.message, &self.redactor);
        way.tally.line(&log);
        self.emit("", "", Event::Log(log), way).await;
    }

    /// Tells what the gateway saw; the error that ends a call whose worker goes on asking for what it may not have, or whose
    /// upstream takes nothing more in time.
    pub(super) async fn egress(
        &mut self,
        event: EgressEvent,
        way: &mut Way<'_>,
    ) -> Option<CallError> {
        let ends = match &event {
            EgressEvent::Refused { refusal, .. } if refusal.reason == Reason::SecretMisplaced => {
                let detail = self.redactor.redact(&refusal.detail);
                Some(CallError::new(ErrorCode::EgressDenied, detail))
            }
            _ => None,
        };
        let persists = matches!(event, EgressEvent::Refused { persists: true, .. });
        let event = match event {
            EgressEvent::Throttled {
                to,
                until_ms,
                cause,
            } => {
                // A wait without a known end is judged by what the gateway carries meanwhile.
                if let Some(until) = until_ms {
                    let wait = until.saturating_sub(crate::usage::unix_ms());
                    self.pulse
                        .waits(Duration::from_millis(wait), Instant::now());
                }
                let told = Event::Throttled(throttled(to, until_ms, cause));
                self.emit("", "", told, way).await;
                return None;
            }
            EgressEvent::Exhausted {
                to,
                until_ms,
                cause,
            } => return Some(exhausted(&to, until_ms, &cause)),
            EgressEvent::NotRecorded { detail, .. } => {
                return Some(not_recorded(&self.redactor.redact(&detail)));
            }
            EgressEvent::SecretUnavailable {
                detail, retryable, ..
            } => {
                let detail = self.redactor.redact(&detail).into_owned();
                let error = CallError::new(ErrorCode::SecretUnavailable, detail);
                return Some(error.retryable(retryable));
            }
            event => event,
        };
        let refusal = refusal_of(event, &self.redactor)?;
        let error = ends.or_else(|| persists.then(|| persistent(&refusal)));
        way.tally.refused(&refusal);
        self.emit("", "", Event::Refused(refusal), way).await;
        error
    }
}

/// What a retry loop of the connector's own would otherwise chew on until the deadline.
fn persistent(refusal: &v1::EgressRefusal) -> CallError {
    let told = describe(refusal);
    CallError::new(
        ErrorCode::EgressDenied,
        format!("{told}, and the connector goes on asking for it"),
    )
}

/// Names of streams, keys and fields go on as they are, in frames that
/// callers and destinations have to understand: one that holds a secret goes
/// nowhere, and ends the call.
async fn named_secret(
    message: &Message,
    body: &Bytes,
    redactor: &Arc<Redactor>,
) -> Option<CallError> {
    // Longer ones are refused for that, and not quoted.
    let mut short = names(message).filter(|name| name.len() <= NAME);
    let what = if short.any(|name| redactor.finds(name.as_bytes())) {
        "a name that the connector chose holds a secret".to_owned()
    } else {
        let where_from = match message {
            Message::Schema(schema) => format!("stream `{}`", schema.stream),
            Message::Object(_) => "an object".to_owned(),
            _ => return None,
        };
        if !finds(redactor, body).await {
            return None;
        }
        format!("the name of a field of {where_from} holds a secret")
    };
    let error = CallError::new(ErrorCode::ConnectorFailed, what);
    Some(error.with_action("keep credentials out of the names of streams and fields"))
}

/// Whether a secret stands in these bytes. Many of them are searched where nobody waits for it.
async fn finds(redactor: &Arc<Redactor>, bytes: &Bytes) -> bool {
    if bytes.len() < LARGE {
        return redactor.finds(bytes);
    }
    let (redactor, bytes) = (redactor.clone(), bytes.clone());
    // A search that ended without an answer found nothing that may pass.
    tokio::task::spawn_blocking(move || redactor.finds(&bytes))
        .await
        .unwrap_or(true)
}

/// A batch without secrets, of the same length.
async fn masked(
    redactor: &Arc<Redactor>,
    batch: Bytes,
    encoding: Encoding,
) -> Result<Bytes, CallError> {
    let redactor = redactor.clone();
    let mask = move || {
        let masked = match encoding {
            Encoding::JsonLines => redactor.mask_lines(&batch),
            _ => redactor.mask_columns(&batch),
        };
        masked.map_or(batch, Bytes::from)
    };
    tokio::task::spawn_blocking(mask)
        .await
        .map_err(|error| CallError::internal("a batch was not searched for secrets", &error))
}

/// Size in bytes of what a message says to people.
fn told(message: &Message) -> usize {
    match message {
        Message::Log(log) => log.logger.len() + log.message.len() + log.fields_json.len(),
        Message::Progress(progress) => progress.stream.len() + progress.message.len(),
        Message::StreamStatus(status) => status.stream.len() + status.status.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use caisson_secrets::SecretValue;
    use caisson_wire::message::{Batch, Object, Schema};

    use super::*;

    #[tokio::test]
    async fn a_secret_in_a_name_or_in_a_schema_ends_the_call_and_records_are_the_callers_own() {
        let secret = SecretValue::new("hunter2-hunter2");
        let redactor = Arc::new(Redactor::new([("k", &secret)]));
        let found = async |message: Message, body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            let error = named_secret(&message, &body, &redactor).await;
            error.map(|error| error.message)
        };
        let schema = |stream: &str| {
            Message::Schema(Schema {
                stream: stream.into(),
                ..Default::default()
            })
        };
        let body = b"\xff\x00hunter2-hunter2\x00";
        let in_schema = found(schema("s"), body).await.unwrap();
        assert!(in_schema.contains("stream `s`"));
        assert!(found(schema("a-hunter2-hunter2"), b"").await.is_some());
        let object = Message::Object(Object::default());
        assert!(found(object, body).await.is_some());
        assert!(found(schema("s"), b"id").await.is_none());
        let batch = Message::Batch(Batch::default());
        assert!(found(batch, body).await.is_none());
        let large = [&vec![b'x'; LARGE][..], body].concat();
        assert!(found(schema("s"), &large).await.is_some());
    }
}
