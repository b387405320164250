//! What a source's worker is told about the streams that it is to read.

use std::collections::{BTreeMap, HashMap};

use caisson_proto::v1::{self, ErrorCode, ReadMode};
use caisson_wire::message::{self, Operation};

use crate::error::CallError;

/// What a batch aims at and may not exceed, in bytes, and how long the first
/// records wait.
const BATCH_TARGET: u32 = 1 << 20;
const FLUSH_MS: u32 = 200;
/// Streaming: a checkpoint at least so often.
const CHECKPOINT_MS: u32 = 10_000;

/// The states to resume from, by stream and partition.
pub(crate) type States = HashMap<(String, String), Vec<u8>>;

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

/// Start of a Read. `chosen` wins over the connection's own streams.
pub(crate) fn read_start(
    mut start: message::Start,
    chosen: &[v1::StreamSelection],
    connection: &Streams,
    states: &States,
    encoding: v1::Encoding,
    max_records: u64,
) -> message::Start {
    start.operation = Operation::Read.into();
    start.encoding = wire_encoding(encoding).into();
    start.batch_target_bytes = BATCH_TARGET;
    start.batch_max_bytes = caisson_wire::MAX_BODY as u32;
    start.flush_ms = FLUSH_MS;
    start.checkpoint_ms = CHECKPOINT_MS;
    let mut selections = chosen.to_vec();
    if selections.is_empty() {
        let named = |(name, options): (&String, &v1::StreamOptions)| v1::StreamSelection {
            stream: name.clone(),
            partitions: Vec::new(),
            mode: options.mode,
        };
        selections = connection.iter().map(named).collect();
        selections.sort_by(|a, b| a.stream.cmp(&b.stream));
    }
    start.all_streams = selections.is_empty();
    if start.all_streams {
        // The worker knows its streams; it is told the states that there are.
        let mut known: Vec<_> = states.keys().collect();
        known.sort();
        start.streams = known
            .into_iter()
            .map(|(stream, partition)| one(stream, partition, 0, states, max_records))
            .collect();
        if max_records > 0 && start.streams.is_empty() {
            start.streams = vec![message::StreamStart {
                max_records,
                ..Default::default()
            }];
        }
        return start;
    }
    for selection in &selections {
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
            start
                .streams
                .push(one(&selection.stream, partition, mode, states, max_records));
        }
    }
    start
}

fn one(
    stream: &str,
    partition: &str,
    mode: i32,
    states: &States,
    max_records: u64,
) -> message::StreamStart {
    let state = states.get(&(stream.to_owned(), partition.to_owned()));
    message::StreamStart {
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
        state: state.cloned().unwrap_or_default(),
        max_records,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(of: &[(&str, &str)]) -> States {
        of.iter()
            .map(|(stream, partition)| {
                (
                    ((*stream).to_owned(), (*partition).to_owned()),
                    b"{}".to_vec(),
                )
            })
            .collect()
    }

    #[test]
    fn without_a_choice_every_stream_is_read_from_what_is_known() {
        let start = read_start(
            Default::default(),
            &[],
            &Streams::new(),
            &states(&[("a", "")]),
            v1::Encoding::ArrowIpc,
            0,
        );
        assert!(start.all_streams);
        assert_eq!(start.streams.len(), 1);
        assert!(start.streams[0].has_state);
    }

    #[test]
    fn a_choice_wins_over_the_connection() {
        let connection = Streams::from([("a".to_owned(), v1::StreamOptions::default())]);
        let chosen = [v1::StreamSelection {
            stream: "b".into(),
            mode: 1,
            ..Default::default()
        }];
        let start = read_start(
            Default::default(),
            &chosen,
            &connection,
            &states(&[]),
            v1::Encoding::JsonLines,
            0,
        );
        let names: Vec<_> = start
            .streams
            .iter()
            .map(|stream| (stream.name.as_str(), stream.mode.as_str()))
            .collect();
        assert_eq!(names, [("b", "full")]);
        assert!(!start.all_streams);
    }

    #[test]
    fn an_encoding_that_nobody_knows_is_refused() {
        assert!(encoding(&[99]).is_err());
        assert_eq!(encoding(&[99, 2]).unwrap(), v1::Encoding::JsonLines);
        assert_eq!(encoding(&[]).unwrap(), v1::Encoding::ArrowIpc);
    }
}
