//! What the tasks of one session share: the policy in force, the table of names, the reporter.

use crate::client_certificate::ClientCertificate;
use crate::decision::{Attempt, Refusal, Verdict, decide};
use crate::event::Endpoint;
use crate::gateway::{CallContext, Upstream};
use crate::host::Target;
use crate::http::Sealing;
use crate::name::Name;
use crate::policy::{Bound, PolicySet};
use crate::reason::Reason;
use crate::relay::PolicyInForce;
use crate::report::Reporter;
use crate::share::Share;
use crate::stand_in::StandIns;
use caisson_without::{Part, without};
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Lookups that one worker may have under way.
const MAX_LOOKUPS: usize = 64;

/// Bytes of requests' bodies that are held for one worker, and for all of them, so that they can be sent again.
const MAX_HELD: usize = 8 << 20;
pub(crate) const MAX_HELD_BY_ALL: usize = 64 << 20;

/// Bytes of bodies that are held for one worker, so that secrets can be put into them.
const MAX_FILLED: usize = 4 << 20;

/// Addresses remembered of those to which something else than DNS was sent.
const MAX_MALFORMED: usize = 1_024;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock>;

/// One session, as its tasks see it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) context: CallContext,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) sealing: Option<Sealing>,
    pub(crate) reporter: Reporter,
    pub(crate) stand_ins: StandIns,
    pub(crate) policy: watch::Sender<Option<Arc<Bound>>>,
    pub(crate) missing_ports: watch::Sender<BTreeSet<u16>>,
    listening: Mutex<BTreeSet<u16>>,
    started: AtomicBool,
    limiter: Limiter,
    limit_told: AtomicBool,
    /// Addresses to which something else than DNS was sent.
    malformed: Mutex<HashSet<IpAddr>>,
    pub(crate) share: Share,
    pub(crate) lookups: Arc<Semaphore>,
    /// Bytes of bodies that may be held for this worker, to be sent again.
    held: Arc<Semaphore>,
    /// Bytes of bodies that may be held for this worker, to put secrets into them.
    filled: Arc<Semaphore>,
    /// Ends listeners and DNS.
    pub(crate) closing: CancellationToken,
    /// Ends open connections.
    pub(crate) ended: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn new(context: CallContext, upstream: Arc<Upstream>, reporter: Reporter) -> Self {
        let ended = CancellationToken::new();
        let stand_ins = StandIns::new(upstream.stand_ins);
        let share = upstream.share();
        let queries = upstream.queries;
        let quota = Quota::per_second(queries.per_second).allow_burst(queries.burst);
        Self {
            sealing: Sealing::of(&context.sealed, &context.redactor),
            context,
            upstream,
            reporter,
            stand_ins,
            policy: watch::Sender::new(None),
            missing_ports: watch::Sender::new(BTreeSet::new()),
            listening: Mutex::default(),
            started: AtomicBool::new(false),
            limiter: RateLimiter::direct(quota),
            limit_told: AtomicBool::new(false),
            malformed: Mutex::default(),
            share,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            held: Arc::new(Semaphore::new(MAX_HELD)),
            filled: Arc::new(Semaphore::new(MAX_FILLED)),
            closing: ended.child_token(),
            ended,
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Takes the policy that `set` has for this call. Where none can be said to be for it, nothing is allowed.
    pub(crate) fn apply(&self, set: &PolicySet) {
        let found = set
            .find(&self.context.connector)
            .unwrap_or_else(|undecided| {
                tracing::error!(call = %self.context.call_id, %undecided, "no policy is in force");
                None
            });
        let bound = found.map(|policy| Arc::new(policy.bind(&self.context.config)));
        self.policy.send_replace(bound);
        self.announce_ports();
    }

    /// Notes ports that have a listener now.
    pub(crate) fn listen(&self, ports: impl IntoIterator<Item = u16>) {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ports);
        self.announce_ports();
    }

    pub(crate) fn listens_on(&self, port: u16) -> bool {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&port)
    }

    fn announce_ports(&self) {
        let wanted = self
            .policy
            .borrow()
            .as_ref()
            .map(|bound| bound.ports())
            .unwrap_or_default();
        let listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let room = crate::policy::MAX_PORTS.saturating_sub(listening.len());
        let missing: BTreeSet<u16> = wanted.difference(&listening).copied().take(room).collect();
        drop(listening);
        self.missing_ports.send_if_modified(|now| {
            let changed = *now != missing;
            *now = missing;
            changed
        });
    }

    /// Whether the call has begun; before, everything is refused.
    pub(crate) fn not_started(&self) -> Option<Refusal> {
        let started = self.started.load(Ordering::Acquire);
        (!started).then(|| {
            Refusal::flat(
                Reason::NotStarted,
                "the call has not started, so nothing is reachable yet",
            )
        })
    }

    /// Whether one more DNS query is inside the worker's rate. The first one over it is reported.
    pub(crate) fn admits_query(&self) -> bool {
        let admitted = self.limiter.check().is_ok();
        if !admitted && !self.limit_told.swap(true, Ordering::Relaxed) {
            let detail = "the worker asks DNS faster than it may; further queries are refused until it slows down";
            self.reporter.refused(
                Endpoint::dns(None),
                Refusal::flat(Reason::TooManyQueries, detail),
            );
        }
        admitted
    }

    /// Room for so many bytes of a body that a secret is put into, as soon as there is some.
    pub(crate) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // It is never closed, and larger than what is asked for.
        let room = Arc::clone(&self.filled).acquire_many_owned(bytes).await;
        room.ok()
    }

    /// Room for so many bytes of a body that is to be sent again; `None` where there is none now.
    pub(crate) fn held(&self, bytes: u64) -> Option<[OwnedSemaphorePermit; 2]> {
        let bytes = u32::try_from(bytes).ok()?;
        let take = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(bytes).ok();
        Some([take(&self.held)?, take(&self.upstream.held)?])
    }

    /// Whether nothing but DNS was sent to this address so far. Beyond what is remembered, every address is a new one: the
    /// reporter's budget bounds what is told of them.
    pub(crate) fn is_first_malformed(&self, address: IpAddr) -> bool {
        let mut seen = self
            .malformed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_MALFORMED {
            return !seen.contains(&address);
        }
        seen.insert(address)
    }

    pub(crate) fn decide(&self, attempt: &Attempt<'_>) -> Verdict {
        let policy = self.policy.borrow().clone();
        decide(policy.as_deref(), &self.upstream.guard(), attempt)
    }

    /// What an upstream is shown by the policy in force. A seal that came with a reload has nothing to show: its key was not
    /// resolved for this call.
    pub(crate) fn certificate(&self, host: &Name, port: u16) -> Option<ClientCertificate> {
        let bound = self.policy.borrow().clone()?;
        let seal = bound.policy.client_key(host, port)?;
        let mut own = self.context.certificates.iter();
        own.find(|own| own.is_of(&seal.property, seal.certificate.as_deref()))
            .cloned()
    }

    /// Returns once the policy in force has an upstream shown another certificate than `shown`, or none.
    pub(crate) async fn shows_another(
        &self,
        mut policy: PolicyInForce,
        host: &Name,
        port: u16,
        shown: Option<&ClientCertificate>,
    ) {
        while policy.changed().await.is_ok() {
            if !without(Part::Revocation) && self.certificate(host, port).as_ref() != shown {
                return;
            }
        }
        std::future::pending().await
    }

    /// What a worker means by an address it dialled. One that was never given out for a name means itself, and the
    /// decision says so.
    pub(crate) fn meant(&self, dialled: IpAddr) -> Meant {
        let dialled = dialled.to_canonical();
        match self.stand_ins.name_of(dialled) {
            Some((name, addresses)) => Meant {
                target: Target::Name(name),
                addresses: self.upstream.played().is_none().then_some(addresses),
            },
            None => Meant {
                target: Target::Address(dialled),
                addresses: None,
            },
        }
    }
}

/// What a dialled address stands for.
#[derive(Debug)]
pub(crate) struct Meant {
    pub(crate) target: Target,
    /// The true addresses, where it stands for a name.
    pub(crate) addresses: Option<Arc<[IpAddr]>>,
}

/// DNS queries that one worker may make.
#[derive(Debug, Clone, Copy)]
pub struct QueryRate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl Default for QueryRate {
    fn default() -> Self {
        Self {
            per_second: NonZeroU32::MIN.saturating_add(99),
            burst: NonZeroU32::MIN.saturating_add(499),
        }
    }
}

impl Endpoint {
    pub(crate) fn dns(host: Option<String>) -> Self {
        Self {
            host,
            address: None,
            port: None,
            protocol: Cow::Borrowed("dns"),
        }
    }

    pub(crate) fn of(
        target: &Target,
        address: Option<IpAddr>,
        port: Option<u16>,
        protocol: Cow<'static, str>,
    ) -> Self {
        match target {
            Target::Name(name) => Self {
                host: Some(name.to_string()),
                address,
                port,
                protocol,
            },
            Target::Address(own) => Self {
                host: None,
                address: Some(*own),
                port,
                protocol,
            },
        }
    }
}
