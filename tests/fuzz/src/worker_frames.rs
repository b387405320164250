//! What a worker sends over its only socket.
//!
//! Input: a byte (the operation, and whether the rest is a script of messages or the bytes of the socket), a length of the
//! plan, the plan (how the socket cuts the bytes), and the rest.

use crate::script::{Script, cut};
use bytes::Bytes;
use caisson_daemon::fuzzing::{Heard, Listener};
use caisson_wire::message::from_worker::Message as Said;
use caisson_wire::message::{
    Acknowledged, Batch, Checkpoint, Committed, Done, Facts, Failed, FromWorker, Hello, Log,
    Object, Operation, Prepared, Progress, Rejected, Schema, Started, Step, StreamStatus,
    Throttled,
};
use caisson_wire::{DecodeError, Decoder, HEADER, MAX_BODY, MAX_META, PROTOCOL_VERSION, encode};
use std::collections::{HashMap, HashSet};

/// A secret of the call, which no text of an event may hold.
const SECRET: &str = "Sesame-Open-22";
/// Longest text of an event: 64 KiB, and what says how much was cut.
const TEXT: usize = (64 << 10) + 64;
/// A script's frames end beyond so many bytes: each is held a dozen times over.
const ENOUGH: usize = 1 << 20;

type Frame = (FromWorker, Bytes);

/// Frames come out the same however the socket cuts them, the decoder holds no more than one frame and one read, a frame
/// that came out goes in again, messages out of their order end the call, and no secret is in what comes of them.
pub fn worker_frames(data: &[u8]) {
    let mut script = Script(data);
    let choice = script.byte();
    let plan = script.bytes();
    let operation = Operation::try_from(i32::from(choice & 7)).unwrap_or(Operation::Read);

    let bytes = if choice & 0x80 == 0 {
        script.0.to_vec()
    } else {
        let said = messages(&mut script);
        let bytes = written(&said);
        let (frames, end) = decode([bytes.as_slice()]);
        assert!(end.is_none(), "what was encoded decodes: {end:?}");
        assert_eq!(frames, said, "and is the same");
        bytes
    };

    let (whole, end) = decode([bytes.as_slice()]);
    let (pieces, cut_end) = decode(cut(&bytes, plan));
    assert_eq!(whole, pieces, "the cut decides");
    assert_eq!(format!("{end:?}"), format!("{cut_end:?}"));
    let again = written(&whole);
    assert_eq!(decode([again.as_slice()]).0, whole);

    let first = listen(operation, &whole);
    assert_eq!(
        first,
        listen(operation, &whole),
        "a call is what was said in it"
    );
}

/// The frames in `pieces`, and what ended them: nothing where the connection closed between two.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<DecodeError>) {
    let mut decoder = Decoder::<FromWorker>::new();
    let mut frames = Vec::new();
    let mut fed = 0;
    for piece in pieces {
        fed += piece.len();
        decoder.buffer(piece.len()).extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        let wanted = decoder.missing();
        assert!(
            wanted <= HEADER + MAX_META + MAX_BODY,
            "it asks for {wanted}"
        );
        // A buffer doubles as it fills; a length that was only announced reserves nothing.
        let held = decoder.buffer(0).capacity();
        assert!(held <= 2 * fed + 64, "{held} held of {fed}");
    }
    let end = decoder.finish().err();
    (frames, end)
}

fn written(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (message, body) in frames {
        bytes.extend(encode(message, body.len()).expect("a frame within the limits"));
        bytes.extend(body);
    }
    bytes
}

/// What the daemon hears until the call ends: every event's place and texts, and what ended it.
fn listen(operation: Operation, frames: &[Frame]) -> (Vec<Option<Heard>>, Option<String>) {
    let mut listener = Listener::new(operation, SECRET);
    let mut expected = Expected::new(operation);
    let mut heard = Vec::new();
    for (frame, body) in frames {
        let Some(said) = frame.message.clone() else {
            return (heard, Some("a frame without a message".to_owned()));
        };
        match listener.hear(said.clone(), body.clone()) {
            Err(violation) => return (heard, Some(violation)),
            Ok(event) => {
                expected.take(&said, body.len());
                for text in event.iter().flat_map(|event| &event.texts) {
                    assert!(text.len() <= TEXT, "a text of {} bytes", text.len());
                    assert!(!text.contains(SECRET), "a secret in {text:?}");
                }
                heard.push(event);
            }
        }
    }
    (heard, None)
}

/// The order that worker.proto promises, read apart from the daemon's own.
struct Expected {
    operation: Operation,
    said: Vec<&'static str>,
    schemas: HashSet<(String, String)>,
    checkpoints: HashMap<(String, String), String>,
}

impl Expected {
    fn new(operation: Operation) -> Self {
        Self {
            operation,
            said: Vec::new(),
            schemas: HashSet::new(),
            checkpoints: HashMap::new(),
        }
    }

    /// Panics where an accepted message breaks the order.
    fn take(&mut self, said: &Said, body: usize) {
        use Operation::{Inspect, List, Read, Test, Write};
        let (word, operations): (_, &[Operation]) = match said {
            Said::Hello(_) => ("Hello", &[]),
            Said::Started(_) => ("Started", &[]),
            Said::Done(_) => ("Done", &[]),
            Said::Failed(_) => ("Failed", &[]),
            Said::Log(_) | Said::Progress(_) | Said::Throttled(_) => ("any time", &[]),
            Said::Object(_) => ("event", &[List]),
            Said::Step(_) => ("event", &[Test]),
            Said::Facts(_) => ("event", &[Inspect]),
            Said::Schema(_) | Said::Batch(_) | Said::Checkpoint(_) => ("event", &[Read]),
            Said::StreamStatus(_) | Said::Rejected(_) => ("event", &[Read, Write]),
            Said::Acknowledged(_) | Said::Committed(_) => ("event", &[Write]),
            Said::Prepared(_) => panic!("Prepared, for which no call asks"),
        };
        let before = |word| self.said.contains(&word);
        assert!(operations.is_empty() || operations.contains(&self.operation));
        assert_eq!(before("Hello"), word != "Hello", "Hello first, and once");
        assert!(
            !before("Done") && !before("Failed"),
            "nothing after the end"
        );
        assert!(word != "Started" || !before("Started"), "Started once");
        let needs_start = word == "event" || word == "Done";
        assert!(!needs_start || before("Started"), "{word} before Started");
        if let Said::Hello(hello) = said {
            assert_eq!(hello.protocol_version, PROTOCOL_VERSION);
        }
        match said {
            Said::Schema(schema) => {
                let key = (schema.stream.clone(), schema.schema_id.clone());
                self.schemas.insert(key);
            }
            Said::Batch(batch) => {
                let key = (batch.stream.clone(), batch.schema_id.clone());
                assert!(self.schemas.contains(&key), "a batch before its schema");
                assert!(batch.records > 0 && body > 0, "an empty batch");
            }
            Said::Checkpoint(checkpoint) => {
                assert!(checkpoint.state.len() <= 1 << 20, "a huge state");
                let key = (checkpoint.stream.clone(), checkpoint.partition.clone());
                let last = self.checkpoints.insert(key, checkpoint.id.clone());
                assert_ne!(last.as_ref(), Some(&checkpoint.id), "a checkpoint twice");
            }
            _ => {}
        }
        self.said.push(word);
    }
}

/// Messages that a script picks, mostly in an order that leads on.
fn messages(script: &mut Script<'_>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut held = 0;
    while !script.is_over() && frames.len() < 200 && held < ENOUGH {
        let kind = script.byte();
        let message = message(kind, script);
        let length = match script.byte() {
            length @ 0..=250 => usize::from(length) % 16,
            length => usize::from(length) << 6,
        };
        let frame = FromWorker {
            message: (kind != 0xff).then_some(message),
        };
        let encoded = encode(&frame, length).expect("a frame within the limits");
        held += encoded.len() + length;
        frames.push((frame, Bytes::from(vec![kind; length])));
    }
    frames
}

fn message(kind: u8, script: &mut Script<'_>) -> Said {
    let stream = text(script);
    let partition = script.of(&["", "p", "q"]).to_owned();
    if kind == 0xfe {
        return Said::Prepared(Prepared {});
    }
    match kind % 17 {
        0 => Said::Hello(Hello {
            protocol_version: PROTOCOL_VERSION + u32::from(script.byte() == 0xff),
            profile: stream,
            ..Default::default()
        }),
        1 => Said::Started(Started {}),
        2 => Said::Schema(Schema {
            stream,
            schema_id: text(script),
            primary_key: vec![text(script); usize::from(script.byte() % 3)],
            cursor: text(script),
            ..Default::default()
        }),
        3 => Said::Batch(Batch {
            stream,
            partition,
            schema_id: text(script),
            records: script.number(),
            ..Default::default()
        }),
        4 => Said::Checkpoint(Checkpoint {
            stream,
            partition,
            id: text(script),
            state: script.bytes().to_vec(),
            records: script.number(),
            r#final: script.byte() & 1 == 1,
        }),
        5 => Said::Object(Object {
            json: description(script),
        }),
        6 => Said::Step(Step {
            name: stream,
            status: script
                .of(&["passed", "failed", "skipped", "other"])
                .to_owned(),
            message: text(script),
        }),
        7 => Said::StreamStatus(StreamStatus {
            stream,
            partition,
            status: text(script),
        }),
        8 => Said::Log(Log {
            level: u32::from(script.byte()),
            logger: stream,
            message: text(script),
            fields_json: description(script),
        }),
        9 => Said::Progress(Progress {
            stream,
            records: script.number(),
            total: script.number(),
            message: text(script),
        }),
        10 => Said::Throttled(Throttled {
            until_unix_ms: script.number(),
            host: stream,
            cause: text(script),
        }),
        11 => Said::Rejected(Rejected {
            stream,
            partition,
            sequence: script.number(),
            record: script.number(),
            key_json: description(script),
            reason: text(script),
        }),
        12 => Said::Acknowledged(Acknowledged {
            stream,
            partition,
            sequence: script.number(),
            records: script.number(),
        }),
        13 => Said::Committed(Committed {
            stream,
            partition,
            checkpoint_id: text(script),
        }),
        14 => Said::Facts(Facts {}),
        15 => Said::Done(Done {
            requests: script.number(),
            throttled_seconds: f64::from(script.byte()),
        }),
        _ => Said::Failed(Failed {
            code: stream,
            message: text(script),
            traceback: text(script),
            retry_at_unix_ms: script.number(),
            ..Default::default()
        }),
    }
}

fn text(script: &mut Script<'_>) -> String {
    match script.byte() {
        0..=127 => script.of(&["", "orders", "items", "1", "2"]).to_owned(),
        128..=159 => SECRET.to_owned(),
        160..=175 => "n".repeat(usize::from(script.byte()) << 3),
        176..=180 => "é".repeat(usize::from(script.byte()) << 9),
        _ => String::from_utf8_lossy(script.bytes()).into_owned(),
    }
}

/// JSON, or something like it.
fn description(script: &mut Script<'_>) -> String {
    let (key, value) = (text(script), text(script));
    match script.byte() {
        0..=99 => {
            serde_json::json!({ "name": key, "title": value, "fields": [{ key: 1 }] }).to_string()
        }
        100..=149 => {
            let escaped = value.chars().map(|c| u32::from(c) & 0xffff);
            let escaped: String = escaped.map(|unit| format!("\\u{unit:04x}")).collect();
            format!("{{\"title\":\"{escaped}\"}}")
        }
        _ => value,
    }
}
