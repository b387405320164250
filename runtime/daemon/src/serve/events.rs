//! From a call's events to the events of one RPC.

use caisson_proto::v1::{self, list_event, read_event, sync_event, test_event, write_event};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use crate::call::{Emitted, Event, Listening};

/// The stream of one RPC; events that the RPC has no arm for are left out.
pub(crate) fn stream<T>(
    events: Listening,
    shape: fn(Emitted) -> Option<T>,
) -> impl Stream<Item = Result<T, Status>> {
    events.filter_map(move |emitted| emitted.map(shape).transpose())
}

pub(crate) fn test(emitted: Emitted) -> Option<v1::TestEvent> {
    use test_event::Event as Out;
    let event = match emitted.event {
        Event::Started(event) => Out::Started(event),
        Event::Step(event) => Out::Step(event),
        Event::Log(event) => Out::Log(event),
        Event::Throttled(event) => Out::Throttled(event),
        Event::Refused(event) => Out::Refused(event),
        Event::Summary(event) => Out::Summary(event),
        Event::Failure(event) => Out::Failure(event),
        _ => return None,
    };
    Some(v1::TestEvent {
        header: Some(emitted.header),
        event: Some(event),
    })
}

pub(crate) fn list(emitted: Emitted) -> Option<v1::ListEvent> {
    use list_event::Event as Out;
    let event = match emitted.event {
        Event::Started(event) => Out::Started(event),
        Event::Object(event) => Out::Object(event),
        Event::Log(event) => Out::Log(event),
        Event::Throttled(event) => Out::Throttled(event),
        Event::Refused(event) => Out::Refused(event),
        Event::Summary(event) => Out::Summary(event),
        Event::Failure(event) => Out::Failure(event),
        _ => return None,
    };
    Some(v1::ListEvent {
        header: Some(emitted.header),
        event: Some(event),
    })
}

pub(crate) fn read(emitted: Emitted) -> Option<v1::ReadEvent> {
    use read_event::Event as Out;
    let event = match emitted.event {
        Event::Started(event) => Out::Started(event),
        Event::Schema(event) => Out::Schema(event),
        Event::Batch(event) => Out::Batch(event),
        Event::Checkpoint(event) => Out::Checkpoint(event),
        Event::Log(event) => Out::Log(event),
        Event::Progress(event) => Out::Progress(event),
        Event::Throttled(event) => Out::Throttled(event),
        Event::Rejected(event) => Out::Rejected(event),
        Event::Refused(event) => Out::Refused(event),
        Event::Heartbeat => Out::Heartbeat(v1::Heartbeat {}),
        Event::Summary(event) => Out::Summary(event),
        Event::Failure(event) => Out::Failure(event),
        _ => return None,
    };
    Some(v1::ReadEvent {
        header: Some(emitted.header),
        event: Some(event),
    })
}

pub(crate) fn write(emitted: Emitted) -> Option<v1::WriteEvent> {
    use write_event::Event as Out;
    let event = match emitted.event {
        Event::Started(event) => Out::Started(event),
        Event::Acknowledged(event) => Out::Acknowledged(event),
        Event::Rejected(event) => Out::Rejected(event),
        Event::Committed(event) => Out::Committed(event),
        Event::Log(event) => Out::Log(event),
        Event::Progress(event) => Out::Progress(event),
        Event::Throttled(event) => Out::Throttled(event),
        Event::Refused(event) => Out::Refused(event),
        Event::Summary(event) => Out::Summary(event),
        Event::Failure(event) => Out::Failure(event),
        _ => return None,
    };
    Some(v1::WriteEvent {
        header: Some(emitted.header),
        event: Some(event),
    })
}

/// The two events of an attached Sync; a running one speaks for itself.
pub(crate) fn sync(emitted: Emitted) -> Option<v1::SyncEvent> {
    use sync_event::Event as Out;
    let event = match emitted.event {
        Event::Started(event) => Out::Started(event),
        Event::SyncSummary(event) => Out::Summary(event),
        Event::Failure(event) => Out::Failure(event),
        _ => return None,
    };
    Some(v1::SyncEvent {
        header: Some(emitted.header),
        event: Some(event),
    })
}
