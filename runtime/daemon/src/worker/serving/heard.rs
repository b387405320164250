//! What a worker says, acted on: checked, redacted, handed on.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use caisson_egress::EgressEvent;
use caisson_proto::v1::{self, ErrorCode};
use caisson_wire::message::from_worker::Message;

use super::{Serving, broken};
use crate::call::Event;
use crate::egress::refusal_of;
use crate::error::CallError;
use crate::worker::order::names;
use crate::worker::translate::{clean, event};
use crate::worker::way::{Verdict, Way};

impl Serving {
    /// Checks one message and acts on it; a verdict if it ends the serving.
    pub(super) async fn frame(
        &mut self,
        message: Message,
        body: Bytes,
        way: &mut Way<'_>,
    ) -> Option<Verdict> {
        if let Err(violation) = self.order.accept(&message, body.len()) {
            return Some(Verdict::Ended(broken(&violation)));
        }
        // A name goes on as it is, so one that holds a secret goes nowhere.
        if names(&message).any(|name| matches!(self.redactor.redact(name), Cow::Owned(_))) {
            let error = broken(&"a name that the worker chose holds a secret");
            return Some(Verdict::Ended(error));
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
            Message::Checkpoint(checkpoint) if self.holds_secret(&checkpoint.state) => {
                let message = format!(
                    "a checkpoint of stream `{}` holds a secret",
                    checkpoint.stream
                );
                let error = CallError::new(ErrorCode::ConnectorFailed, message)
                    .with_action("keep credentials out of the connector's state");
                return Some(Verdict::Ended(error));
            }
            Message::Log(_) | Message::Progress(_) | Message::StreamStatus(_)
                if !self.quota.admits() => {}
            Message::Throttled(throttled) => {
                // Waiting is no stall.
                let wait = throttled
                    .until_unix_ms
                    .saturating_sub(crate::usage::unix_ms());
                let wait = Duration::from_millis(wait.min(24 * 3_600_000));
                way.tally.announced_wait += wait;
                self.pulse.waits(wait);
                self.translate(Message::Throttled(throttled), body, way)
                    .await;
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
        self.pulse.told();
    }

    pub(super) async fn log(&mut self, mut log: v1::Log, way: &mut Way<'_>) {
        log.message = clean(&log.message, &self.redactor);
        way.tally.line(&log);
        self.emit("", "", Event::Log(log), way).await;
    }

    pub(super) async fn egress(&mut self, event: EgressEvent, way: &mut Way<'_>) {
        if let Some(refusal) = refusal_of(event, &self.redactor) {
            way.tally.refused(&refusal);
            self.emit("", "", Event::Refused(refusal), way).await;
        }
    }

    fn holds_secret(&self, state: &[u8]) -> bool {
        let text = String::from_utf8_lossy(state);
        matches!(self.redactor.redact(&text), Cow::Owned(_))
    }
}
