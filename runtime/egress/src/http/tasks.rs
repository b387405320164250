//! What belongs to one connection runs in the task of that connection: it ends with it, and no thread has to be woken for
//! a request to get from one side to the other.

use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use futures_util::task::AtomicWaker;
use hyper::rt::Executor;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the first of these gives. A connection is woken often and what ends it comes once: each of them is polled when it
/// was woken itself, and not whenever the connection is.
pub(super) async fn first<const N: usize, T>(
    futures: [Pin<Box<dyn Future<Output = T> + Send + '_>>; N],
) -> T {
    let mut futures: FuturesUnordered<_> = futures.into_iter().collect();
    match futures.next().await {
        Some(first) => first,
        None => std::future::pending().await,
    }
}

/// Takes tasks for [`Tasks::run`].
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Given>);

#[derive(Default)]
struct Given {
    tasks: Mutex<Vec<Task>>,
    runner: AtomicWaker,
}

impl Tasks {
    /// Runs what is given, until it is dropped, and everything with it.
    pub(super) async fn run(&self) -> Infallible {
        let mut running = FuturesUnordered::<Task>::new();
        poll_fn(|context| {
            self.0.runner.register(context.waker());
            running.extend(
                self.0
                    .tasks
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .drain(..),
            );
            while let Poll::Ready(Some(())) = Pin::new(&mut running).poll_next(context) {}
            Poll::Pending
        })
        .await
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        let task: Task = Box::pin(async move {
            task.await;
        });
        self.0
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(task);
        self.0.runner.wake();
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn the_first_of_several_is_heard_and_none_is_polled_unless_it_was_woken() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let polled = AtomicU32::new(0);
        let (tell, told) = oneshot::channel::<&str>();
        let counted = async {
            poll_fn(|_| {
                polled.fetch_add(1, Ordering::Relaxed);
                Poll::<()>::Pending
            })
            .await;
            "never"
        };
        let mut first = std::pin::pin!(first([
            Box::pin(counted),
            Box::pin(async { told.await.unwrap() }),
        ]));
        for _ in 0..5 {
            assert!(futures_util::poll!(first.as_mut()).is_pending());
        }
        assert_eq!(polled.load(Ordering::Relaxed), 1);
        tell.send("this one").unwrap();
        assert_eq!(first.await, "this one");
    }

    #[tokio::test]
    async fn what_is_given_runs_also_where_it_is_given_later_and_ends_with_the_runner() {
        let tasks = Tasks::default();
        let (done, finished) = oneshot::channel();
        let (kept, dropped) = oneshot::channel::<()>();
        let more = tasks.clone();
        tasks.execute(async move {
            tokio::task::yield_now().await;
            more.execute(async move {
                done.send(()).unwrap();
            });
        });
        tasks.execute(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        tokio::select! {
            never = tasks.run() => match never {},
            finished = finished => finished.unwrap(),
        }
        assert!(dropped.await.is_err());
    }
}
