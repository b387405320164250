//! What one worker may take of what all workers of a daemon share: descriptors, look-ups, and the daemon's time.
//!
//! A worker's own limits hold inside of it. What its connections and packets cost the daemon is bounded here, so that a
//! flood of one worker leaves the others and the API what they need.

use crate::relay::{Lent, Pipes};
use governor::clock::{Clock, DefaultClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that one worker may hold, and fewer where the daemon may hold few.
pub const MAX_CONNECTIONS: usize = 1_024;
/// Connections of all workers, where nobody says how many descriptors the daemon has.
pub(crate) const CONNECTIONS: usize = 1_024;
/// Look-ups in the world outside that one worker may have under way; more wait for their turn.
const LOOK_UPS: usize = 8;

/// Bytes moved at once in each direction of one connection, where they do not go through a pipe.
pub(crate) const BUFFER: usize = 16 << 10;
/// Pipes that one worker may hold, and fewer where the daemon may hold few.
const PIPES: usize = 64;
/// Pipes of all workers.
const ALL_PIPES: usize = 512;

/// Messages and connections per second that are looked at, in the long run and at once. What comes faster waits in the
/// kernel's queue. The watch is not among them: what waits there too long is not seen.
const MESSAGES: (u32, u32) = (1_000, 2_000);
const ACCEPTS: (u32, u32) = (500, 2_000);

/// How fast one worker's things are looked at.
#[derive(Debug)]
pub(crate) struct Pace(RateLimiter<NotKeyed, InMemoryState, DefaultClock>);

impl Pace {
    fn new((per_second, burst): (u32, u32)) -> Self {
        let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::direct(
            Quota::per_second(number(per_second)).allow_burst(number(burst)),
        ))
    }

    /// Returns when it is the turn of the next one.
    pub(crate) async fn turn(&self) {
        while let Err(early) = self.0.check() {
            let wait = early.wait_time_from(DefaultClock::default().now());
            // A timer's own grain; several turns come due in it.
            tokio::time::sleep(wait.max(std::time::Duration::from_millis(5))).await;
        }
    }
}

/// What there is for all workers.
#[derive(Debug)]
pub(crate) struct Whole {
    connections: Arc<Semaphore>,
    /// How many there were to begin with.
    total: usize,
    pipes: Pipes,
}

impl Whole {
    /// Of a daemon whose workers may hold so many connections together, each of two descriptors. Pipes are an eighth as
    /// many.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            total: connections,
            pipes: Pipes::new((connections / 8).min(ALL_PIPES)),
        }
    }
}

/// One worker's share.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) messages: Pace,
    pub(crate) accepts: Pace,
    pub(crate) look_ups: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    most: usize,
    pipes: Semaphore,
    whole: Arc<Whole>,
}

/// The right to hold one connection.
#[derive(Debug)]
pub(crate) struct Held {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Share {
    pub(crate) fn new(whole: Arc<Whole>) -> Self {
        // A quarter, so that no worker alone takes all of it.
        let most = (whole.total / 4).clamp(1, MAX_CONNECTIONS);
        Self {
            messages: Pace::new(MESSAGES),
            accepts: Pace::new(ACCEPTS),
            look_ups: Arc::new(Semaphore::new(LOOK_UPS)),
            connections: Arc::new(Semaphore::new(most)),
            most,
            pipes: Semaphore::new(PIPES.min(most / 8)),
            whole,
        }
    }

    /// A pipe to move bytes through, where one is left. Who gets none copies.
    pub(crate) fn pipe(&self) -> Option<Lent<'_>> {
        self.whole.pipes.lend(&self.pipes)
    }

    /// Takes back a pipe through which everything went.
    pub(crate) fn take_back(&self, pipe: Lent<'_>) {
        self.whole.pipes.take_back(pipe);
    }

    /// Room for one more connection.
    ///
    /// # Errors
    /// There is none; the text says whose limit was met.
    pub(crate) fn connection(&self) -> Result<Held, String> {
        let own = Arc::clone(&self.connections)
            .try_acquire_owned()
            .map_err(|_| {
                format!(
                    "the worker holds {} connections, the most it may",
                    self.most
                )
            })?;
        let of_all = Arc::clone(&self.whole.connections).try_acquire_owned().map_err(|_| {
            "all workers together hold as many connections as the daemon's limit of descriptors allows"
                .to_owned()
        })?;
        Ok(Held {
            _own: own,
            _of_all: of_all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_never_takes_the_connections_of_all() {
        let whole = Arc::new(Whole::new(16));
        let (greedy, other) = (Share::new(Arc::clone(&whole)), Share::new(whole));
        let held: Vec<_> = std::iter::from_fn(|| greedy.connection().ok()).collect();
        assert_eq!(held.len(), 4);
        assert!(greedy.connection().unwrap_err().contains("holds 4"));
        assert!(other.connection().is_ok());
        drop(held);
        assert!(
            greedy.connection().is_ok(),
            "what is given back is there again"
        );
    }

    #[test]
    fn all_workers_together_leave_the_daemon_its_descriptors() {
        let whole = Arc::new(Whole::new(8));
        let shares: Vec<_> = (0..8).map(|_| Share::new(Arc::clone(&whole))).collect();
        let held: Vec<_> = shares
            .iter()
            .flat_map(|share| std::iter::from_fn(|| share.connection().ok()))
            .collect();
        assert_eq!(held.len(), 8);
        assert!(
            shares[7]
                .connection()
                .unwrap_err()
                .contains("all workers together")
        );
    }

    #[test]
    fn one_worker_never_takes_the_pipes_of_all() {
        let whole = Arc::new(Whole::new(64));
        let (greedy, other) = (Share::new(Arc::clone(&whole)), Share::new(whole));
        let held: Vec<_> = std::iter::from_fn(|| greedy.pipe()).collect();
        assert_eq!(held.len(), 2);
        assert!(other.pipe().is_some());
        drop(held);
        assert!(greedy.pipe().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_fast_waits() {
        let pace = Pace::new((10, 1));
        pace.turn().await;
        assert!(pace.0.check().is_err());
    }
}
