//! What happens in a call, before it takes the shape of one RPC's events.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use caisson_proto::v1;

/// One event with its place in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Emitted {
    pub(crate) header: v1::EventHeader,
    pub(crate) event: Event,
}

/// The events of every kind of call.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Started(v1::Started),
    Schema(v1::Schema),
    Batch(v1::Batch),
    Checkpoint(v1::Checkpoint),
    Object(v1::Object),
    Step(v1::TestStep),
    Log(v1::Log),
    Progress(v1::Progress),
    Throttled(v1::Throttled),
    Rejected(v1::Rejected),
    Refused(v1::EgressRefusal),
    Acknowledged(v1::Acknowledged),
    Committed(v1::Committed),
    Heartbeat,
    Facts(Bytes),
    Summary(v1::Summary),
    SyncSummary(v1::SyncSummary),
    Failure(v1::Failure),
}

/// Numbers events within (stream, partition). The epoch of a call is its
/// start in Unix milliseconds: a later call's is larger.
#[derive(Debug)]
pub(crate) struct Sequencer {
    call_id: String,
    epoch: u64,
    last: HashMap<(String, String), u64>,
}

impl Sequencer {
    pub(crate) fn new(call_id: &str, epoch: u64) -> Self {
        Self {
            call_id: call_id.to_owned(),
            epoch,
            last: HashMap::new(),
        }
    }

    /// The header of `event`: batches and checkpoints count, others repeat
    /// the last number.
    pub(crate) fn place(&mut self, stream: &str, partition: &str, event: Event) -> Emitted {
        let counts = matches!(event, Event::Batch(_) | Event::Checkpoint(_));
        let sequence = if stream.is_empty() {
            0
        } else {
            let last = self
                .last
                .entry((stream.to_owned(), partition.to_owned()))
                .or_default();
            *last += u64::from(counts);
            *last
        };
        let header = v1::EventHeader {
            call_id: self.call_id.clone(),
            stream: stream.to_owned(),
            partition: partition.to_owned(),
            epoch: self.epoch,
            sequence,
            time: Some(SystemTime::now().into()),
        };
        Emitted { header, event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_checkpoints_share_one_count_per_partition() {
        let mut sequencer = Sequencer::new("c", 7);
        let batch = || Event::Batch(v1::Batch::default());
        assert_eq!(sequencer.place("s", "a", batch()).header.sequence, 1);
        assert_eq!(sequencer.place("s", "b", batch()).header.sequence, 1);
        let checkpoint = Event::Checkpoint(v1::Checkpoint::default());
        assert_eq!(sequencer.place("s", "a", checkpoint).header.sequence, 2);
        assert_eq!(
            sequencer.place("s", "a", Event::Heartbeat).header.sequence,
            2
        );
    }
}
