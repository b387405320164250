//! A caller's side of a call: it takes events, or stops taking them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_stream::Stream;

use super::event::Emitted;

/// The events of a call that its caller has yet to take. The server holds them
/// for as long as the caller keeps its connection, read or not, so the call can
/// take them back.
#[derive(Clone)]
pub(crate) struct Listening(Arc<Mutex<Option<mpsc::Receiver<Emitted>>>>);

impl Listening {
    /// Gives up on a caller that does not listen: what it has not taken is
    /// freed, and its stream ends.
    pub(crate) fn hang_up(&self) {
        self.receiver().take();
    }

    fn receiver(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Receiver<Emitted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<mpsc::Receiver<Emitted>> for Listening {
    fn from(receiver: mpsc::Receiver<Emitted>) -> Self {
        Self(Arc::new(Mutex::new(Some(receiver))))
    }
}

impl Stream for Listening {
    type Item = Emitted;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Emitted>> {
        match self.receiver().as_mut() {
            Some(receiver) => receiver.poll_recv(cx),
            None => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;
    use crate::call::{Event, Sequencer};

    #[tokio::test]
    async fn what_is_hung_up_holds_nothing_and_ends() {
        let (sender, receiver) = mpsc::channel(4);
        let mut listening = Listening::from(receiver);
        let mut sequencer = Sequencer::new("c", 1);
        for _ in 0..2 {
            let event = sequencer.place("", "", Event::Heartbeat);
            sender.send(event).await.unwrap();
        }
        assert!(listening.next().await.is_some());
        listening.clone().hang_up();
        assert!(sender.is_closed());
        assert!(listening.next().await.is_none());
    }
}
