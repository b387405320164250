//! Workers that wait: made, locked, their connector imported, for one call
//! each.
//!
//! A worker in here has no secret, no config and no way out: nobody accepts
//! its connections until a call takes it. It is as single-use as any other.
//! There are as many as a connector's calls began in the last seconds, as far
//! as their memory allows; a reload of the policies ends them all.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use caisson_egress::{Gateway, PolicySet};
use caisson_sandbox::{LaunchError, Launcher, Overlay, WorkerSpec};
use caisson_wire::message::{Hello, Prepare, from_worker, to_worker};
use tokio::time::timeout;

use super::job::Job;
use super::made::Made;

/// For one connector.
const MOST: usize = 8;
/// What the number of waiting workers follows: the calls of so long.
const DEMAND: Duration = Duration::from_secs(10);
/// From its making to the end of its imports.
const PREPARE: Duration = Duration::from_secs(30);
/// A connector that could not be imported is not tried again for so long: its
/// calls say why.
const PAUSE: Duration = Duration::from_secs(60);
/// One that nobody takes for so long ends.
const IDLE: Duration = Duration::from_secs(300);
/// How often what waits is looked at.
const TIDY: Duration = Duration::from_secs(5);

/// What a job needs to be served by a worker that waits.
#[derive(Debug, Clone)]
pub(crate) struct Warmth {
    /// `module:Class`.
    pub(crate) entrypoint: String,
    /// Ports that the policy gives every call of the connector.
    pub(crate) ports: Vec<u16>,
}

/// The workers that wait.
pub(crate) struct Pool(Option<Arc<Inner>>);

struct Inner {
    launcher: Launcher,
    gateway: Gateway,
    numbers: Arc<AtomicU64>,
    /// In bytes, of all that wait.
    memory: u64,
    shelves: Mutex<HashMap<Key, Shelf>>,
}

/// Workers that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    bundle: PathBuf,
    entrypoint: String,
    profile: String,
    limits: String,
    ports: Vec<u16>,
    overlays: Vec<Overlay>,
}

/// What waits of one kind.
#[derive(Default)]
struct Shelf {
    /// The policies that they were made under.
    policies: Weak<PolicySet>,
    waiting: Vec<Waiting>,
    /// Being made.
    coming: usize,
    /// When calls began.
    taken: VecDeque<Instant>,
    failed: Option<Instant>,
}

/// One that waits.
pub(crate) struct Waiting {
    pub(crate) made: Made,
    pub(crate) hello: Hello,
    /// Its number.
    pub(crate) worker: u64,
    since: Instant,
}

impl Pool {
    /// Workers that hold at most `memory` bytes together; with 0 none.
    pub(crate) fn new(
        launcher: Launcher,
        gateway: Gateway,
        numbers: Arc<AtomicU64>,
        memory: u64,
    ) -> Self {
        if memory == 0 {
            return Self(None);
        }
        let inner = Arc::new(Inner {
            launcher,
            gateway,
            numbers,
            memory,
            shelves: Mutex::default(),
        });
        tokio::spawn(tidy(Arc::downgrade(&inner)));
        Self(Some(inner))
    }

    /// One that fits the job, and the order for those that take its place.
    pub(crate) fn take(&self, job: &Job) -> Option<Waiting> {
        let inner = self.0.as_ref()?;
        let warmth = job.warmth.as_ref()?;
        let key = Key::of(&job.spec, warmth);
        let policies = inner.gateway.policies();
        let mut shelves = inner.shelves();
        let shelf = shelves.entry(key.clone()).or_default();
        shelf.under(&policies);
        shelf.taken.push_back(Instant::now());
        let found = loop {
            match shelf.waiting.pop() {
                Some(waiting) if waiting.made.process.has_ended() => {}
                other => break other,
            }
        };
        let short = shelf.short();
        shelf.coming += short;
        drop(shelves);
        for _ in 0..short {
            let mut spec = job.spec.clone();
            spec.id = inner.numbers.fetch_add(1, Ordering::Relaxed);
            spec.tcp_ports.clone_from(&warmth.ports);
            tokio::spawn(stock(Arc::downgrade(inner), key.clone(), spec));
        }
        found
    }

    /// Ends what waits.
    pub(crate) fn drain(&self) {
        if let Some(inner) = &self.0 {
            inner.shelves().clear();
        }
    }
}

impl Inner {
    fn shelves(&self) -> MutexGuard<'_, HashMap<Key, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn of(spec: &WorkerSpec, warmth: &Warmth) -> Self {
        Self {
            bundle: spec.bundle.clone(),
            entrypoint: warmth.entrypoint.clone(),
            profile: spec.profile.0.clone(),
            limits: format!("{:?}", spec.limits),
            ports: warmth.ports.clone(),
            overlays: spec.overlays.clone(),
        }
    }
}

impl Shelf {
    /// Ends what was made under other policies.
    fn under(&mut self, policies: &Arc<PolicySet>) {
        if self.policies.as_ptr() != Arc::as_ptr(policies) {
            self.policies = Arc::downgrade(policies);
            self.waiting.clear();
        }
    }

    /// How many are to be made.
    fn short(&mut self) -> usize {
        while self.taken.front().is_some_and(|at| at.elapsed() > DEMAND) {
            self.taken.pop_front();
        }
        if self.failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return 0;
        }
        let wanted = self.taken.len().min(MOST);
        wanted.saturating_sub(self.waiting.len() + self.coming)
    }
}

/// Makes one and puts it where it will be looked for.
async fn stock(inner: Weak<Inner>, key: Key, spec: WorkerSpec) {
    let Some(held) = inner.upgrade() else { return };
    let policies = held.gateway.policies();
    let launcher = held.launcher.clone();
    drop(held);
    let worker = spec.id;
    let made = timeout(PREPARE, prepared(&launcher, spec, &key.entrypoint)).await;
    let Some(inner) = inner.upgrade() else { return };
    let mut shelves = inner.shelves();
    let held: u64 = shelves
        .values()
        .flat_map(|shelf| &shelf.waiting)
        .map(|waiting| waiting.made.process.usage().memory_bytes)
        .sum();
    // Drained meanwhile: whatever asks next begins anew.
    let Some(shelf) = shelves.get_mut(&key) else {
        return;
    };
    shelf.coming = shelf.coming.saturating_sub(1);
    match made {
        Ok(Ok(Some((made, hello)))) => {
            let room = held + made.process.usage().memory_bytes <= inner.memory;
            if !room {
                shelf.failed = Some(Instant::now());
            } else if shelf.policies.as_ptr() == Arc::as_ptr(&policies) {
                shelf.waiting.push(Waiting {
                    made,
                    hello,
                    worker,
                    since: Instant::now(),
                });
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "a worker could not be made ahead of need");
            shelf.failed = Some(Instant::now());
        }
        Ok(Ok(None)) | Err(_) => shelf.failed = Some(Instant::now()),
    }
}

/// A worker that has imported its connector; `None` where it did not.
async fn prepared(
    launcher: &Launcher,
    spec: WorkerSpec,
    entrypoint: &str,
) -> Result<Option<(Made, Hello)>, LaunchError> {
    let mut made = Made::new(launcher.launch(spec).await?)?;
    let Ok(Some((from_worker::Message::Hello(hello), _))) = made.reader.next().await else {
        return Ok(None);
    };
    let prepare = to_worker::Message::Prepare(Prepare {
        entrypoint: entrypoint.to_owned(),
    });
    if made.writer.send(prepare, Bytes::new()).await.is_err() {
        return Ok(None);
    }
    match made.reader.next().await {
        Ok(Some((from_worker::Message::Prepared(_), body))) if body.is_empty() => {
            Ok(Some((made, hello)))
        }
        _ => Ok(None),
    }
}

/// Ends what nobody takes, what ended by itself, and what older policies made.
async fn tidy(inner: Weak<Inner>) {
    let mut tick = tokio::time::interval(TIDY);
    loop {
        tick.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let policies = inner.gateway.policies();
        let mut shelves = inner.shelves();
        fit(&mut shelves, inner.memory);
        shelves.retain(|_, shelf| {
            shelf.under(&policies);
            shelf.waiting.retain(|waiting| {
                waiting.since.elapsed() < IDLE && !waiting.made.process.has_ended()
            });
            !shelf.waiting.is_empty()
                || shelf.coming > 0
                || shelf.failed.is_some_and(|at| at.elapsed() < PAUSE)
        });
    }
}

/// Ends the largest until all hold no more than `most` bytes together: a worker that waits runs what its import started.
fn fit(shelves: &mut HashMap<Key, Shelf>, most: u64) {
    let all = shelves.values_mut().flat_map(|shelf| &mut shelf.waiting);
    let mut sizes: Vec<_> = all
        .map(|waiting| (waiting.made.process.usage().memory_bytes, waiting.worker))
        .collect();
    sizes.sort_unstable();
    let mut held: u64 = sizes.iter().map(|(bytes, _)| bytes).sum();
    while held > most
        && let Some((bytes, worker)) = sizes.pop()
    {
        held -= bytes;
        for shelf in shelves.values_mut() {
            let before = shelf.waiting.len();
            shelf.waiting.retain(|waiting| waiting.worker != worker);
            if shelf.waiting.len() < before {
                shelf.failed = Some(Instant::now());
            }
        }
    }
}
