//! One party's line: who of it waits, in order, and how many of its requests are under way.
//!
//! Places are numbered as they come, so that a ticket knows its own without being searched for. Who goes away from the
//! middle leaves a gap, and the gaps are remembered in order: how many wait before a ticket is the difference of two
//! numbers less the gaps between them.

use super::queue::Ticket;
use std::collections::VecDeque;
use std::sync::Arc;

/// Gaps below which a line is never closed up.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Line {
    /// Neither the first nor the last is a gap.
    places: VecDeque<Option<Arc<Ticket>>>,
    /// The number of the first place.
    first: u64,
    /// The numbers of the gaps, ascending. No more than there are who wait, or than a few.
    gaps: VecDeque<u64>,
    /// Requests of the party that are under way.
    pub(super) held: u32,
}

impl Line {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.gaps.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn push(&mut self, ticket: Arc<Ticket>) {
        ticket.set_number(self.first + self.places.len() as u64);
        self.places.push_back(Some(ticket));
    }

    pub(super) fn front(&self) -> Option<&Arc<Ticket>> {
        self.places.front()?.as_ref()
    }

    pub(super) fn pop(&mut self) -> Option<Arc<Ticket>> {
        let ticket = self.places.pop_front()??;
        self.first += 1;
        self.trim();
        Some(ticket)
    }

    /// Takes out one that waits no more. False: it is not in this line.
    pub(super) fn remove(&mut self, ticket: &Arc<Ticket>) -> bool {
        let number = ticket.number();
        let place = self.place(number).and_then(|at| self.places.get_mut(at));
        let Some(place) = place else {
            return false;
        };
        if !place.as_ref().is_some_and(|own| Arc::ptr_eq(own, ticket)) {
            return false;
        }
        *place = None;
        let at = self.gaps.partition_point(|gap| *gap < number);
        self.gaps.insert(at, number);
        self.trim();
        if self.gaps.len() > self.len().max(FEW) {
            self.close_up();
        }
        true
    }

    /// How many of the line are served before this one.
    pub(super) fn before(&self, ticket: &Ticket) -> usize {
        let number = ticket.number();
        let gaps = self.gaps.partition_point(|gap| *gap < number);
        self.place(number).unwrap_or_default().saturating_sub(gaps)
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// Gaps at either end are none.
    fn trim(&mut self) {
        while matches!(self.places.front(), Some(None)) {
            self.places.pop_front();
            self.gaps.pop_front();
            self.first += 1;
        }
        while matches!(self.places.back(), Some(None)) {
            self.places.pop_back();
            self.gaps.pop_back();
        }
    }

    /// Numbers everybody anew. It costs one step for each who waits, and as many have gone since the last time.
    fn close_up(&mut self) {
        self.gaps.clear();
        self.places.retain(Option::is_some);
        for (number, ticket) in (self.first..).zip(self.places.iter().flatten()) {
            ticket.set_number(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_do_not_pile_up_while_one_waits_in_front_for_ever() {
        let mut line = Line::default();
        let ticket = || Ticket::new("a".into(), None);
        let front = ticket();
        line.push(Arc::clone(&front));
        let mut last = ticket();
        line.push(Arc::clone(&last));
        for _ in 0..10_000 {
            let next = ticket();
            line.push(Arc::clone(&next));
            assert!(line.remove(&last));
            assert!(!line.remove(&last), "it has gone already");
            last = next;
            assert_eq!((line.len(), line.before(&last)), (2, 1));
            assert!(line.places.len() <= FEW + 3, "{}", line.places.len());
        }
        assert!(Arc::ptr_eq(line.front().unwrap(), &front));
        assert!(line.pop().is_some() && line.pop().is_some());
        assert!(line.is_empty() && line.gaps.is_empty());
    }
}
