//! What a destination was given and has to answer for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use caisson_proto::v1;
use tokio::sync::Notify;

/// Checkpoints that may wait for their commit, and bytes of their states.
const WAITING: usize = 1000;
const WAITING_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Ledger {
    waiting: HashMap<(String, String), VecDeque<v1::Checkpoint>>,
    count: usize,
    bytes: usize,
    ended: bool,
}

/// The checkpoints that wait for their commit, in order within each stream
/// and partition, and whether the input has ended.
#[derive(Default)]
pub(super) struct Given {
    ledger: Mutex<Ledger>,
    room: Notify,
}

impl Given {
    /// Waits until another checkpoint may be given: a destination that never
    /// commits stops its input instead of filling memory.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            let full = {
                let ledger = self.ledger();
                ledger.count >= WAITING || ledger.bytes >= WAITING_BYTES
            };
            if !full {
                return;
            }
            notified.await;
        }
    }

    /// Remembers a checkpoint that is about to be given.
    pub(super) fn add(&self, checkpoint: v1::Checkpoint) {
        let mut ledger = self.ledger();
        ledger.count += 1;
        ledger.bytes += checkpoint.state.len();
        let key = (checkpoint.stream.clone(), checkpoint.partition.clone());
        ledger.waiting.entry(key).or_default().push_back(checkpoint);
    }

    /// The checkpoint of that id and those before it, oldest first: what is
    /// durable at one is durable at all before. `None` if it was not given.
    pub(super) fn committed(
        &self,
        stream: &str,
        partition: &str,
        id: &str,
    ) -> Option<Vec<v1::Checkpoint>> {
        let mut ledger = self.ledger();
        let key = (stream.to_owned(), partition.to_owned());
        let waiting = ledger.waiting.get_mut(&key)?;
        let at = waiting.iter().position(|checkpoint| checkpoint.id == id)?;
        let done: Vec<_> = waiting.drain(..=at).collect();
        if waiting.is_empty() {
            ledger.waiting.remove(&key);
        }
        ledger.count -= done.len();
        ledger.bytes -= done
            .iter()
            .map(|checkpoint| checkpoint.state.len())
            .sum::<usize>();
        drop(ledger);
        self.room.notify_one();
        Some(done)
    }

    /// The end of the input was given.
    pub(super) fn end(&self) {
        self.ledger().ended = true;
    }

    /// Whether the destination may say Done: it has everything, and made
    /// every checkpoint durable.
    pub(super) fn complete(&self) -> bool {
        let ledger = self.ledger();
        ledger.ended && ledger.count == 0
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(stream: &str, id: &str) -> v1::Checkpoint {
        v1::Checkpoint {
            stream: stream.into(),
            id: id.into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_same_id_in_two_streams_is_two_checkpoints() {
        let given = Given::default();
        given.add(checkpoint("a", "1"));
        given.add(checkpoint("b", "1"));
        let done = given.committed("a", "", "1").unwrap();
        assert_eq!(done.len(), 1);
        assert_eq!(done[0].stream, "a");
        assert!(
            given.committed("a", "", "1").is_none(),
            "nothing is committed twice"
        );
    }

    #[test]
    fn a_commit_covers_what_came_before_it_and_nothing_older_can_follow() {
        let given = Given::default();
        given.add(checkpoint("a", "1"));
        given.add(checkpoint("a", "2"));
        let ids: Vec<_> = given
            .committed("a", "", "2")
            .unwrap()
            .into_iter()
            .map(|done| done.id)
            .collect();
        assert_eq!(ids, ["1", "2"]);
        assert!(given.committed("a", "", "1").is_none());
    }

    #[test]
    fn done_before_the_end_or_with_a_checkpoint_open_is_too_early() {
        let given = Given::default();
        assert!(!given.complete());
        given.add(checkpoint("a", "1"));
        given.end();
        assert!(!given.complete());
        given.committed("a", "", "1").unwrap();
        assert!(given.complete());
    }
}
