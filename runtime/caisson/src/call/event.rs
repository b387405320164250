//! One view of the events of Test, List, Read, Write and Sync.

use caisson_proto::v1::{self, Side};

/// An event of any call: what all calls share, or the call's own.
pub(crate) enum Event<T> {
    Started(v1::Started),
    Log(Side, v1::Log),
    Throttled(Side, v1::Throttled),
    Refused(Side, v1::EgressRefusal),
    Rejected(v1::Rejected),
    Progress(v1::Progress),
    Summary(Box<Done>),
    Failure(Box<v1::Failure>),
    Own(T),
    /// Of a later version, or nothing to act on.
    Nothing,
}

/// How a call ended well.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) stats: v1::Stats,
    /// Of a Sync: source and destination.
    pub(crate) sides: Option<(v1::Stats, v1::Stats)>,
}

impl Done {
    pub(crate) fn of(stats: v1::Stats) -> Self {
        Self { stats, sides: None }
    }
}

/// An event type of the API.
pub(crate) trait CallEvent {
    /// The oneof of that type, for what is the call's own.
    type Own;
    fn split(self) -> (v1::EventHeader, Event<Self::Own>);
}

macro_rules! shared {
    ($event:expr, $of:ident, { $($own:pat => $act:expr),* $(,)? }) => {
        match $event {
            None => Event::Nothing,
            Some($of::Started(started)) => Event::Started(started),
            Some($of::Log(log)) => Event::Log(Side::Unspecified, log),
            Some($of::Throttled(throttled)) => Event::Throttled(Side::Unspecified, throttled),
            Some($of::Refused(refused)) => Event::Refused(Side::Unspecified, refused),
            Some($of::Failure(failure)) => Event::Failure(Box::new(failure)),
            Some($of::Summary(summary)) => Event::Summary(Box::new(summary.into())),
            $(Some($own) => $act,)*
            #[allow(unreachable_patterns)]
            Some(own) => Event::Own(own),
        }
    };
}

impl CallEvent for v1::TestEvent {
    type Own = v1::test_event::Event;
    fn split(self) -> (v1::EventHeader, Event<Self::Own>) {
        use v1::test_event::Event as Of;
        (self.header.unwrap_or_default(), shared!(self.event, Of, {}))
    }
}

impl CallEvent for v1::ListEvent {
    type Own = v1::list_event::Event;
    fn split(self) -> (v1::EventHeader, Event<Self::Own>) {
        use v1::list_event::Event as Of;
        (self.header.unwrap_or_default(), shared!(self.event, Of, {}))
    }
}

impl CallEvent for v1::ReadEvent {
    type Own = v1::read_event::Event;
    fn split(self) -> (v1::EventHeader, Event<Self::Own>) {
        use v1::read_event::Event as Of;
        let event = shared!(self.event, Of, {
            Of::Progress(progress) => Event::Progress(progress),
            Of::Rejected(rejected) => Event::Rejected(rejected),
            Of::Heartbeat(_) => Event::Nothing,
        });
        (self.header.unwrap_or_default(), event)
    }
}

impl CallEvent for v1::WriteEvent {
    type Own = v1::write_event::Event;
    fn split(self) -> (v1::EventHeader, Event<Self::Own>) {
        use v1::write_event::Event as Of;
        let event = shared!(self.event, Of, {
            Of::Progress(progress) => Event::Progress(progress),
            Of::Rejected(rejected) => Event::Rejected(rejected),
        });
        (self.header.unwrap_or_default(), event)
    }
}

impl CallEvent for v1::SyncEvent {
    type Own = v1::sync_event::Event;
    fn split(self) -> (v1::EventHeader, Event<Self::Own>) {
        use v1::sync_event::Event as Of;
        let event = match self.event {
            None => Event::Nothing,
            Some(Of::Started(started)) => Event::Started(started),
            Some(Of::Log(log)) => Event::Log(log.side(), log.log.unwrap_or_default()),
            Some(Of::Throttled(t)) => Event::Throttled(t.side(), t.throttled.unwrap_or_default()),
            Some(Of::Refused(r)) => Event::Refused(r.side(), r.refused.unwrap_or_default()),
            Some(Of::Rejected(rejected)) => Event::Rejected(rejected),
            Some(Of::Failure(failure)) => Event::Failure(Box::new(failure)),
            Some(Of::Summary(summary)) => Event::Summary(Box::new(summary.into())),
            Some(own) => Event::Own(own),
        };
        (self.header.unwrap_or_default(), event)
    }
}

impl From<v1::Summary> for Done {
    fn from(summary: v1::Summary) -> Self {
        Self::of(summary.stats.unwrap_or_default())
    }
}

impl From<v1::SyncSummary> for Done {
    fn from(summary: v1::SyncSummary) -> Self {
        let source = summary.source.unwrap_or_default();
        let destination = summary.destination.unwrap_or_default();
        Self {
            stats: source.clone(),
            sides: Some((source, destination)),
        }
    }
}
