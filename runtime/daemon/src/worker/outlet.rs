//! Where a call's events go, and what may stop it.

use std::time::{Duration, SystemTime};

use caisson_proto::v1::ErrorCode;
use caisson_without::{Part, without};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::{Emitted, Event, Sequencer};
use crate::error::CallError;

/// Why a call is being stopped from outside of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancelled,
    Deadline,
}

impl Stop {
    /// How long a worker may take to end by itself.
    pub(crate) fn grace(self) -> Duration {
        match self {
            Self::Cancelled => Duration::from_secs(3),
            Self::Deadline => Duration::from_secs(1),
        }
    }

    pub(crate) fn error(self) -> CallError {
        match self {
            Self::Cancelled => CallError::new(ErrorCode::Cancelled, "the call was cancelled"),
            Self::Deadline => CallError::new(ErrorCode::Timeout, "the call reached its deadline"),
        }
    }
}

/// What may stop a call.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) cancel: CancellationToken,
    pub(crate) deadline: Option<Instant>,
}

impl Control {
    /// Returns once the call is to stop.
    pub(crate) async fn stopped(&self) -> Stop {
        let deadline = async {
            match self.deadline {
                Some(_) if without(Part::Deadline) => std::future::pending().await,
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Stop::Cancelled,
            () = deadline => Stop::Deadline,
        }
    }

    /// The deadline as Unix milliseconds, 0 without one.
    pub(crate) fn deadline_unix_ms(&self) -> u64 {
        let Some(deadline) = self.deadline else {
            return 0;
        };
        let at = SystemTime::now() + deadline.saturating_duration_since(Instant::now());
        at.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}

/// The bounded way out of a call. A slow reader stops the worker: at most the
/// channel's few events are held, each at most 3.5 MiB.
pub(crate) struct Outlet {
    sender: mpsc::Sender<Emitted>,
    sequencer: Sequencer,
    /// Whether the call ends when nobody reads any more.
    pub(crate) ends_with_reader: bool,
    /// Set once an event was lost: then no later batch or checkpoint may pass,
    /// or a checkpoint could overtake its records.
    deaf: bool,
}

impl Outlet {
    pub(crate) fn new(
        sender: mpsc::Sender<Emitted>,
        sequencer: Sequencer,
        ends_with_reader: bool,
    ) -> Self {
        Self {
            sender,
            sequencer,
            ends_with_reader,
            deaf: false,
        }
    }

    /// Returns once nobody reads any more; never for a call that outlives its
    /// reader.
    pub(crate) async fn abandoned(&self) {
        if self.ends_with_reader {
            self.sender.closed().await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Sends one event, waiting for room until `control` stops the call.
    /// False if it was not sent.
    pub(crate) async fn send(
        &mut self,
        stream: &str,
        partition: &str,
        event: Event,
        until: impl Future<Output = ()>,
    ) -> bool {
        if self.deaf {
            return false;
        }
        let emitted = self.sequencer.place(stream, partition, event);
        let sent = tokio::select! {
            biased;
            sent = self.sender.send(emitted) => sent.is_ok(),
            () = until => false,
        };
        self.deaf = !sent;
        sent
    }
}
