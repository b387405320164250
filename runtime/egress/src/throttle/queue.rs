//! Who waits: one line per party, and the parties are served in turn.
//!
//! A party with a hundred requests and one with a single request get every other turn while both wait; within a party the
//! first to come is the first served.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// One request that waits.
#[derive(Debug)]
pub(super) struct Ticket {
    party: Arc<str>,
    /// Set under the lock of the budget; the place that it stands for is then this ticket's to use or to give back.
    granted: AtomicBool,
    pub(super) woken: Notify,
}

impl Ticket {
    pub(super) fn new(party: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            party,
            granted: AtomicBool::new(false),
            woken: Notify::new(),
        })
    }

    pub(super) fn is_granted(&self) -> bool {
        self.granted.load(Ordering::Acquire)
    }

    pub(super) fn grant(&self) {
        self.granted.store(true, Ordering::Release);
        self.woken.notify_one();
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Every party that waits, once, the next one in front.
    ring: VecDeque<Arc<str>>,
    lines: HashMap<Arc<str>, VecDeque<Arc<Ticket>>>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    pub(super) fn push(&mut self, ticket: Arc<Ticket>) {
        let line = self.lines.entry(Arc::clone(&ticket.party)).or_default();
        if line.is_empty() {
            self.ring.push_back(Arc::clone(&ticket.party));
        }
        line.push_back(ticket);
    }

    /// Whose turn is next.
    pub(super) fn head(&self) -> Option<&Arc<Ticket>> {
        self.lines.get(self.ring.front()?)?.front()
    }

    /// Serves the next one; its party goes behind the others.
    pub(super) fn pop(&mut self) -> Option<Arc<Ticket>> {
        let party = self.ring.pop_front()?;
        let line = self.lines.get_mut(&party)?;
        let ticket = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&party);
        } else {
            self.ring.push_back(party);
        }
        ticket
    }

    /// Takes out one that waits no more.
    pub(super) fn remove(&mut self, ticket: &Arc<Ticket>) {
        let Some(line) = self.lines.get_mut(&ticket.party) else {
            return;
        };
        line.retain(|other| !Arc::ptr_eq(other, ticket));
        if line.is_empty() {
            self.lines.remove(&ticket.party);
            self.ring.retain(|party| *party != ticket.party);
        }
    }

    /// How many are served before this one, if nobody comes or goes.
    pub(super) fn before(&self, ticket: &Arc<Ticket>) -> u32 {
        let line = self.lines.get(&ticket.party);
        let own = line
            .and_then(|line| line.iter().position(|other| Arc::ptr_eq(other, ticket)))
            .unwrap_or_default();
        let mut in_front = true;
        let mut before = own;
        for party in &self.ring {
            if *party == ticket.party {
                in_front = false;
                continue;
            }
            let line = self.lines.get(party).map_or(0, VecDeque::len);
            before += line.min(own + usize::from(in_front));
        }
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// Has everybody look again.
    pub(super) fn wake_all(&self) {
        for ticket in self.lines.values().flatten() {
            ticket.woken.notify_one();
        }
    }

    /// Has the next one look again. Who is next keeps the time for all.
    pub(super) fn wake_head(&self) {
        if let Some(head) = self.head() {
            head.woken.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(parties: &[u8]) -> (Queue, Vec<Arc<Ticket>>) {
        let mut queue = Queue::default();
        let tickets: Vec<_> = parties
            .iter()
            .map(|party| Ticket::new(party.to_string().into()))
            .collect();
        for ticket in &tickets {
            queue.push(Arc::clone(ticket));
        }
        (queue, tickets)
    }

    fn served(mut queue: Queue) -> Vec<Arc<Ticket>> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn parties_are_served_in_turn() {
        let (queue, _) = waiting(&[1, 1, 1, 1, 2, 2, 3]);
        let order: Vec<String> = served(queue)
            .iter()
            .map(|ticket| ticket.party.to_string())
            .collect();
        assert_eq!(order.concat(), "1231211");
    }

    proptest! {
        #[test]
        fn the_place_that_is_foretold_is_the_place_that_comes(
            parties in prop::collection::vec(0_u8..5, 0..40),
            gone in prop::collection::vec(0_usize..40, 0..10),
            first in 0_usize..10,
        ) {
            let (mut queue, mut tickets) = waiting(&parties);
            for _ in 0..first {
                if let Some(ticket) = queue.pop() {
                    tickets.retain(|other| !Arc::ptr_eq(other, &ticket));
                }
            }
            for index in gone {
                if index < tickets.len() {
                    queue.remove(&tickets.remove(index));
                }
            }
            let foretold: Vec<_> = tickets.iter().map(|ticket| queue.before(ticket)).collect();
            prop_assert_eq!(queue.head().is_some(), !tickets.is_empty());
            let order = served(queue);
            prop_assert_eq!(order.len(), tickets.len());
            for (ticket, foretold) in tickets.iter().zip(foretold) {
                let place = order.iter().position(|other| Arc::ptr_eq(other, ticket));
                prop_assert_eq!(place, usize::try_from(foretold).ok());
            }
        }
    }
}
