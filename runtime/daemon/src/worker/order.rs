//! What a worker may say, and when. Pure: no IO, no clock.
//!
//! ```text
//! Hello ─► (Start and its streams go in) ─► Started ─► events of the operation ─► Done | Failed
//! ```
//! Log, Progress and Throttled may come any time after Hello; Failed as well.
//! The worker runs somebody else's code, so whatever does not follow this
//! ends the call, and nothing of it reaches the caller.

use std::collections::{HashMap, HashSet};

use caisson_wire::message::{Operation, from_worker::Message};
use caisson_wire::{MAX_STATE, MAX_STATES, MAX_STREAMS};
use caisson_without::{Part, without};
use prost::Message as _;

/// Names and identifiers longer than this are refused, in bytes.
pub(super) const NAME: usize = 1024;
/// Texts of a worker that no quota holds back: each is searched for secrets.
const TEXT: usize = 64 << 10;
/// One schema, in bytes.
const SCHEMA: usize = 1 << 20;
/// The schemas and objects of one call together, in bytes: every one is searched for secrets.
const SCHEMAS: usize = 256 << 20;
/// Steps of a Test.
const STEPS: usize = 1000;

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
    schemas_seen: usize,
    /// What schemas and objects came to, in bytes.
    described: usize,
    /// The last checkpoint of each stream and partition: its id and size.
    partitions: HashMap<(String, String), (String, usize)>,
    states: usize,
    objects: usize,
    steps: usize,
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
    #[error("the worker opened more than {0} {1}")]
    TooMany(usize, &'static str),
}

impl Order {
    pub(crate) fn new(operation: Operation) -> Self {
        Self {
            operation,
            phase: Phase::Silent,
            schemas: HashMap::new(),
            schemas_seen: 0,
            described: 0,
            partitions: HashMap::new(),
            states: 0,
            objects: 0,
            steps: 0,
        }
    }

    /// Checks one message with a body of `body` bytes.
    pub(crate) fn accept(&mut self, message: &Message, body: usize) -> Result<(), Violation> {
        match self.judge(message, body) {
            Err(_) if without(Part::Order) => Ok(()),
            judged => judged,
        }
    }

    fn judge(&mut self, message: &Message, body: usize) -> Result<(), Violation> {
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
            (_, Message::Prepared(_)) => return Err(Violation::Untimely(word, "unasked")),
            (_, Message::Hello(_)) => return Err(Violation::Untimely(word, "twice")),
            (Phase::Starting, Message::Started(_)) => self.phase = Phase::Running,
            (Phase::Running, Message::Started(_)) => {
                return Err(Violation::Untimely(word, "twice"));
            }
            (Phase::Starting, Message::Failed(_))
            | (Phase::Running, Message::Done(_) | Message::Failed(_)) => self.phase = Phase::Ended,
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
        for name in names(message) {
            short("a name", name.len(), NAME)?;
        }
        if let Some((stream, partition)) = place(message) {
            let known = self.partitions.len();
            self.partitions
                .entry((stream.to_owned(), partition.to_owned()))
                .or_default();
            few(known, MAX_STREAMS, "streams and partitions")?;
        }
        match message {
            Message::Schema(schema) => {
                let ids = self.schemas.entry(schema.stream.clone()).or_default();
                self.schemas_seen += usize::from(ids.insert(schema.schema_id.clone()));
                few(self.schemas_seen, MAX_STREAMS, "schemas")?;
                self.describes(schema.encoded_len(), body)?;
            }
            Message::Batch(batch) => {
                let ids = self.schemas.get(&batch.stream);
                if !ids.is_some_and(|ids| ids.contains(&batch.schema_id)) {
                    return Err(Violation::UnknownSchema(
                        batch.schema_id.chars().take(80).collect(),
                    ));
                }
                if body == 0 || batch.records == 0 {
                    return Err(Violation::EmptyBatch(batch.records, body));
                }
            }
            Message::Checkpoint(checkpoint) => {
                let size = checkpoint.state.len();
                short("a checkpoint's state", size, MAX_STATE)?;
                let key = (checkpoint.stream.clone(), checkpoint.partition.clone());
                let last = self.partitions.entry(key).or_default();
                if last.0 == checkpoint.id {
                    return Err(Violation::RepeatedCheckpoint(
                        checkpoint.id.chars().take(80).collect(),
                    ));
                }
                self.states = self.states - last.1 + size;
                *last = (checkpoint.id.clone(), size);
                short("the states of all checkpoints", self.states, MAX_STATES)?;
            }
            Message::Object(object) => {
                self.objects += 1;
                few(self.objects, MAX_STREAMS, "objects")?;
                self.describes(object.encoded_len(), body)?;
            }
            Message::Step(step) => {
                self.steps += 1;
                few(self.steps, STEPS, "steps")?;
                short("a step", step.encoded_len(), TEXT)?;
            }
            Message::Throttled(throttled) => short("a wait", throttled.encoded_len(), TEXT)?,
            Message::Rejected(rejected) => short("a reject", rejected.encoded_len(), TEXT)?,
            _ => {}
        }
        Ok(())
    }

    fn describes(&mut self, message: usize, body: usize) -> Result<(), Violation> {
        short("a schema", body, SCHEMA)?;
        self.described += message + body;
        short("all schemas", self.described, SCHEMAS)
    }
}

fn few(count: usize, limit: usize, what: &'static str) -> Result<(), Violation> {
    if count > limit {
        Err(Violation::TooMany(limit, what))
    } else {
        Ok(())
    }
}

/// The stream and partition that a message is about.
fn place(message: &Message) -> Option<(&str, &str)> {
    Some(match message {
        Message::Schema(schema) => (&schema.stream, ""),
        Message::Batch(batch) => (&batch.stream, &batch.partition),
        Message::Checkpoint(checkpoint) => (&checkpoint.stream, &checkpoint.partition),
        Message::StreamStatus(status) => (&status.stream, &status.partition),
        Message::Progress(progress) => (&progress.stream, ""),
        Message::Rejected(rejected) => (&rejected.stream, &rejected.partition),
        Message::Acknowledged(done) => (&done.stream, &done.partition),
        _ => return None,
    })
}

/// Every name that the worker chose and that goes on as it is: bounded in
/// length, and never one that holds a secret.
pub(super) fn names(message: &Message) -> impl Iterator<Item = &str> {
    let (stream, partition) = place(message).unwrap_or_default();
    let (ids, keys): ([&str; 2], &[String]) = match message {
        Message::Schema(schema) => ([&schema.schema_id, &schema.cursor], &schema.primary_key),
        Message::Batch(batch) => ([&batch.schema_id, ""], &[]),
        Message::Checkpoint(checkpoint) => ([&checkpoint.id, ""], &[]),
        Message::Failed(failed) => ([&failed.stream, &failed.partition], &[]),
        _ => (["", ""], &[]),
    };
    [stream, partition]
        .into_iter()
        .chain(ids)
        .chain(keys.iter().map(String::as_str))
        .filter(|name| !name.is_empty())
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
        Message::Prepared(_) => "Prepared",
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
    use caisson_wire::message::{
        Batch, Checkpoint, Done, Failed, Hello, Object, Progress, Schema, Started, Throttled,
    };

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
            order.accept(&checkpoint(MAX_STATE + 1), 0),
            Err(Violation::TooLong(..))
        ));
        order.accept(&checkpoint(1), 0).unwrap();
        assert_eq!(
            order.accept(&checkpoint(1), 0),
            Err(Violation::RepeatedCheckpoint("1".into()))
        );
    }

    #[test]
    fn what_a_call_keeps_of_a_worker_is_bounded_however_it_names_its_streams() {
        let mut order = reading();
        let checkpoint = |n: usize| {
            Message::Checkpoint(Checkpoint {
                id: n.to_string(),
                partition: n.to_string(),
                state: vec![0; MAX_STATE],
                ..Default::default()
            })
        };
        let refused = (0..100).find_map(|n| order.accept(&checkpoint(n), 0).err());
        assert!(matches!(refused, Some(Violation::TooLong(..))));

        let mut order = reading();
        let refused = (0..MAX_STREAMS + 2).find_map(|n| {
            let progress = Progress {
                stream: n.to_string(),
                ..Default::default()
            };
            order.accept(&Message::Progress(progress), 0).err()
        });
        assert_eq!(
            refused,
            Some(Violation::TooMany(MAX_STREAMS, "streams and partitions"))
        );

        let mut order = reading();
        let refused = (0..MAX_STREAMS + 2).find_map(|n| {
            let schema = Schema {
                stream: "s".into(),
                schema_id: n.to_string(),
                ..Default::default()
            };
            order.accept(&Message::Schema(schema), 1).err()
        });
        assert_eq!(refused, Some(Violation::TooMany(MAX_STREAMS, "schemas")));

        // The same schema again and again is as much to search through.
        let mut order = reading();
        let refused = (0..300).find_map(|_| order.accept(&schema("s"), SCHEMA).err());
        assert!(matches!(
            refused,
            Some(Violation::TooLong("all schemas", ..))
        ));
        assert!(order.accept(&schema("s"), SCHEMA + 1).is_err());
    }

    #[test]
    fn what_no_quota_holds_back_is_short() {
        let mut order = reading();
        let wait = |len| {
            Message::Throttled(Throttled {
                cause: "%".repeat(len),
                ..Default::default()
            })
        };
        assert_eq!(order.accept(&wait(TEXT - 100), 0), Ok(()));
        assert!(order.accept(&wait(TEXT), 0).is_err());
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
    fn nothing_is_done_before_it_was_started_but_it_may_have_failed() {
        let hello = Hello {
            protocol_version: caisson_wire::PROTOCOL_VERSION,
            ..Default::default()
        };
        let greeted = || {
            let mut order = Order::new(Operation::Read);
            order.accept(&Message::Hello(hello.clone()), 0).unwrap();
            order
        };
        assert_eq!(
            greeted().accept(&Message::Done(Done::default()), 0),
            Err(Violation::Untimely("Done", "before Started"))
        );
        assert_eq!(
            greeted().accept(&Message::Failed(Failed::default()), 0),
            Ok(())
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
