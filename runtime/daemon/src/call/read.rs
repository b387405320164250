//! What a source's worker is told about the streams that it is to read.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use caisson_bundle::{Capability, Manifest};
use caisson_proto::v1::{self, ErrorCode, ReadMode};
use caisson_wire::message::{self, Operation};
use caisson_wire::{MAX_STATES, Opening};

use crate::error::CallError;

/// What a batch aims at and may not exceed, in bytes, and how long the first
/// records wait.
const BATCH_TARGET: u32 = 1 << 20;
const FLUSH_MS: u32 = 200;
/// Streaming: a checkpoint at least so often.
const CHECKPOINT_MS: u32 = 10_000;

/// The states to resume from, by stream and partition.
pub(crate) type States = HashMap<(String, String), Bytes>;

/// Options of a connection's streams, by name.
pub(crate) type Streams = BTreeMap<String, v1::StreamOptions>;

/// The encoding of a call: the first of what the caller accepts that this
/// daemon knows.
pub(crate) fn encoding(accept: &[i32]) -> Result<v1::Encoding, CallError> {
    if accept.is_empty() {
        return Ok(v1::Encoding::ArrowIpc);
    }
    let known = accept
        .iter()
        .filter_map(|&number| v1::Encoding::try_from(number).ok());
    known
        .into_iter()
        .find(|&encoding| encoding != v1::Encoding::Unspecified)
        .ok_or_else(|| {
            CallError::new(
                ErrorCode::ConfigInvalid,
                "none of the accepted encodings is known",
            )
            .with_action("accept ENCODING_ARROW_IPC or ENCODING_JSON_LINES")
        })
}

/// The worker's name of an encoding.
pub(crate) fn wire_encoding(encoding: v1::Encoding) -> message::Encoding {
    match encoding {
        v1::Encoding::JsonLines => message::Encoding::JsonLines,
        _ => message::Encoding::ArrowIpc,
    }
}

/// What a Read reads: `chosen` wins over the connection's own streams. Empty:
/// everything that the connector has.
pub(crate) fn selections(
    chosen: &[v1::StreamSelection],
    connection: &Streams,
) -> Vec<v1::StreamSelection> {
    if !chosen.is_empty() {
        return chosen.to_vec();
    }
    let named = |(name, options): (&String, &v1::StreamOptions)| v1::StreamSelection {
        stream: name.clone(),
        partitions: Vec::new(),
        mode: options.mode,
    };
    connection.iter().map(named).collect()
}

/// Whether a Read of `selections` goes on from the state of this partition.
pub(crate) fn selects(selections: &[v1::StreamSelection], stream: &str, partition: &str) -> bool {
    let names = |selection: &v1::StreamSelection| {
        let partitions = &selection.partitions;
        selection.stream == stream
            && (partitions.is_empty() || partitions.iter().any(|one| one == partition))
    };
    selections.is_empty() || selections.iter().any(names)
}

/// How a Read is opened.
pub(crate) fn read_opening(
    mut start: message::Start,
    selections: &[v1::StreamSelection],
    connection: &Streams,
    states: &States,
    encoding: v1::Encoding,
    max_records: u64,
) -> Opening {
    start.operation = Operation::Read.into();
    start.encoding = wire_encoding(encoding).into();
    start.batch_target_bytes = BATCH_TARGET;
    start.batch_max_bytes = caisson_wire::MAX_BODY as u32;
    start.flush_ms = FLUSH_MS;
    start.checkpoint_ms = CHECKPOINT_MS;
    start.all_streams = selections.is_empty();
    let mut opening = Opening::of(start);
    if selections.is_empty() {
        // The worker knows its streams; it is told the states that there are.
        let mut known: Vec<_> = states.keys().collect();
        known.sort();
        opening.streams = known
            .into_iter()
            .map(|(stream, partition)| one(stream, partition, 0, states, max_records))
            .collect();
        if max_records > 0 && opening.streams.is_empty() {
            let limit = message::StreamStart {
                max_records,
                ..Default::default()
            };
            opening.streams = vec![(limit, Bytes::new())];
        }
        return opening;
    }
    for selection in selections {
        let mode = match selection.mode {
            0 => connection
                .get(&selection.stream)
                .map_or(0, |options| options.mode),
            mode => mode,
        };
        let mut partitions = selection.partitions.clone();
        if partitions.is_empty() {
            // The whole stream, with what is known of each of its partitions.
            partitions = states
                .keys()
                .filter(|(stream, _)| *stream == selection.stream)
                .map(|(_, p)| p.clone())
                .collect();
            partitions.sort();
            if !partitions.iter().any(String::is_empty) {
                partitions.insert(0, String::new());
            }
        }
        for partition in &partitions {
            opening
                .streams
                .push(one(&selection.stream, partition, mode, states, max_records));
        }
    }
    opening
}

fn one(
    stream: &str,
    partition: &str,
    mode: i32,
    states: &States,
    max_records: u64,
) -> (message::StreamStart, Bytes) {
    let state = states.get(&(stream.to_owned(), partition.to_owned()));
    let message = message::StreamStart {
        name: stream.to_owned(),
        partition: partition.to_owned(),
        mode: match ReadMode::try_from(mode) {
            Ok(ReadMode::Full) => "full",
            Ok(ReadMode::Incremental) => "incremental",
            Ok(ReadMode::Streaming) => "streaming",
            _ => "",
        }
        .to_owned(),
        has_state: state.is_some(),
        max_records,
    };
    (message, state.cloned().unwrap_or_default())
}

/// Whether any of the streams may never end by itself: where nobody said how
/// to read, the connector chooses among its modes.
pub(crate) fn is_unbounded(opening: &Opening, manifest: &Manifest) -> bool {
    let chosen = manifest.capabilities.contains(&Capability::ReadStreaming);
    let streaming = |(stream, _): &(message::StreamStart, Bytes)| match stream.mode.as_str() {
        "streaming" => true,
        "" => chosen,
        _ => false,
    };
    opening.streams.is_empty() && chosen || opening.streams.iter().any(streaming)
}

/// Bytes of states that a worker of so much memory is opened with: it holds
/// them twice, as bytes and as the connector's own values, which are larger.
pub(crate) fn states_limit(memory_bytes: u64) -> usize {
    usize::try_from(memory_bytes / 4).map_or(MAX_STATES, |quarter| quarter.min(MAX_STATES))
}

/// The states of one Read have more bytes together than its worker may be
/// given.
pub(crate) fn states_too_large(limit: usize) -> CallError {
    let message = format!(
        "the checkpoints of the streams have more than {limit} bytes together; \
         a worker is opened with a quarter of its memory at most, and never with more than {MAX_STATES} bytes"
    );
    CallError::new(ErrorCode::ConfigInvalid, message).with_action(
        "read fewer streams or partitions in one call, or grant the connector more memory",
    )
}

/// Refuses an opening that no worker would take.
pub(crate) fn check_opening(opening: &Opening, memory_bytes: u64) -> Result<(), CallError> {
    let limit = states_limit(memory_bytes);
    if opening.state_bytes() > limit {
        return Err(states_too_large(limit));
    }
    opening.check().map_err(|error| {
        CallError::new(ErrorCode::ConfigInvalid, error.to_string())
            .with_action("name each stream and partition once, and read fewer of them in one call")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(of: &[(&str, &str)]) -> States {
        let one = |(stream, partition): &(&str, &str)| {
            let place = ((*stream).to_owned(), (*partition).to_owned());
            (place, Bytes::from_static(b"{}"))
        };
        of.iter().map(one).collect()
    }

    fn opened(chosen: &[v1::StreamSelection], connection: &Streams, states: &States) -> Opening {
        let selections = selections(chosen, connection);
        let encoding = v1::Encoding::JsonLines;
        read_opening(
            Default::default(),
            &selections,
            connection,
            states,
            encoding,
            0,
        )
    }

    #[test]
    fn without_a_choice_every_stream_is_read_from_what_is_known() {
        let opening = opened(&[], &Streams::new(), &states(&[("a", "")]));
        assert!(opening.start.all_streams);
        assert_eq!(opening.streams.len(), 1);
        assert!(opening.streams[0].0.has_state);
    }

    #[test]
    fn a_choice_wins_over_the_connection() {
        let connection = Streams::from([("a".to_owned(), v1::StreamOptions::default())]);
        let chosen = [v1::StreamSelection {
            stream: "b".into(),
            mode: 1,
            ..Default::default()
        }];
        let opening = opened(&chosen, &connection, &states(&[]));
        let names: Vec<_> = opening
            .streams
            .iter()
            .map(|(stream, _)| (stream.name.as_str(), stream.mode.as_str()))
            .collect();
        assert_eq!(names, [("b", "full")]);
        assert!(!opening.start.all_streams);
    }

    #[test]
    fn only_states_that_a_read_goes_on_from_are_fetched() {
        let some = [v1::StreamSelection {
            stream: "a".into(),
            partitions: vec!["p".into()],
            ..Default::default()
        }];
        assert!(selects(&some, "a", "p"));
        assert!(!selects(&some, "a", "q") && !selects(&some, "b", "p"));
        let whole = selections(&[], &Streams::from([("a".to_owned(), Default::default())]));
        assert!(selects(&whole, "a", "q") && !selects(&whole, "b", ""));
        assert!(selects(&[], "b", ""));
    }

    #[test]
    fn a_small_worker_is_not_opened_with_more_than_a_quarter_of_its_memory() {
        let state = Bytes::from(vec![0; 900_000]);
        let states: States = (0..8)
            .map(|n| ((n.to_string(), String::new()), state.clone()))
            .collect();
        let opening = opened(&[], &Streams::new(), &states);
        assert!(check_opening(&opening, 32 << 20).is_ok());
        let refused = check_opening(&opening, 16 << 20).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ConfigInvalid);
        assert!(refused.message.contains("4194304"), "{}", refused.message);
    }

    #[test]
    fn a_stream_that_is_chosen_twice_is_refused_by_its_name() {
        let chosen = [v1::StreamSelection {
            stream: "a".into(),
            ..Default::default()
        }];
        let twice = [chosen.clone(), chosen].concat();
        let opening = opened(&twice, &Streams::new(), &states(&[]));
        let refused = check_opening(&opening, 1 << 30).unwrap_err();
        assert!(refused.message.contains("`a`"), "{}", refused.message);
    }

    #[test]
    fn an_encoding_that_nobody_knows_is_refused() {
        assert!(encoding(&[99]).is_err());
        assert_eq!(encoding(&[99, 2]).unwrap(), v1::Encoding::JsonLines);
        assert_eq!(encoding(&[]).unwrap(), v1::Encoding::ArrowIpc);
    }
}
