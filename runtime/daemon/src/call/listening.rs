//! A caller's side of a call: it takes events, or stops taking them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use super::event::Emitted;

/// What a caller has yet to take.
enum Held {
    Events(mpsc::Receiver<Emitted>),
    /// Taken back.
    Gone,
    /// And said so.
    Over,
}

/// The events of a call that its caller has yet to take. The server holds them
/// for as long as the caller keeps its connection, read or not.
pub(crate) struct Listening(Arc<Mutex<Held>>);

/// The call's hold on them: it can take them back, and does not keep them.
pub(crate) struct Line(Weak<Mutex<Held>>);

impl Listening {
    pub(crate) fn line(&self) -> Line {
        Line(Arc::downgrade(&self.0))
    }
}

impl Line {
    /// Gives up on a caller that does not listen: what it has not taken is
    /// freed, and its stream ends with an error, not as if it had all.
    pub(crate) fn hang_up(&self) {
        if let Some(held) = self.0.upgrade() {
            *lock(&held) = Held::Gone;
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<mpsc::Receiver<Emitted>> for Listening {
    fn from(receiver: mpsc::Receiver<Emitted>) -> Self {
        Self(Arc::new(Mutex::new(Held::Events(receiver))))
    }
}

impl Stream for Listening {
    type Item = Result<Emitted, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut held = lock(&self.0);
        match &mut *held {
            Held::Events(receiver) => receiver.poll_recv(cx).map(|event| event.map(Ok)),
            Held::Gone => {
                *held = Held::Over;
                let message = "the caller took no event for too long; ask for the call by its id";
                Poll::Ready(Some(Err(Status::aborted(message))))
            }
            Held::Over => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;
    use crate::call::{Event, Sequencer};

    #[tokio::test]
    async fn what_is_hung_up_holds_nothing_and_ends_with_an_error() {
        let (sender, receiver) = mpsc::channel(4);
        let mut listening = Listening::from(receiver);
        let mut sequencer = Sequencer::new("c", 1);
        for _ in 0..2 {
            let event = sequencer.place("", "", Event::Heartbeat);
            sender.send(event).await.unwrap();
        }
        assert!(listening.next().await.is_some_and(|event| event.is_ok()));
        listening.line().hang_up();
        assert!(sender.is_closed());
        assert!(listening.next().await.is_some_and(|event| event.is_err()));
        assert!(listening.next().await.is_none());
    }

    #[tokio::test]
    async fn a_caller_that_leaves_is_noticed_although_the_call_has_a_line_to_it() {
        let (sender, receiver) = mpsc::channel(4);
        let listening = Listening::from(receiver);
        let line = listening.line();
        drop(listening);
        assert!(sender.is_closed());
        line.hang_up();
    }
}
