//! From a worker's message to an event, redacted. Pure.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use caisson_proto::v1::{self, log::Level};
use caisson_secrets::Redactor;
use caisson_wire::message::{self, from_worker::Message};

use crate::call::Event;

/// Longest text of a log line, a reason or a progress message, in bytes.
const TEXT: usize = 64 << 10;

/// Where an event belongs and what it is; `None` for messages that only the
/// daemon itself acts on.
pub(crate) fn event(
    message: Message,
    body: Bytes,
    redactor: &Redactor,
) -> Option<(String, String, Event)> {
    let clean = |text: &str| clean(text, redactor);
    Some(match message {
        Message::Object(object) => (
            String::new(),
            String::new(),
            Event::Object(object_of(&redactor.redact(&object.json), body)),
        ),
        Message::Step(step) => {
            let event = Event::Step(v1::TestStep {
                name: clean(&step.name),
                status: match step.status.as_str() {
                    "passed" => v1::test_step::Status::Passed,
                    "failed" => v1::test_step::Status::Failed,
                    _ => v1::test_step::Status::Skipped,
                }
                .into(),
                message: clean(&step.message),
            });
            (String::new(), String::new(), event)
        }
        Message::Schema(schema) => {
            let event = v1::Schema {
                schema_id: schema.schema_id,
                ipc: body,
                primary_key: schema.primary_key,
                cursor: schema.cursor,
            };
            (schema.stream, String::new(), Event::Schema(event))
        }
        Message::Batch(batch) => {
            let event = v1::Batch {
                schema_id: batch.schema_id,
                data: body,
                records: batch.records,
            };
            (batch.stream, batch.partition, Event::Batch(event))
        }
        Message::Checkpoint(checkpoint) => {
            let checkpoint = checkpoint_of(checkpoint);
            (
                checkpoint.stream.clone(),
                checkpoint.partition.clone(),
                Event::Checkpoint(checkpoint),
            )
        }
        Message::StreamStatus(status) => {
            let progress = v1::Progress {
                message: clean(&status.status),
                ..Default::default()
            };
            (status.stream, status.partition, Event::Progress(progress))
        }
        Message::Log(log) => {
            let event = v1::Log {
                level: level(log.level).into(),
                logger: clean(&log.logger),
                message: clean(&log.message),
                fields_json: clean(&log.fields_json),
            };
            (String::new(), String::new(), Event::Log(event))
        }
        Message::Progress(progress) => {
            let event = v1::Progress {
                records: progress.records,
                total: progress.total,
                message: clean(&progress.message),
            };
            (progress.stream, String::new(), Event::Progress(event))
        }
        Message::Throttled(throttled) => {
            let event = v1::Throttled {
                until: Some(unix_ms(throttled.until_unix_ms).into()),
                host: clean(&throttled.host),
                cause: clean(&throttled.cause),
            };
            (String::new(), String::new(), Event::Throttled(event))
        }
        Message::Rejected(rejected) => {
            let event = v1::Rejected {
                sequence: rejected.sequence,
                record: rejected.record,
                key_json: clean(&rejected.key_json),
                reason: clean(&rejected.reason),
            };
            (rejected.stream, rejected.partition, Event::Rejected(event))
        }
        Message::Acknowledged(done) => {
            let event = v1::Acknowledged {
                sequence: done.sequence,
                records: done.records,
            };
            (done.stream, done.partition, Event::Acknowledged(event))
        }
        Message::Facts(_) => (String::new(), String::new(), Event::Facts(body)),
        Message::Hello(_)
        | Message::Prepared(_)
        | Message::Started(_)
        | Message::Committed(_)
        | Message::Done(_)
        | Message::Failed(_) => return None,
    })
}

/// The API's checkpoint of a worker's.
pub(crate) fn checkpoint_of(checkpoint: message::Checkpoint) -> v1::Checkpoint {
    v1::Checkpoint {
        stream: checkpoint.stream,
        partition: checkpoint.partition,
        id: checkpoint.id,
        state: checkpoint.state,
        records: checkpoint.records,
        r#final: checkpoint.r#final,
    }
}

/// A text of the worker, cut and without secrets.
pub(crate) fn clean(text: &str, redactor: &Redactor) -> String {
    if text.len() <= TEXT {
        return redactor.redact(text).into_owned();
    }
    // Not all of it is searched, however long it is; a stream gives no half of a secret.
    let searched = redactor
        .stream()
        .push(&text.as_bytes()[..text.len().min(2 * TEXT)]);
    let kept = String::from_utf8_lossy(&searched);
    let end = (0..=TEXT)
        .rev()
        .find(|&i| kept.is_char_boundary(i))
        .unwrap_or(0);
    format!("{}… (of {} bytes)", &kept[..end], text.len())
}

/// A worker's clock in Unix milliseconds, held within a year of now.
fn unix_ms(ms: u64) -> SystemTime {
    let now = SystemTime::now();
    let at = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .unwrap_or(now);
    at.min(now + Duration::from_secs(366 * 24 * 3600))
}

fn level(level: u32) -> Level {
    match level {
        0..=19 => Level::Debug,
        20..=29 => Level::Info,
        30..=39 => Level::Warn,
        _ => Level::Error,
    }
}

/// What the CDK says of an object, beside its schema.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Described {
    name: String,
    title: String,
    primary_key: Vec<String>,
    cursor: String,
    order: String,
    modes: Vec<String>,
    partitions: Vec<String>,
    write_modes: Vec<String>,
    fields: Vec<serde_json::Value>,
}

fn object_of(json: &str, schema: Bytes) -> v1::Object {
    let described: Described = serde_json::from_str(json).unwrap_or_default();
    let read = |mode: &String| match mode.as_str() {
        "full" => Some(v1::ReadMode::Full.into()),
        "incremental" => Some(v1::ReadMode::Incremental.into()),
        "streaming" => Some(v1::ReadMode::Streaming.into()),
        _ => None,
    };
    let write = |mode: &String| match mode.as_str() {
        "append" => Some(v1::WriteMode::Append.into()),
        "upsert" => Some(v1::WriteMode::Upsert.into()),
        _ => None,
    };
    v1::Object {
        name: described.name,
        title: described.title,
        schema_ipc: schema.to_vec(),
        fields_json: serde_json::Value::Array(described.fields).to_string(),
        primary_key: described.primary_key,
        cursor: described.cursor,
        order: described.order,
        modes: described.modes.iter().filter_map(read).collect(),
        partitions: described.partitions,
        write_modes: described.write_modes.iter().filter_map(write).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caisson_secrets::SecretValue;

    #[test]
    fn no_text_that_a_worker_says_leaves_with_a_secret_in_it() {
        let secret = SecretValue::new("sesame-open-42");
        let redactor = Redactor::new([("key", &secret)]);
        let text = || "said sesame-open-42, c2VzYW1lLW9wZW4tNDI= and sesame%2Dopen-42".to_owned();
        let json = || serde_json::json!({ "name": text(), "title": text() }).to_string();
        let messages = [
            Message::Object(message::Object { json: json() }),
            Message::Step(message::Step {
                name: text(),
                status: text(),
                message: text(),
            }),
            Message::StreamStatus(message::StreamStatus {
                status: text(),
                ..Default::default()
            }),
            Message::Log(message::Log {
                level: 20,
                logger: text(),
                message: text(),
                fields_json: json(),
            }),
            Message::Progress(message::Progress {
                message: text(),
                ..Default::default()
            }),
            Message::Throttled(message::Throttled {
                until_unix_ms: 0,
                host: text(),
                cause: text(),
            }),
            Message::Rejected(message::Rejected {
                key_json: json(),
                reason: text(),
                ..Default::default()
            }),
        ];
        for message in messages {
            let (_, _, event) = event(message, Bytes::new(), &redactor).unwrap();
            let told = format!("{event:?}");
            assert!(told.contains("said [redacted]"), "{told}");
            for form in ["sesame", "c2VzYW1l"] {
                assert!(!told.contains(form), "{told}");
            }
        }
    }
}
