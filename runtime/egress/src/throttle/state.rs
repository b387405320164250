//! One budget as plain data: who is under way, who waits, and when the next one may go. Time comes in with every question.

use super::advice::Advice;
use super::cause::Cause;
use super::ceiling::Ceiling;
use super::learned::{Around, Hold, Learned};
use super::queue::{Queue, Ticket};
use super::rate::Rate;
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct State {
    ceiling: Ceiling,
    learned: Learned,
    queue: Queue,
    under_way: u32,
}

/// Where a ticket stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Standing {
    /// It has its turn, in this round.
    Turn(u64),
    Waits {
        /// The earliest that its turn can come. `None`: once a place comes free.
        until: Option<Instant>,
        cause: Cause,
        /// When to look again, if nothing happens before.
        again: Option<Instant>,
    },
}

impl State {
    /// A call begins under this rate.
    pub(super) fn join(&mut self, rate: Rate, now: Instant) {
        self.ceiling.join(rate);
        self.changed(now);
    }

    /// A call under this rate ends.
    pub(super) fn leave(&mut self, rate: Rate, now: Instant) {
        self.ceiling.leave(rate, now);
        self.changed(now);
    }

    pub(super) fn ask(&mut self, ticket: Arc<Ticket>) {
        self.queue.push(ticket);
    }

    /// Where this ticket stands. Everybody whose turn it is gets it first.
    pub(super) fn standing(&mut self, ticket: &Arc<Ticket>, now: Instant) -> Standing {
        self.serve(now);
        if ticket.is_granted() {
            return Standing::Turn(self.learned.round());
        }
        let step = self.learned.next_step(now);
        let (at, cause) = self.opens(now, self.queue.before(ticket));
        if at > now {
            let again = [Some(at), step].into_iter().flatten().min();
            return Standing::Waits {
                until: Some(at),
                cause,
                again,
            };
        }
        Standing::Waits {
            until: None,
            cause: Cause::Concurrency,
            again: step,
        }
    }

    /// A ticket is thrown away.
    pub(super) fn withdraw(&mut self, ticket: &Arc<Ticket>, now: Instant) {
        if ticket.is_granted() {
            self.give_back(now);
        } else {
            self.queue.remove(ticket);
            self.changed(now);
        }
    }

    /// A request has ended.
    pub(super) fn give_back(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.changed(now);
    }

    /// Takes in the answer to a request that was sent in this round.
    pub(super) fn learn(
        &mut self,
        advice: &Advice,
        round: u64,
        draw: f64,
        now: Instant,
    ) -> Option<Hold> {
        let around = Around {
            round,
            under_way: self.under_way,
            per_second: self.ceiling.per_second(),
            concurrency: self.ceiling.concurrency(),
        };
        let before = self.learned.hold(now).map(|hold| hold.until);
        let refused = self.learned.learn(advice, &around, draw, now);
        if self.learned.hold(now).map(|hold| hold.until) == before {
            self.changed(now);
        } else {
            // Some of those who wait cannot wait that long.
            self.queue.wake_all();
        }
        refused
    }

    /// When nothing is lost by forgetting this budget, as long as nobody uses it.
    pub(super) fn forgotten_at(&self) -> Option<Instant> {
        self.ceiling.rested_at().max(self.learned.forgotten_at())
    }

    /// Gives turns to whom they are due.
    fn serve(&mut self, now: Instant) {
        let mut served = false;
        while !self.queue.is_empty() && self.has_place(now) && self.opens(now, 0).0 <= now {
            let Some(ticket) = self.queue.pop() else {
                break;
            };
            self.ceiling.charge(now);
            self.learned.charge(now);
            self.under_way += 1;
            ticket.grant();
            served = true;
        }
        if served {
            self.queue.wake_head();
        }
    }

    /// Something is otherwise than the next in line was told.
    fn changed(&mut self, now: Instant) {
        self.serve(now);
        self.queue.wake_head();
    }

    fn has_place(&self, now: Instant) -> bool {
        let places = [self.ceiling.concurrency(), self.learned.places(now)];
        places
            .into_iter()
            .flatten()
            .all(|places| self.under_way < places)
    }

    /// When the rates let one go before whom so many others go, and what decides it.
    fn opens(&self, now: Instant, before: u32) -> (Instant, Cause) {
        let hold = self.learned.hold(now);
        let from = hold.map_or(now, |hold| hold.until);
        let policy = self.ceiling.nth(from, before);
        let (learned, cause) = self.learned.nth(now, from, before);
        let decides = match hold {
            Some(hold) => hold.cause,
            None if policy >= learned => Cause::PolicyRate,
            None => cause,
        };
        (policy.max(learned), decides)
    }
}
