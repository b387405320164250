//! Where a call's events go while it may go on, and how serving ended.

use caisson_wire::message;
use tokio::time::Instant;

use super::grants::Watched;
use super::outlet::{Control, Outlet, Stop};
use super::tally::Tally;
use crate::call::Event;
use crate::error::CallError;

/// How serving ended, before the process is looked at.
pub(super) enum Verdict {
    /// The worker said Done.
    Done(message::Done),
    /// The worker said Failed.
    Failed(message::Failed),
    /// The channel closed without either.
    Closed,
    /// Stopped from outside.
    Stopped(Stop),
    /// The daemon ended it, for this reason.
    Ended(CallError),
}

/// Where a call's events go, and what has become of it.
pub(super) struct Way<'a> {
    pub(super) outlet: Outlet,
    pub(super) control: &'a Control,
    pub(super) tally: Tally,
    /// What the worker was given, once it was: a caller that does not read
    /// must not keep it there after it was taken back.
    pub(super) grants: Option<Watched>,
    /// Why it is being stopped, and when patience ends.
    pub(super) stopping: Option<(Stop, Instant)>,
}

impl Way<'_> {
    /// When patience with a stopped worker ends.
    pub(super) fn grace(&self) -> Option<Instant> {
        self.stopping.map(|(_, until)| until)
    }

    /// What a stopped call ended with, or what happened.
    pub(super) fn stopped_or(&self, verdict: Verdict) -> Verdict {
        self.stopping
            .map_or(verdict, |(stop, _)| Verdict::Stopped(stop))
    }

    /// Hands one event on; counts it if it was taken.
    pub(super) async fn emit(&mut self, stream: &str, partition: &str, event: Event) {
        let (grace, control) = (self.grace(), self.control);
        let mut grants = self.grants.clone();
        let withdrawn = async {
            match &mut grants {
                Some(grants) => drop(grants.withdrawn().await),
                None => std::future::pending().await,
            }
        };
        let stopped = async {
            match grace {
                Some(at) => tokio::time::sleep_until(at).await,
                None => {
                    let stop = control.stopped().await;
                    // The stop is acted on at the next turn; what waits here
                    // gets the grace too.
                    tokio::time::sleep(stop.grace()).await;
                }
            }
        };
        let until = async {
            tokio::select! {
                () = withdrawn => {}
                () = stopped => {}
            }
        };
        let counted = event.clone();
        if self.outlet.send(stream, partition, event, until).await {
            self.tally.count(&counted);
        }
    }
}
