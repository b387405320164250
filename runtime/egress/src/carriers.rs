//! Threads that carry inspected connections, each with an event loop of its own.
//!
//! A request crosses twice, with little work each time. In a pool that shares its tasks, most of what that costs is waking
//! threads to share them with; a connection that stays where it began costs none of it.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// More are of no use to what a daemon's workers ask.
const MOST: usize = 8;

/// The threads of one daemon.
#[derive(Debug)]
pub(crate) struct Carriers {
    loops: Vec<Handle>,
    next: AtomicUsize,
}

impl Carriers {
    /// One for every two processors, until `over`: the other half of the work is that of workers and upstreams, and a thread
    /// that has more to do is woken less often.
    ///
    /// # Errors
    /// No thread or event loop can be made.
    pub(crate) fn start(over: &CancellationToken) -> io::Result<Self> {
        let count = available_parallelism()
            .map_or(1, |all| all.get() / 2)
            .clamp(1, MOST);
        let loops = (0..count)
            .map(|number| start(number, over.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            loops,
            next: AtomicUsize::new(0),
        })
    }

    /// Has one of them run a task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.loops.len();
        self.loops[next].spawn(task);
    }
}

fn start(number: usize, over: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name(format!("carrier-{number}"))
        .spawn(move || runtime.block_on(over.cancelled()))?;
    Ok(handle)
}
