//! The door for tests/fuzz: what the daemon makes of a worker's messages, without a worker. Not part of the API.

use std::borrow::Cow;

use bytes::Bytes;
use caisson_secrets::{Redactor, SecretValue};
use caisson_wire::message::{Operation, from_worker::Message};

use super::order::{Order, names};
use super::translate;
use crate::call::Event;

/// The daemon's end of one worker's channel.
pub struct Listener {
    order: Order,
    redactor: Redactor,
}

/// What one message became.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// The stream that it is about.
    pub stream: String,
    /// Its partition.
    pub partition: String,
    /// Every text of the event that people read.
    pub texts: Vec<String>,
}

impl Listener {
    /// For a call of this kind that uses one secret.
    #[must_use]
    pub fn new(operation: Operation, secret: &str) -> Self {
        Self {
            order: Order::new(operation),
            redactor: Redactor::new([("secret", &SecretValue::new(secret))]),
        }
    }

    /// Takes the next message; nothing where it becomes no event.
    ///
    /// # Errors
    /// It ends the call.
    pub fn hear(&mut self, message: Message, body: Bytes) -> Result<Option<Heard>, String> {
        self.order
            .accept(&message, body.len())
            .map_err(|violation| violation.to_string())?;
        if names(&message).any(|name| matches!(self.redactor.redact(name), Cow::Owned(_))) {
            return Err("a name that the worker chose holds a secret".to_owned());
        }
        let event = translate::event(message, body, &self.redactor);
        Ok(event.map(|(stream, partition, event)| Heard {
            stream,
            partition,
            texts: texts(event),
        }))
    }
}

fn texts(event: Event) -> Vec<String> {
    match event {
        Event::Object(object) => vec![object.name, object.title, object.fields_json],
        Event::Step(step) => vec![step.name, step.message],
        Event::Log(log) => vec![log.logger, log.message, log.fields_json],
        Event::Progress(progress) => vec![progress.message],
        Event::Throttled(throttled) => vec![throttled.host, throttled.cause],
        Event::Rejected(rejected) => vec![rejected.key_json, rejected.reason],
        Event::Schema(schema) => [schema.schema_id, schema.cursor]
            .into_iter()
            .chain(schema.primary_key)
            .collect(),
        Event::Batch(batch) => vec![batch.schema_id],
        Event::Checkpoint(checkpoint) => vec![checkpoint.id],
        _ => Vec::new(),
    }
}
