//! Who waits: one line per party, and the parties are served in turn.
//!
//! A party with a hundred requests and one with a single request get every other turn while both wait; within a party the
//! first to come is the first served. Where places are few, a party that has its share of them under way lets those go
//! first that have less.
//!
//! All tenants' requests come through here under one lock, so nothing costs more than a step for each party that waits,
//! however many wait in its line.

use super::learned::Sent;
use super::line::Line;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests of one party that may wait on one budget. Who has this many waiting gains nothing by one more, and each costs
/// the daemon memory and time that belong to all: the next one ends at once.
pub(super) const MOST_WAITING: usize = 4_096;

/// One request that asks for its turn.
#[derive(Debug)]
pub(super) struct Ticket {
    party: Arc<str>,
    /// When it stops to wait. `None`: beyond all clocks.
    limit: Option<Instant>,
    /// Of its place in its line, which reads and sets it under the lock of the budget.
    number: AtomicU64,
    /// Set under the lock of the budget, when its turn comes; its place is then this ticket's to use or to give back.
    granted: OnceLock<Sent>,
    pub(super) woken: Notify,
}

impl Ticket {
    pub(super) fn new(party: Arc<str>, limit: Option<Instant>) -> Arc<Self> {
        Arc::new(Self {
            party,
            limit,
            number: AtomicU64::new(0),
            granted: OnceLock::new(),
            woken: Notify::new(),
        })
    }

    pub(super) fn party(&self) -> &Arc<str> {
        &self.party
    }

    /// The turn that it has. What came after it was granted, as a no to others, is not of its round.
    pub(super) fn granted(&self) -> Option<Sent> {
        self.granted.get().copied()
    }

    pub(super) fn grant(&self, sent: Sent) {
        self.granted.get_or_init(|| sent);
        self.woken.notify_one();
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    pub(super) fn set_number(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Every party that waits, once, the next one in front.
    ring: VecDeque<Arc<str>>,
    /// Every party that waits or has requests under way.
    lines: HashMap<Arc<str>, Line>,
    /// Who waits, by limit; of equal limits, by address.
    limits: BTreeMap<(Instant, usize), Arc<Ticket>>,
    waiting: usize,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Puts a ticket at the end of its party's line. False: [`MOST_WAITING`] of the party wait already.
    pub(super) fn push(&mut self, ticket: Arc<Ticket>) -> bool {
        let line = self.lines.entry(Arc::clone(&ticket.party)).or_default();
        if line.len() >= MOST_WAITING {
            return false;
        }
        if line.is_empty() {
            self.ring.push_back(Arc::clone(&ticket.party));
        }
        if let Some(key) = key(&ticket) {
            self.limits.insert(key, Arc::clone(&ticket));
        }
        line.push(ticket);
        self.waiting += 1;
        true
    }

    /// Whose turn is next, where so many may be under way.
    pub(super) fn head(&self, places: Option<u32>) -> Option<&Arc<Ticket>> {
        let party = self.ring.get(self.next(places)?)?;
        self.lines.get(party)?.front()
    }

    /// Serves the next one; its party goes behind the others, and holds one place more.
    pub(super) fn pop(&mut self, places: Option<u32>) -> Option<Arc<Ticket>> {
        let party = self.ring.remove(self.next(places)?)?;
        let line = self.lines.get_mut(&party)?;
        let ticket = line.pop()?;
        line.held += 1;
        if !line.is_empty() {
            self.ring.push_back(party);
        }
        self.has_left(&ticket);
        Some(ticket)
    }

    /// A request of this party goes without having waited.
    pub(super) fn hold(&mut self, party: &Arc<str>) {
        self.lines.entry(Arc::clone(party)).or_default().held += 1;
    }

    /// A request of this party has ended.
    pub(super) fn give_back(&mut self, party: &Arc<str>) {
        if let Some(line) = self.lines.get_mut(party) {
            line.held = line.held.saturating_sub(1);
            if line.held == 0 && line.is_empty() {
                self.lines.remove(party);
            }
        }
    }

    /// Takes out one that waits no more.
    pub(super) fn remove(&mut self, ticket: &Arc<Ticket>) {
        let Some(line) = self.lines.get_mut(&ticket.party) else {
            return;
        };
        if !line.remove(ticket) {
            return;
        }
        if line.is_empty() {
            if line.held == 0 {
                self.lines.remove(&ticket.party);
            }
            self.ring.retain(|party| *party != ticket.party);
        }
        self.has_left(ticket);
    }

    /// How many are served before this one, if nobody comes or goes. Other parties that have their share under way are not
    /// counted: they go first only once they have given something back.
    pub(super) fn before(&self, ticket: &Ticket, places: Option<u32>) -> u32 {
        let share = self.share(places);
        let line = self.lines.get(&ticket.party);
        let own = line.map_or(0, |line| line.before(ticket));
        let mut in_front = true;
        let mut before = own;
        for party in &self.ring {
            if *party == ticket.party {
                in_front = false;
                continue;
            }
            let line = self.lines.get(party);
            let line = line.filter(|line| share.is_none_or(|share| line.held < share));
            before += line.map_or(0, Line::len).min(own + usize::from(in_front));
        }
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// Has those look again who stop to wait before this time.
    pub(super) fn wake_limited_before(&self, at: Instant) {
        for ticket in self.limits.range(..(at, 0)).map(|(_, ticket)| ticket) {
            ticket.woken.notify_one();
        }
    }

    /// Has the next one look again. Who is next keeps the time for all.
    pub(super) fn wake_head(&self, places: Option<u32>) {
        if let Some(head) = self.head(places) {
            head.woken.notify_one();
        }
    }

    /// Where in the ring the next one stands: the first party below its share. Where all have theirs, because a party that
    /// does not wait has less, the first of those that have least, so that no place stays empty.
    fn next(&self, places: Option<u32>) -> Option<usize> {
        let held = |party: &Arc<str>| self.lines.get(party).map_or(0, |line| line.held);
        let Some(share) = self.share(places) else {
            return (!self.ring.is_empty()).then_some(0);
        };
        let below = self.ring.iter().position(|party| held(party) < share);
        below.or_else(|| (0..self.ring.len()).min_by_key(|at| held(&self.ring[*at])))
    }

    /// How many places a party may have while others wait. `None`: as many as there are.
    fn share(&self, places: Option<u32>) -> Option<u32> {
        let parties = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let is_shared = self.ring.len() > 1;
        places
            .filter(|_| is_shared)
            .map(|places| places.div_ceil(parties))
    }

    fn has_left(&mut self, ticket: &Arc<Ticket>) {
        self.waiting -= 1;
        if let Some(key) = key(ticket) {
            self.limits.remove(&key);
        }
    }
}

fn key(ticket: &Arc<Ticket>) -> Option<(Instant, usize)> {
    Some((ticket.limit?, Arc::as_ptr(ticket).addr()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(parties: &[u8]) -> (Queue, Vec<Arc<Ticket>>) {
        let mut queue = Queue::default();
        let tickets: Vec<_> = parties
            .iter()
            .map(|party| Ticket::new(party.to_string().into(), None))
            .collect();
        for ticket in &tickets {
            assert!(queue.push(Arc::clone(ticket)));
        }
        (queue, tickets)
    }

    fn served(mut queue: Queue) -> Vec<Arc<Ticket>> {
        std::iter::from_fn(|| queue.pop(None)).collect()
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

    /// Serves so many; the parties of those who were served.
    fn parties(queue: &mut Queue, places: Option<u32>, turns: usize) -> String {
        (0..turns)
            .map(|_| queue.pop(places).unwrap().party.to_string())
            .collect()
    }

    #[test]
    fn who_has_a_share_of_the_places_lets_those_go_first_who_have_less() {
        let (mut queue, _) = waiting(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
        let places = Some(4);
        assert_eq!(parties(&mut queue, places, 4), "1212");
        // Each has its half. The second gives its places back and the first keeps them: so it goes on.
        for _ in 0..2 {
            queue.give_back(&"2".into());
            assert_eq!(parties(&mut queue, places, 1), "2");
        }
        queue.give_back(&"2".into());
        assert_eq!(parties(&mut queue, places, 1), "1", "nobody else waits");
    }

    #[test]
    fn no_place_stays_empty_because_one_that_does_not_wait_has_less_than_its_share() {
        let (mut queue, _) = waiting(&[1, 1, 1, 1, 2, 2, 2, 2, 3]);
        let places = Some(7);
        assert_eq!(parties(&mut queue, places, 7), "1231212");
        queue.give_back(&"2".into());
        assert_eq!(parties(&mut queue, places, 1), "2", "it has least");
        assert_eq!(queue.lines[&Arc::from("3")].held, 1);
    }

    #[test]
    fn no_more_of_one_party_wait_than_may() {
        let (mut queue, tickets) = waiting(&[7; MOST_WAITING]);
        let ticket = |party: &str| Ticket::new(party.into(), None);
        assert!(!queue.push(ticket("7")));
        assert!(queue.push(ticket("8")), "others have lines of their own");
        queue.remove(&tickets[5]);
        assert!(queue.push(ticket("7")));
        assert_eq!(queue.len(), MOST_WAITING + 1);
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
                if let Some(ticket) = queue.pop(None) {
                    tickets.retain(|other| !Arc::ptr_eq(other, &ticket));
                }
            }
            for index in gone {
                if index < tickets.len() {
                    queue.remove(&tickets.remove(index));
                }
            }
            let foretold: Vec<_> = tickets.iter().map(|ticket| queue.before(ticket, None)).collect();
            prop_assert_eq!(queue.head(None).is_some(), !tickets.is_empty());
            let order = served(queue);
            prop_assert_eq!(order.len(), tickets.len());
            for (ticket, foretold) in tickets.iter().zip(foretold) {
                let place = order.iter().position(|other| Arc::ptr_eq(other, ticket));
                prop_assert_eq!(place, usize::try_from(foretold).ok());
            }
        }
    }
}
