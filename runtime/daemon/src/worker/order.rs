//! What a worker may say, and when. Pure: no IO, no clock.
//!
//! ```text
//! Hello ─► (Start goes in) ─► Started ─► events of the operation ─► Done | Failed
//! ```
//! Log, Progress and Throttled may come any time after Hello; Failed as well.
//! The worker runs somebody else's code, so whatever does not follow this
//! ends the call, and nothing of it reaches the caller.

use std::collections::{HashMap, HashSet};

use caisson_wire::message::{Operation, from_worker::Message};

/// Names and identifiers longer than this are refused, in bytes.
const NAME: usize = 1024;
/// Largest state of one checkpoint in bytes, as the public API promises.
const STATE: usize = 1 << 20;
/// Streams and partitions of one call.
const STREAMS: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Starting,
    Running,
    Ended,
}

/// The order of one worker's messages.
pub(crate) struct Order {
    operation: Operation,
    phase: Phase,
    schemas: HashMap<String, HashSet<String>>,
    checkpoints: HashSet<String>,
}

/// The worker broke the order: what it said and when.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Violation {
    #[error("the worker said {0} {1}")]
    Untimely(&'static str, &'static str),
    #[error("the worker sent {0} in a call that has none")]
    Foreign(&'static str),
    #[error("the worker speaks protocol {0}, the daemon speaks {1}")]
    Version(u32, u32),
    #[error("a batch names schema `{0}`, which was not sent for its stream")]
    UnknownSchema(String),
    #[error("a batch of {0} records has {1} bytes")]
    EmptyBatch(u64, usize),
    #[error("checkpoint `{0}` was sent twice")]
    RepeatedCheckpoint(String),
    #[error("{0} of {1} bytes is over the limit of {2}")]
    TooLong(&'static str, usize, usize),
    #[error("the worker opened more than {0} streams and partitions")]
    TooManyStreams(usize),
}

impl Order {
    pub(crate) fn new(operation: Operation) -> Self {
        Self {
            operation,
            phase: Phase::Silent,
            schemas: HashMap::new(),
            checkpoints: HashSet::new(),
        }
    }

    /// Checks one message with a body of `body` bytes.
    pub(crate) fn accept(&mut self, message: &Message, body: usize) -> Result<(), Violation> {
        let word = word(message);
        match (self.phase, message) {
            (Phase::Ended, _) => return Err(Violation::Untimely(word, "after its end")),
            (Phase::Silent, Message::Hello(hello)) => {
                let ours = caisson_wire::PROTOCOL_VERSION;
                if hello.protocol_version != ours {
                    return Err(Violation::Version(hello.protocol_version, ours));
                }
                self.phase = Phase::Starting;
                return Ok(());
            }
            (Phase::Silent, _) => return Err(Violation::Untimely(word, "before Hello")),
            (_, Message::Hello(_)) => return Err(Violation::Untimely(word, "twice")),
            (Phase::Starting, Message::Started(_)) => self.phase = Phase::Running,
            (Phase::Running, Message::Started(_)) => {
                return Err(Violation::Untimely(word, "twice"));
            }
            (Phase::Starting | Phase::Running, Message::Done(_) | Message::Failed(_)) => {
                self.phase = Phase::Ended
            }
            (_, Message::Log(_) | Message::Progress(_) | Message::Throttled(_)) => {}
            (Phase::Starting, _) => return Err(Violation::Untimely(word, "before Started")),
            (Phase::Running, _) => {}
        }
        self.fits(message, word, body)
    }

    fn fits(
        &mut self,
        message: &Message,
        word: &'static str,
        body: usize,
    ) -> Result<(), Violation> {
        use Operation::{Inspect, List, Read, Test, Write};
        let expected = match message {
            Message::Object(_) => self.operation == List,
            Message::Step(_) => self.operation == Test,
            Message::Facts(_) => self.operation == Inspect,
            Message::Schema(_) | Message::Batch(_) | Message::Checkpoint(_) => {
                self.operation == Read
            }
            Message::StreamStatus(_) => matches!(self.operation, Read | Write),
            Message::Rejected(_) => matches!(self.operation, Read | Write),
            Message::Acknowledged(_) | Message::Committed(_) => self.operation == Write,
            _ => true,
        };
        if !expected {
            return Err(Violation::Foreign(word));
        }
        match message {
            Message::Schema(schema) => {
                short("a stream's name", schema.stream.len(), NAME)?;
                short("a schema's id", schema.schema_id.len(), NAME)?;
                let ids = self.schemas.entry(schema.stream.clone()).or_default();
                ids.insert(schema.schema_id.clone());
                if self.schemas.len() > STREAMS {
                    return Err(Violation::TooManyStreams(STREAMS));
                }
            }
            Message::Batch(batch) => {
                short("a partition's name", batch.partition.len(), NAME)?;
                if !self
                    .schemas
                    .get(&batch.stream)
                    .is_some_and(|ids| ids.contains(&batch.schema_id))
                {
                    return Err(Violation::UnknownSchema(
                        batch.schema_id.chars().take(80).collect(),
                    ));
                }
                if body == 0 || batch.records == 0 {
                    return Err(Violation::EmptyBatch(batch.records, body));
                }
            }
            Message::Checkpoint(checkpoint) => {
                short("a stream's name", checkpoint.stream.len(), NAME)?;
                short("a partition's name", checkpoint.partition.len(), NAME)?;
                short("a checkpoint's id", checkpoint.id.len(), NAME)?;
                short("a checkpoint's state", checkpoint.state.len(), STATE)?;
                if !self.checkpoints.insert(checkpoint.id.clone()) {
                    return Err(Violation::RepeatedCheckpoint(
                        checkpoint.id.chars().take(80).collect(),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn short(what: &'static str, len: usize, limit: usize) -> Result<(), Violation> {
    if len > limit {
        Err(Violation::TooLong(what, len, limit))
    } else {
        Ok(())
    }
}

fn word(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "Hello",
        Message::Started(_) => "Started",
        Message::Object(_) => "Object",
        Message::Step(_) => "Step",
        Message::Schema(_) => "Schema",
        Message::Batch(_) => "Batch",
        Message::Checkpoint(_) => "Checkpoint",
        Message::StreamStatus(_) => "StreamStatus",
        Message::Log(_) => "Log",
        Message::Progress(_) => "Progress",
        Message::Throttled(_) => "Throttled",
        Message::Rejected(_) => "Rejected",
        Message::Acknowledged(_) => "Acknowledged",
        Message::Committed(_) => "Committed",
        Message::Facts(_) => "Facts",
        Message::Done(_) => "Done",
        Message::Failed(_) => "Failed",
    }
}

#[cfg(test)]
mod tests {
    use caisson_wire::message::{Batch, Checkpoint, Done, Hello, Object, Schema, Started};

    use super::*;

    fn reading() -> Order {
        let mut order = Order::new(Operation::Read);
        let hello = Hello {
            protocol_version: caisson_wire::PROTOCOL_VERSION,
            ..Default::default()
        };
        order.accept(&Message::Hello(hello), 0).unwrap();
        order.accept(&Message::Started(Started {}), 0).unwrap();
        order
    }

    fn schema(stream: &str) -> Message {
        Message::Schema(Schema {
            stream: stream.into(),
            schema_id: "s1".into(),
            ..Default::default()
        })
    }

    fn batch(stream: &str) -> Message {
        Message::Batch(Batch {
            stream: stream.into(),
            schema_id: "s1".into(),
            records: 1,
            ..Default::default()
        })
    }

    #[test]
    fn nothing_is_heard_before_hello() {
        let mut order = Order::new(Operation::Read);
        assert_eq!(
            order.accept(&batch("a"), 1),
            Err(Violation::Untimely("Batch", "before Hello"))
        );
    }

    #[test]
    fn a_batch_needs_the_schema_of_its_own_stream() {
        let mut order = reading();
        order.accept(&schema("a"), 1).unwrap();
        assert_eq!(order.accept(&batch("a"), 1), Ok(()));
        assert_eq!(
            order.accept(&batch("b"), 1),
            Err(Violation::UnknownSchema("s1".into()))
        );
    }

    #[test]
    fn a_checkpoint_cannot_come_twice_nor_be_huge() {
        let mut order = reading();
        let checkpoint = |len| {
            Message::Checkpoint(Checkpoint {
                id: "1".into(),
                state: vec![0; len],
                ..Default::default()
            })
        };
        assert!(matches!(
            order.accept(&checkpoint(STATE + 1), 0),
            Err(Violation::TooLong(..))
        ));
        order.accept(&checkpoint(1), 0).unwrap();
        assert_eq!(
            order.accept(&checkpoint(1), 0),
            Err(Violation::RepeatedCheckpoint("1".into()))
        );
    }

    #[test]
    fn nothing_is_heard_after_the_end() {
        let mut order = reading();
        order.accept(&Message::Done(Done::default()), 0).unwrap();
        assert_eq!(
            order.accept(&schema("a"), 1),
            Err(Violation::Untimely("Schema", "after its end"))
        );
    }

    #[test]
    fn an_object_has_no_place_in_a_read() {
        let mut order = reading();
        assert_eq!(
            order.accept(&Message::Object(Object::default()), 0),
            Err(Violation::Foreign("Object"))
        );
    }
}
