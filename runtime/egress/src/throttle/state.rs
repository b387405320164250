//! One budget as plain data: who is under way, who waits, and when the next one may go. Time comes in with every question.

use super::advice::Advice;
use super::cause::Cause;
use super::ceiling::Ceiling;
use super::learned::{Around, Hold, Learned, Sent};
use super::queue::{MOST_WAITING, Queue, Ticket};
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
    /// It has its turn.
    Turn(Sent),
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

    /// Puts a ticket in its line, or gives it its turn where nobody waits and one is to be had.
    ///
    /// # Errors
    /// Too many of its party wait. Gives the earliest that those have had their turns.
    pub(super) fn ask(&mut self, ticket: &Arc<Ticket>, now: Instant) -> Result<(), Instant> {
        if self.queue.len() == 0 && self.is_open(self.places(now), now) {
            self.queue.hold(ticket.party());
            self.grant(ticket, now);
            return Ok(());
        }
        if self.queue.push(Arc::clone(ticket)) {
            return Ok(());
        }
        let waiting = u32::try_from(MOST_WAITING).unwrap_or(u32::MAX);
        Err(self.opens(now, waiting).0)
    }

    /// Where this ticket stands. Everybody whose turn it is gets it first.
    pub(super) fn standing(&mut self, ticket: &Arc<Ticket>, now: Instant) -> Standing {
        self.serve(now);
        if let Some(sent) = ticket.granted() {
            return Standing::Turn(sent);
        }
        let places = self.places(now);
        let head = self.queue.head(places);
        let is_head = head.is_some_and(|head| Arc::ptr_eq(head, ticket));
        if !is_head {
            self.queue.wake_head(places);
        }
        // The steps of the rate are foretold. Those of the places, and asking after a hold, matter to the next one alone,
        // who has the others follow.
        let step = self.learned.next_step(now).filter(|_| is_head);
        let (at, cause) = self.opens(now, self.queue.before(ticket, places));
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
        if ticket.granted().is_some() {
            self.give_back(ticket.party(), now);
        } else {
            self.queue.remove(ticket);
            self.changed(now);
        }
    }

    /// A request of this party has ended.
    pub(super) fn give_back(&mut self, party: &Arc<str>, now: Instant) {
        self.queue.give_back(party);
        self.under_way = self.under_way.saturating_sub(1);
        self.changed(now);
    }

    /// Takes in the answer to a request.
    pub(super) fn learn(
        &mut self,
        advice: &Advice,
        sent: Sent,
        draw: f64,
        now: Instant,
    ) -> Option<Hold> {
        let around = Around {
            sent,
            under_way: self.under_way,
            per_second: self.ceiling.per_second(),
            concurrency: self.ceiling.concurrency(),
        };
        let known = |learned: &Learned| (learned.hold(now).map(|hold| hold.until), learned.round());
        let before = known(&self.learned);
        let refused = self.learned.learn(advice, &around, draw, now);
        let is_news = known(&self.learned) != before;
        self.changed(now);
        if let Some(others) = self.queue.len().checked_sub(1).filter(|_| is_news) {
            // Some of those who wait cannot wait that long: none but those whose limit comes before the last one's turn.
            let others = u32::try_from(others).unwrap_or(u32::MAX);
            let last = self.opens(now, others).0;
            self.queue.wake_limited_before(last);
        }
        refused
    }

    /// When nothing is lost by forgetting this budget, as long as nobody uses it.
    pub(super) fn forgotten_at(&self) -> Option<Instant> {
        self.ceiling.rested_at().max(self.learned.forgotten_at())
    }

    /// Gives turns to whom they are due.
    fn serve(&mut self, now: Instant) {
        let places = self.places(now);
        let mut served = false;
        while self.queue.len() > 0 && self.is_open(places, now) {
            let Some(ticket) = self.queue.pop(places) else {
                break;
            };
            self.grant(&ticket, now);
            served = true;
        }
        if served {
            self.queue.wake_head(places);
        }
    }

    /// Whether one more may go now.
    fn is_open(&self, places: Option<u32>, now: Instant) -> bool {
        places.is_none_or(|places| self.under_way < places) && self.opens(now, 0).0 <= now
    }

    fn grant(&mut self, ticket: &Ticket, now: Instant) {
        self.ceiling.charge(now);
        self.learned.charge(now);
        self.under_way += 1;
        ticket.grant(Sent {
            round: self.learned.round(),
            at: now,
        });
    }

    /// Something is otherwise than the next in line was told.
    fn changed(&mut self, now: Instant) {
        self.serve(now);
        self.queue.wake_head(self.places(now));
    }

    /// How many may be under way.
    fn places(&self, now: Instant) -> Option<u32> {
        let places = [self.ceiling.concurrency(), self.learned.places(now)];
        places.into_iter().flatten().min()
    }

    /// When the rates let one go before whom so many others go, and what decides it.
    fn opens(&self, now: Instant, before: u32) -> (Instant, Cause) {
        let hold = self.learned.hold(now);
        let from = hold.map_or(now, |hold| hold.from(before, now));
        let policy = self.ceiling.nth(from, before);
        let (learned, cause) = self.learned.nth(from, before);
        let decides = match hold {
            Some(hold) => hold.cause,
            None if policy >= learned => Cause::PolicyRate,
            None => cause,
        };
        (policy.max(learned), decides)
    }
}

#[cfg(test)]
mod tests {
    use super::super::advice;
    use super::*;
    use http::header::RETRY_AFTER;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use std::time::SystemTime;

    #[test]
    fn a_turn_is_of_the_round_in_which_it_was_granted_and_not_of_the_one_in_which_it_is_heard_of() {
        let (mut state, began) = (State::default(), Instant::now());
        let [first, second] = ["a", "b"].map(|party| Ticket::new(party.into(), None));
        for ticket in [&first, &second] {
            state.ask(ticket, began).unwrap();
        }
        let Standing::Turn(sent) = state.standing(&first, began) else {
            panic!("nobody is in its way")
        };
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("60"))]);
        let no = advice::read(StatusCode::TOO_MANY_REQUESTS, &headers, SystemTime::now());
        assert!(state.learn(&no, sent, 0.0, began).is_some());
        assert_ne!(state.learned.round(), sent.round);
        let Standing::Turn(other) = state.standing(&second, began) else {
            panic!("it was granted before the no")
        };
        assert_eq!(other.round, sent.round);
    }
}
