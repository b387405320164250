//! How a call is opened: Start, and each stream that it announces in a frame
//! of its own, its state the frame's body. No IO.
//!
//! ```text
//! Start{stream_count: n} ─► StreamStart × n ─► (input of a Write) ─► Cancel?
//! ```
//! States are the large part of an opening, and one message has no room for
//! many. Both ends hold the same rules: the daemon before it sends, the worker
//! while it receives. Anything else than what was announced ends the call.

use std::collections::HashSet;

use bytes::Bytes;

use crate::message::{Start, StreamStart, to_worker::Message};
use crate::{MAX_STATE, MAX_STATES, MAX_STREAMS};

/// Everything that a worker is told before it runs anything.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// What the call is. [`Opening::messages`] sets its count of streams.
    pub start: Start,
    /// The streams and partitions to read, each with its state (empty without
    /// one).
    pub streams: Vec<(StreamStart, Bytes)>,
}

/// The opening is none: it breaks an order or a limit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpeningError {
    /// Another message than the next of the opening.
    #[error("{found} came where {expected} belongs")]
    Unexpected {
        /// What came.
        found: &'static str,
        /// What should have come.
        expected: &'static str,
    },
    /// More than [`MAX_STREAMS`].
    #[error("{0} streams and partitions are over the limit of {MAX_STREAMS}")]
    TooMany(usize),
    /// Which of two states would be the right one?
    #[error("stream `{0}`, partition `{1}` comes twice")]
    Repeated(String, String),
    /// A body where the message says that there is no state.
    #[error("stream `{0}`, partition `{1}` has no state, and {2} bytes of it came")]
    Unannounced(String, String, usize),
    /// One state is over [`MAX_STATE`].
    #[error(
        "the state of stream `{0}`, partition `{1}` has {2} bytes, over the limit of {MAX_STATE}"
    )]
    StateTooLarge(String, String, usize),
    /// All states together are over [`MAX_STATES`].
    #[error("the states of the streams have more than {MAX_STATES} bytes together")]
    StatesTooLarge,
}

impl Opening {
    /// An opening without streams.
    pub fn of(start: Start) -> Self {
        Self {
            start,
            streams: Vec::new(),
        }
    }

    /// Bytes of all states together.
    pub fn state_bytes(&self) -> usize {
        self.streams.iter().map(|(_, state)| state.len()).sum()
    }

    /// Whether a worker would take it.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), OpeningError> {
        few(self.streams.len())?;
        let mut rules = Rules::default();
        self.streams
            .iter()
            .try_for_each(|(stream, state)| rules.take(stream, state.len()))
    }

    /// Its messages and their bodies, in the order in which they are sent.
    pub fn messages(mut self) -> impl Iterator<Item = (Message, Bytes)> {
        self.start.stream_count = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        let start = (Message::Start(self.start), Bytes::new());
        let streams = self.streams.into_iter();
        std::iter::once(start)
            .chain(streams.map(|(stream, state)| (Message::StreamStart(stream), state)))
    }
}

/// Collects an opening from the messages that a worker receives.
#[derive(Debug, Default)]
pub struct OpeningReader {
    start: Option<Start>,
    streams: Vec<(StreamStart, Bytes)>,
    rules: Rules,
}

impl OpeningReader {
    /// Nothing came yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next message; the opening, once it is whole. After that, or
    /// after an error, the reader is of no further use.
    ///
    /// # Errors
    /// Not the message that comes next, or one over a limit.
    pub fn accept(
        &mut self,
        message: Message,
        body: Bytes,
    ) -> Result<Option<Opening>, OpeningError> {
        match (&self.start, message) {
            (None, Message::Start(start)) => {
                few(start.stream_count as usize)?;
                self.start = Some(start);
            }
            (Some(_), Message::StreamStart(stream)) => {
                self.rules.take(&stream, body.len())?;
                self.streams.push((stream, body));
            }
            (start, other) => {
                return Err(OpeningError::Unexpected {
                    found: word(&other),
                    expected: start.as_ref().map_or("Start", |_| "StreamStart"),
                });
            }
        }
        let announced = |start: &mut Start| start.stream_count as usize == self.streams.len();
        Ok(self.start.take_if(announced).map(|start| Opening {
            start,
            streams: std::mem::take(&mut self.streams),
        }))
    }
}

/// What holds of all streams together.
#[derive(Debug, Default)]
struct Rules {
    seen: HashSet<(String, String)>,
    states: usize,
}

impl Rules {
    fn take(&mut self, stream: &StreamStart, state: usize) -> Result<(), OpeningError> {
        let place = || (stream.name.clone(), stream.partition.clone());
        if state > 0 && !stream.has_state {
            let (name, partition) = place();
            return Err(OpeningError::Unannounced(name, partition, state));
        }
        if state > MAX_STATE {
            let (name, partition) = place();
            return Err(OpeningError::StateTooLarge(name, partition, state));
        }
        self.states += state;
        if self.states > MAX_STATES {
            return Err(OpeningError::StatesTooLarge);
        }
        if !self.seen.insert(place()) {
            let (name, partition) = place();
            return Err(OpeningError::Repeated(name, partition));
        }
        Ok(())
    }
}

fn few(streams: usize) -> Result<(), OpeningError> {
    if streams > MAX_STREAMS {
        return Err(OpeningError::TooMany(streams));
    }
    Ok(())
}

/// A message's name, for what is said of it.
fn word(message: &Message) -> &'static str {
    match message {
        Message::Start(_) => "Start",
        Message::StreamStart(_) => "StreamStart",
        Message::Schema(_) => "Schema",
        Message::Batch(_) => "Batch",
        Message::Checkpoint(_) => "Checkpoint",
        Message::EndOfInput(_) => "EndOfInput",
        Message::Cancel(_) => "Cancel",
        Message::Prepare(_) => "Prepare",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Batch, Cancel};

    fn stream(name: &str, state: usize) -> (StreamStart, Bytes) {
        let stream = StreamStart {
            name: name.into(),
            has_state: state > 0,
            ..Default::default()
        };
        (stream, Bytes::from(vec![b's'; state]))
    }

    fn opening(streams: Vec<(StreamStart, Bytes)>) -> Opening {
        Opening {
            streams,
            ..Default::default()
        }
    }

    fn read(messages: impl Iterator<Item = (Message, Bytes)>) -> Result<Opening, OpeningError> {
        let mut reader = OpeningReader::new();
        for (message, body) in messages {
            if let Some(opening) = reader.accept(message, body)? {
                return Ok(opening);
            }
        }
        panic!("an opening that never ends")
    }

    #[test]
    fn what_the_daemon_opens_with_is_what_the_worker_reads() {
        for names in [&[][..], &["a"], &["a", "b", "c"]] {
            let sent = opening(names.iter().map(|name| stream(name, 900_000)).collect());
            let came = read(sent.clone().messages()).unwrap();
            assert_eq!(came.streams, sent.streams);
            assert_eq!(came.start.stream_count as usize, names.len());
        }
    }

    #[test]
    fn nothing_comes_before_start_and_start_does_not_come_twice() {
        let said = |found, expected| Some(OpeningError::Unexpected { found, expected });
        let mut reader = OpeningReader::new();
        let (first, state) = stream("a", 1);
        let refused = reader.accept(Message::StreamStart(first), state);
        assert_eq!(refused.err(), said("StreamStart", "Start"));

        let twice = [start(1), start(1)].into_iter();
        assert_eq!(read(twice).err(), said("Start", "StreamStart"));
    }

    fn start(stream_count: u32) -> (Message, Bytes) {
        let start = Start {
            stream_count,
            ..Default::default()
        };
        (Message::Start(start), Bytes::new())
    }

    #[test]
    fn nothing_else_comes_until_every_announced_stream_did() {
        let others = [
            Message::Batch(Batch::default()),
            Message::Cancel(Cancel::default()),
        ];
        for other in others {
            let (first, state) = stream("a", 1);
            let messages = [
                start(2),
                (Message::StreamStart(first), state),
                (other, Bytes::new()),
            ];
            assert!(matches!(
                read(messages.into_iter()),
                Err(OpeningError::Unexpected { .. })
            ));
        }
    }

    #[test]
    fn what_one_end_refuses_the_other_refuses_too() {
        let mut unannounced = stream("a", 5);
        unannounced.0.has_state = false;
        let cases = [
            vec![stream("a", 0), stream("a", 0)],
            vec![unannounced],
            vec![stream("a", MAX_STATE + 1)],
            (0..=MAX_STATES / MAX_STATE)
                .map(|n| stream(&n.to_string(), MAX_STATE))
                .collect(),
            (0..=MAX_STREAMS)
                .map(|n| stream(&n.to_string(), 0))
                .collect(),
        ];
        for streams in cases {
            let refused = opening(streams.clone()).check().unwrap_err();
            assert_eq!(
                read(opening(streams).messages()).unwrap_err(),
                refused,
                "the two ends disagree"
            );
        }
    }

    #[test]
    fn as_much_as_is_promised_is_taken() {
        let many = MAX_STATES / MAX_STATE;
        let full = opening(
            (0..many)
                .map(|n| stream(&n.to_string(), MAX_STATE))
                .collect(),
        );
        assert_eq!(full.state_bytes(), MAX_STATES);
        assert_eq!(read(full.messages()).unwrap().streams.len(), many);
    }
}
