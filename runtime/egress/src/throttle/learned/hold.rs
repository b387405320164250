//! A time before which nobody goes, but for a request that asks whether it still holds.

use super::super::cause::Cause;
use std::time::Duration;
use tokio::time::Instant;

/// A hold longer than this is asked after. A header may be misread, or a broken proxy's, and would block a credential for
/// a day.
const LONG: Duration = Duration::from_secs(15 * 60);
/// Time between two requests that ask after a long hold.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(5 * 60);

/// Nobody goes before; while it is long, but for one request every five minutes.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Hold {
    pub(in super::super) until: Instant,
    pub(in super::super) cause: Cause,
    /// When it was learned.
    since: Instant,
    /// When the next request may ask after it. `None`: it is short enough to be waited out.
    probe: Option<Instant>,
}

impl Hold {
    pub(super) fn new(wait: Duration, cause: Cause, now: Instant) -> Self {
        Self {
            until: now + wait,
            cause,
            since: now,
            probe: (wait > LONG).then(|| now + PROBE_EVERY),
        }
    }

    /// The same, for who has another reason to hear of it.
    pub(super) fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// From when one may go before whom so many others go. Nobody waits in order to ask: who is next when it is time asks,
    /// and until then all are told the end of the hold.
    pub(in super::super) fn from(&self, before: u32, now: Instant) -> Instant {
        let asks = before == 0 && self.probe.is_some_and(|probe| probe <= now);
        if asks { now } else { self.until }
    }

    /// When the next request may ask, if that is still to come.
    pub(super) fn next_probe(&self, now: Instant) -> Option<Instant> {
        self.probe.filter(|probe| *probe > now)
    }

    /// A request has gone to ask.
    pub(super) fn probed(&mut self, now: Instant) {
        self.probe = self.probe.map(|_| now + PROBE_EVERY);
    }

    /// Whether a request that was sent then asked after this hold.
    pub(super) fn is_asked_by(&self, sent: Instant) -> bool {
        self.since < sent
    }
}
