//! Bytes at a rate.

use bytes::Bytes;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Pieces in a second, so that a slow body is slow all along and not in jerks.
const PIECES: u64 = 10;
/// Lateness that is made up for: timers are coarse, and what they cost each frame would add up.
const LATE: Duration = Duration::from_millis(100);

/// Holds one frame and gives it out piece by piece, each when its time has come.
#[derive(Debug)]
pub(super) struct Trickle {
    rate: NonZeroU64,
    held: Bytes,
    /// When the last piece was due: the next one is reckoned from there.
    due: Instant,
    wait: Option<(usize, Pin<Box<Sleep>>)>,
}

impl Trickle {
    pub(super) fn new(rate: NonZeroU64) -> Self {
        Self {
            rate,
            held: Bytes::new(),
            due: Instant::now(),
            wait: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// What comes next; a pause in which there was nothing to send is not made up for.
    pub(super) fn hold(&mut self, data: Bytes) {
        self.held = data;
        let now = Instant::now();
        self.due = self.due.max(now.checked_sub(LATE).unwrap_or(now));
    }

    /// A piece of what is held.
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let (size, wait) = self.wait.get_or_insert_with(|| {
            let piece = (self.rate.get() / PIECES).max(1);
            let size = usize::try_from(piece)
                .unwrap_or(usize::MAX)
                .min(self.held.len());
            self.due += Duration::from_secs_f64(size as f64 / self.rate.get() as f64);
            (size, Box::pin(sleep_until(self.due)))
        });
        ready!(wait.as_mut().poll(context));
        let piece = self.held.split_to(*size);
        self.wait = None;
        Poll::Ready(piece)
    }
}
